"""Background jobs: downloads, conversions, large imports, evaluations, and the queue for training."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.core import Role
from studio.jobs import Job, Progress

router = APIRouter(prefix="/jobs", tags=["jobs"])


class ProgressView(BaseModel):
    """How far a job is; ``eta_seconds`` is null where it cannot tell."""

    phase: str
    done: float
    total: float
    eta_seconds: float | None


class JobView(BaseModel):
    """One background job; ``devices`` are the GPUs that it was given."""

    id: str
    kind: str
    subject: str
    state: str
    reason: str
    created_at: float
    ended_at: float | None
    progress: ProgressView | None
    priority: int
    devices: list[int]


class QueuedView(BaseModel):
    """A job that waits for its turn; ``waits_for`` says in words what for."""

    job: JobView
    place: int
    waits_for: str


class Move(BaseModel):
    """Where a job is put: directly before the job ``before``, or behind all that wait."""

    model_config = ConfigDict(extra="forbid")

    before: str | None = None


class Priority(BaseModel):
    """From -1000 to 1000; higher ones go first."""

    model_config = ConfigDict(extra="forbid")

    priority: int


def progress_view(progress: Progress | None) -> ProgressView | None:
    """A job's own word on how far it is."""
    if progress is None:
        return None
    return ProgressView(
        phase=progress.phase, done=progress.done, total=progress.total, eta_seconds=progress.eta_seconds
    )


def job_view(job: Job, progress: Progress | None) -> JobView:
    """A job as clients see it."""
    return JobView(
        id=job.id,
        kind=job.kind,
        subject=job.subject,
        state=job.state.value,
        reason=job.reason,
        created_at=job.created_at,
        ended_at=job.ended_at,
        progress=progress_view(progress),
        priority=job.priority,
        devices=list(job.devices),
    )


@router.get("", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def list_jobs(studio: TheStudio, actor: TheActor, limit: int = 100) -> list[JobView]:
    """The newest jobs first."""
    found = studio.jobs.list(actor, limit=max(1, min(limit, 1000)))
    return [job_view(job, studio.jobs.progress(actor, job.id)) for job in found]


@router.get("/queue", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def queued_jobs(studio: TheStudio, actor: TheActor) -> list[QueuedView]:
    """The training jobs that wait, in the order in which they start."""
    return [
        QueuedView(job=job_view(one.job, None), place=one.place, waits_for=one.waits_for)
        for one in studio.jobs.queue(actor)
    ]


@router.get("/{job_id}", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def get_job(job_id: str, studio: TheStudio, actor: TheActor) -> JobView:
    """One job and how far it is."""
    return job_view(studio.jobs.get(actor, job_id), studio.jobs.progress(actor, job_id))


@router.post("/{job_id}/stop", dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def stop_job(job_id: str, studio: TheStudio, actor: TheActor) -> JobView:
    """Ask a job to stop; it is terminated if it does not."""
    return job_view(studio.jobs.request_stop(actor, job_id), None)


@router.post("/{job_id}/move", dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def move_job(job_id: str, request: Move, studio: TheStudio, actor: TheActor) -> JobView:
    """Put a waiting job elsewhere in its queue; it takes over its new neighbour's priority."""
    return job_view(studio.jobs.move(actor, job_id, request.before), None)


@router.post("/{job_id}/priority", dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def prioritise_job(job_id: str, request: Priority, studio: TheStudio, actor: TheActor) -> JobView:
    """Give a waiting job another priority."""
    return job_view(studio.jobs.prioritise(actor, job_id, request.priority), None)
