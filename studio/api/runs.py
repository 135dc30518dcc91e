"""Training runs: where they stand, their curves and logs, stopping, pausing, resuming and retrying them."""

from __future__ import annotations

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.api.run_views import RunView, run_view
from studio.core import Role
from studio.training import FailureCard
from studio.training.telemetry import TelemetryChunk

router = APIRouter(prefix="/runs", tags=["runs"])


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


class ResumeRequest(BaseModel):
    """Where to go on: from the checkpoint of a step (later ones are given up), or from the newest."""

    model_config = ConfigDict(extra="forbid")

    step: int | None = Field(None, ge=0)


class RetryRequest(BaseModel):
    """Whether to change the recipe as the failure card suggests; ``request_id`` makes a retry harmless."""

    model_config = ConfigDict(extra="forbid")

    with_fix: bool = False
    request_id: str = Field("", max_length=100)


class FailureView(BaseModel):
    """Why a run failed; null while nothing is known to have."""

    failure: FailureCard | None


class CommandView(BaseModel):
    """What to type in a shell to run the same again."""

    command: str


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


@router.post("/{run_id}/pause", dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def pause_run(run_id: str, studio: TheStudio, actor: TheActor) -> RunView:
    """Ask a run to save and stop, to be taken up again."""
    return run_view(studio.training.pause(actor, run_id), studio, actor)


@router.post("/{run_id}/resume", dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def resume_run(
    run_id: str, studio: TheStudio, actor: TheActor, request: ResumeRequest | None = None
) -> RunView:
    """Go on from the newest complete checkpoint, or from a chosen one."""
    step = request.step if request else None
    return run_view(studio.training.resume(actor, run_id, step), studio, actor)


@router.post("/{run_id}/retry", status_code=202, dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def retry_run(run_id: str, request: RetryRequest, studio: TheStudio, actor: TheActor) -> RunView:
    """Start a run that ended without weights again, as a new one."""
    made = studio.training.retry(actor, run_id, request.with_fix, request.request_id)
    return run_view(made, studio, actor)


@router.get("/{run_id}/failure", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def failure(run_id: str, studio: TheStudio, actor: TheActor) -> FailureView:
    """Why a run failed, the lines of the log that show it, and what would help."""
    return FailureView(failure=studio.training.failure(actor, run_id))


@router.get("/{run_id}/command", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def command(run_id: str, studio: TheStudio, actor: TheActor) -> CommandView:
    """The command that reproduces a run, with exact versions of its model and datasets."""
    return CommandView(command=studio.training.command(actor, run_id))


@router.get("/{run_id}/telemetry", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def telemetry(
    run_id: str,
    studio: TheStudio,
    actor: TheActor,
    cursor: int = Query(0, ge=0),
    most: int = Query(0, ge=0, description="About so many samples; 0 for all."),
) -> TelemetryChunk:
    """How the machine stood while a run trained, after ``cursor``."""
    return studio.training.telemetry(actor, run_id, cursor, most)


@router.get("/{run_id}/points", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def points(
    run_id: str,
    studio: TheStudio,
    actor: TheActor,
    cursor: int = Query(0, ge=0),
    epoch: int = Query(0, ge=0),
    most: int = Query(0, ge=0, description="About so many points a metric; 0 for all."),
) -> PointsView:
    """What was logged after ``cursor``; where ``epoch`` changed, start again from what comes."""
    found = studio.training.points(actor, run_id, cursor, epoch, most)
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
