"""What every part of the training service stands on: a run's entry, its files, its job, and who may see it.

The invariants: a run is on disk before its job is submitted, under a job id that is part of it, so a crash
in between is mended by submitting again; a run that uses what somebody may not use is not there for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core import (
    SYSTEM,
    Actor,
    Audit,
    Edge,
    Lineage,
    Node,
    NotFound,
    Role,
)
from studio.core.files import write_text
from studio.jobs import Job, JobSpec, JobState, Slot
from studio.training.metrics import Tail
from studio.training.plan import Plan, Planner, pinned
from studio.training.recipes import parse_recipe
from studio.training.records import Run, Stage
from studio.training.store import Entry, RunStore
from studio.training.task import CHECKPOINTS, METRICS, RECIPE

if TYPE_CHECKING:
    from studio.datasets import DatasetService
    from studio.jobs import JobService
    from studio.registry import RegistryService
    from studio.training.recipes import Recipe

KIND = "training"
#: The module that trains, by engine.
WORKERS = {
    "trl": "studio.training.worker",
    "llamafactory": "studio.training.engines.external",
    "axolotl": "studio.training.engines.external",
}


@dataclass
class RunDesk:
    """The rooms below and the runs' rows and files.

    ``home`` holds a folder for each run, ``tokens`` the token files that pre-flights made.
    """

    store: RunStore
    home: Path
    tokens: Path
    jobs: JobService
    datasets: DatasetService
    registry: RegistryService
    lineage: Lineage
    audit: Audit
    planner: Planner
    _tails: dict[str, Tail] = field(default_factory=dict)

    def directory(self, run_id: str) -> Path:
        """Where a run's files lie."""
        return self.home / run_id

    def checkpoints(self, run_id: str) -> Path:
        """Where a run's checkpoints lie."""
        return self.home / run_id / CHECKPOINTS

    def known(self, actor: Actor, run_id: str) -> Entry:
        """The entry of a run that the actor may see.

        Raises:
            NotFound: There is no such run.
        """
        entry = self.store.get(run_id)
        seen = self.seen(actor, (entry,) if entry else ())
        if not seen:
            raise NotFound(f"There is no run {run_id[:60]}.", "Look it up in the list of runs.")
        return seen[0]

    def seen(self, actor: Actor, entries: Iterable[Entry]) -> tuple[Entry, ...]:
        """Those of ``entries`` that use nothing which the actor may not use."""
        datasets, models = self.datasets.hidden(actor), self.registry.hidden(actor)
        return tuple(
            entry
            for entry in entries
            if datasets.isdisjoint(entry.dataset_version_ids)
            and models.isdisjoint((entry.model_version_id, entry.output_version_id))
            and not (models and self.registry.hides_name(actor, entry.output))
        )

    def job(self, entry: Entry) -> Job | None:
        """The job of the run's newest attempt; None where it was not submitted yet."""
        try:
            return self.jobs.get(SYSTEM, entry.job_id)
        except NotFound:
            return None

    def came_to(self, run_id: str) -> JobState | None:
        """What a run came to, for those that wait for it; None where there is no such run.

        That is more than what its job came to: its weights have to be registered.
        """
        entry = self.store.get(run_id)
        if entry is None:
            return None
        return JobState.RUNNING if entry.ended_at is None else entry.state

    def plan(self, actor: Actor, entry: Entry) -> Plan:
        """The plan of a stored run: of the versions it was started with, whatever their names mean now.

        Raises:
            InvalidInput: Something it needs is gone, or may not be used any more.
        """
        recipe = _stored_recipe(entry.stage, entry.recipe)
        ids = entry.dataset_version_ids
        return self.planner.plan(actor, pinned(recipe, entry.model_version_id, ids))

    def exact_recipe(self, entry: Entry) -> Recipe:
        """The recipe of a run with every version named exactly, as ``name@number``."""
        model = self.registry.version(SYSTEM, entry.model_version_id).reference
        ids = entry.dataset_version_ids
        datasets = tuple(self.datasets.version(SYSTEM, key).reference for key in ids)
        return pinned(_stored_recipe(entry.stage, entry.recipe), model, datasets)

    def spec(self, entry: Entry, plan: Plan) -> JobSpec:
        """The job of a run's newest attempt."""
        task = plan.task(entry.id, self.directory(entry.id), self.tokens, entry.resume_step)
        return JobSpec(
            KIND,
            WORKERS[plan.recipe.engine],
            entry.id,
            task.payload(),
            Slot.TRAINING,
            priority=entry.priority,
            after=entry.after_runs,
            after_any=entry.continue_on_error,
            devices=entry.devices,
            device_count=len(entry.devices) or plan.recipe.processes,
            memory_bytes=entry.predicted_memory_bytes or 0,
        )

    def submit(self, entry: Entry) -> None:
        """Hand an open run to the job room; doing it twice makes one job."""
        directory = self.directory(entry.id)
        directory.mkdir(parents=True, exist_ok=True)
        write_text(directory / RECIPE, entry.recipe)
        spec = self.spec(entry, self.plan(SYSTEM, entry))
        self.jobs.submit(actor_of(entry), spec, job_id=entry.job_id)

    def run(self, entry: Entry) -> Run:
        """The run of an entry; while it is open, its job and its metrics file say how it stands."""
        state, progress, summary, priority = entry.state, None, entry.summary or {}, entry.priority
        if entry.ended_at is None:
            job = self.job(entry)
            state = job.state if job else JobState.QUEUED
            # Not over before its weights are registered.
            state = JobState.RUNNING if state.final else state
            progress = self.jobs.progress(SYSTEM, entry.job_id) if job else None
            # Who moves a job in the queue gives it its neighbour's priority.
            priority = job.priority if job else priority
            metrics = self.directory(entry.id) / METRICS
            summary = self._tails.setdefault(entry.id, Tail(metrics)).values()
        return Run(
            id=entry.id,
            name=entry.name,
            stage=entry.stage,
            state=state,
            recipe=entry.recipe,
            seed=entry.seed,
            dataset_version_ids=entry.dataset_version_ids,
            model_version_id=entry.model_version_id,
            output_version_id=entry.output_version_id,
            job_id=entry.job_id,
            attempts=entry.attempts,
            progress=progress,
            summary=summary,
            reason=entry.reason,
            packages=entry.packages,
            peak_memory_bytes=entry.peak_memory_bytes,
            created_at=entry.created_at,
            ended_at=entry.ended_at,
            # One that failed while it was being saved did not stop where somebody can take it up.
            paused=entry.paused and (entry.ended_at is None or state is JobState.STOPPED),
            priority=priority,
            after=entry.after_runs,
            predicted_memory_bytes=entry.predicted_memory_bytes,
            retry_of=entry.retry_of,
            sweep_id=entry.sweep_id,
        )

    def shown(self, actor: Actor, *runs: Run) -> tuple[Run, ...]:
        """The runs with the remarks on what they learnt from, and without naming runs that are hidden."""
        marks = self.lineage.marks(Node("run", run.id) for run in runs)
        named = {key for run in runs for key in (*run.after, run.retry_of) if key}
        entries = [entry for key in named if (entry := self.store.get(key)) is not None]
        seen = {entry.id for entry in self.seen(actor, entries)} if entries else set()
        return tuple(
            replace(
                run,
                marks=marks.get(Node("run", run.id), ()),
                after=tuple(key for key in run.after if key in seen),
                retry_of=run.retry_of if run.retry_of in seen else "",
            )
            for run in runs
        )

    def made_of(self, entry: Entry) -> tuple[Node, ...]:
        """The datasets that a run learns from."""
        versions = (self.datasets.version(SYSTEM, key) for key in entry.dataset_version_ids)
        return tuple(Node("dataset", version.dataset_id) for version in versions)

    def forget(self, run_id: str) -> None:
        """Drop what was kept in memory of a run that ended."""
        self._tails.pop(run_id, None)


@lru_cache(maxsize=512)
def _stored_recipe(stage: Stage, text: str) -> Recipe:
    """What a run was started with: it never changes, reading YAML is slow, and pages ask often."""
    return parse_recipe(stage, text)


def actor_of(entry: Entry) -> Actor:
    """Who started a run."""
    return Actor(entry.created_by, Role(entry.role))


def edges_of(entry: Entry) -> tuple[Edge, ...]:
    """What a run comes from: its datasets, its model, and the run that it tries again."""
    run = Node("run", entry.id)
    edges = [Edge(run, Node("dataset_version", key), "trained_on") for key in entry.dataset_version_ids]
    edges.append(Edge(run, Node("model_version", entry.model_version_id), "warm_start"))
    if entry.retry_of:
        edges.append(Edge(run, Node("run", entry.retry_of), "retry_of"))
    return tuple(edges)
