"""Runs as clients see them."""

from __future__ import annotations

from pydantic import BaseModel

from studio.api.context import TheActor, TheStudio
from studio.api.jobs import ProgressView, progress_view
from studio.api.marks import MarkView, mark_views
from studio.training import Run


class RunView(BaseModel):
    """One training run. ``output`` names the model version it made; ``after`` the runs it waits for."""

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
    paused: bool
    priority: int
    after: list[str]
    predicted_memory_bytes: int | None
    retry_of: str
    sweep_id: str


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
        paused=run.paused,
        priority=run.priority,
        after=list(run.after),
        predicted_memory_bytes=run.predicted_memory_bytes,
        retry_of=run.retry_of,
        sweep_id=run.sweep_id,
    )
