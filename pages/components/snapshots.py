"""Reads the studio for Home: one ``Snapshot`` from every service, cheaply enough for every two seconds."""

from __future__ import annotations

from collections.abc import Sequence

from pages.components.guidance import Snapshot
from studio.datasets import DatasetSummary, Outcome, SchemaKind, Split
from studio.jobs import JobState
from studio.registry import ModelKind, ModelVersion
from studio.serving import DeploymentState
from studio.studio import Studio
from studio.training import Run, Stage

#: Verdicts that are looked at; Home reads them every two seconds.
MODEL_JOBS = ("embedded_model", "model_download")


def look(studio: Studio) -> Snapshot:
    """What the studio holds at this moment."""
    datasets = studio.datasets.list(studio.actor)
    runs = studio.training.list(studio.actor)
    models = studio.registry.list(studio.actor)
    working = [job for job in studio.jobs.list(studio.actor) if not job.state.final]
    live = [d for d in studio.serving.deployments(studio.actor) if d.state is DeploymentState.LIVE]
    built = [summary for summary in datasets if _from_verdicts(summary)]
    return Snapshot(
        datasets=len(datasets),
        rows=sum(summary.latest.total_rows for summary in datasets),
        instructions=_newest(datasets, SchemaKind.INSTRUCTION),
        preferences=_newest(built, SchemaKind.PREFERENCE),
        pairs=sum(summary.latest.total_rows for summary in built),
        base=next((model.reference for model in models if model.kind is not ModelKind.ADAPTER), ""),
        models=len(models),
        adapters=sum(model.kind is ModelKind.ADAPTER for model in models),
        preparing=next((job for job in working if job.kind in MODEL_JOBS), None),
        importing=next((job for job in working if job.kind == "import"), None),
        runs=len(runs),
        running=_under_way(runs),
        failed=runs[0] if runs and runs[0].state in (JobState.FAILED, JobState.LOST) else None,
        tuned=_made(runs, models, Stage.SFT),
        preferred=_made(runs, models, Stage.DPO),
        votes=_decided(studio),
        labels=_labels(studio),
        deployments=len(live),
        deployed=tuple(deployment.name for deployment in live),
        answers=sum(sum(studio.serving.variant_answers(studio.actor, d.name).values()) for d in live),
        gives_way_to=next(
            (one.gives_way_to for one in studio.serving.engines(studio.actor) if one.gives_way_to), ""
        ),
    )


def _decided(studio: Studio) -> int:
    outcomes = studio.arena.outcomes(studio.actor)
    return outcomes.get(Outcome.A, 0) + outcomes.get(Outcome.B, 0)


def _labels(studio: Studio) -> int:
    projects = studio.annotation.projects(studio.actor)
    return sum(studio.annotation.progress(studio.actor, project.id).done for project in projects)


def _newest(datasets: Sequence[DatasetSummary], kind: SchemaKind) -> str:
    found = [summary.latest for summary in datasets if summary.latest.kind is kind and _teaches(summary)]
    return max(found, key=lambda version: version.created_at).reference if found else ""


def _teaches(summary: DatasetSummary) -> bool:
    # A dataset whose training split is empty is held out for evaluation.
    return summary.latest.rows.get(Split.TRAIN, 0) > 0


def _from_verdicts(summary: DatasetSummary) -> bool:
    return summary.latest.kind is SchemaKind.PREFERENCE and any(
        step.get("step") == "build preferences" for step in summary.latest.steps
    )


def _under_way(runs: Sequence[Run]) -> Run | None:
    """The run that works now, or else the one that has waited longest."""
    open_runs = [run for run in reversed(runs) if not run.state.final]
    return next((run for run in open_runs if run.state is not JobState.QUEUED), next(iter(open_runs), None))


def _made(runs: Sequence[Run], models: Sequence[ModelVersion], stage: Stage) -> str:
    """The model version of the newest run of ``stage`` that made one."""
    by_id = {model.id: model for model in models}
    made = (by_id.get(run.output_version_id or "") for run in runs if run.stage is stage)
    return next((model.reference for model in made if model is not None), "")
