"""Training runs: where they stand, their curves and logs, stopping and resuming them."""

from __future__ import annotations

from fastapi import APIRouter, Query
from pydantic import BaseModel

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.api.jobs import ProgressView, progress_view
from studio.api.marks import MarkView, mark_views
from studio.core import Role
from studio.training import Run

router = APIRouter(prefix="/runs", tags=["runs"])


class RunView(BaseModel):
    """One training run. ``output`` names the model version it made."""

    id: str
    name: str
    stage: str
    state: str
    reason: str
    recipe: str
    seed: int
    model: str
    datasets: list[str]
    output: str | None
    output_version_id: str | None
    job_id: str
    attempts: int
    progress: ProgressView | None
    summary: dict[str, float]
    packages: dict[str, str]
    peak_memory_bytes: int | None
    created_at: float
    ended_at: float | None
    marks: list[MarkView]


class PointsView(BaseModel):
    """New points of a run: metric name to rows of (step, value, seconds, tokens)."""

    run_id: str
    epoch: int
    cursor: int
    live: bool
    columns: dict[str, list[tuple[int, float, float, int]]]


class LogView(BaseModel):
    """A piece of a log; ask again with ``offset``."""

    text: str
    offset: int


def run_view(run: Run, studio: TheStudio, actor: TheActor) -> RunView:
    """A run as clients see it, with names beside ids."""
    version_id = run.output_version_id
    return RunView(
        id=run.id,
        name=run.name,
        stage=run.stage.value,
        state=run.state.value,
        reason=run.reason,
        recipe=run.recipe,
        seed=run.seed,
        model=studio.registry.version(actor, run.model_version_id).reference,
        datasets=[studio.datasets.version(actor, key).reference for key in run.dataset_version_ids],
        output=studio.registry.version(actor, version_id).reference if version_id else None,
        output_version_id=version_id,
        job_id=run.job_id,
        attempts=run.attempts,
        progress=progress_view(run.progress),
        summary=run.summary,
        packages=run.packages,
        peak_memory_bytes=run.peak_memory_bytes,
        created_at=run.created_at,
        ended_at=run.ended_at,
        marks=mark_views(run.marks),
    )


@router.get("", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def list_runs(studio: TheStudio, actor: TheActor, limit: int = Query(100, ge=1, le=1000)) -> list[RunView]:
    """The newest runs first."""
    return [run_view(run, studio, actor) for run in studio.training.list(actor, limit)]


@router.get("/{run_id}", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def get_run(run_id: str, studio: TheStudio, actor: TheActor) -> RunView:
    """One run."""
    return run_view(studio.training.get(actor, run_id), studio, actor)


@router.post("/{run_id}/stop", dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def stop_run(run_id: str, studio: TheStudio, actor: TheActor) -> RunView:
    """Ask a run to save and stop; it can be resumed from there."""
    return run_view(studio.training.stop(actor, run_id), studio, actor)


@router.post("/{run_id}/resume", dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def resume_run(run_id: str, studio: TheStudio, actor: TheActor) -> RunView:
    """Go on from the newest complete checkpoint."""
    return run_view(studio.training.resume(actor, run_id), studio, actor)


@router.get("/{run_id}/points", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def points(
    run_id: str,
    studio: TheStudio,
    actor: TheActor,
    cursor: int = Query(0, ge=0),
    epoch: int = Query(0, ge=0),
) -> PointsView:
    """What was logged after ``cursor``; where ``epoch`` changed, start again from what comes."""
    found = studio.training.points(actor, run_id, cursor, epoch)
    return PointsView(
        run_id=run_id,
        epoch=found.epoch,
        cursor=found.cursor,
        live=not studio.training.get(actor, run_id).state.final,
        columns={name: list(rows) for name, rows in found.columns.items()},
    )


@router.get("/{run_id}/log", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def log(run_id: str, studio: TheStudio, actor: TheActor, offset: int = 0) -> LogView:
    """The run's log from ``offset`` (bytes); a negative one counts from the end."""
    chunk = studio.training.log(actor, run_id, offset)
    return LogView(text=chunk.text, offset=chunk.offset)
