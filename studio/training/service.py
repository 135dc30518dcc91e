"""Starts, watches, stops and resumes runs, and registers what they made.

The invariants: one request starts one run; a run is on disk before its job is submitted, under a job id
that is part of it, so a crash in between is mended by submitting again; a run counts as succeeded only
once its weights are registered. The service looks at the files of a run and never at its process.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core.actors import EVERYONE, SYSTEM, Actor, Role, require
from studio.core.audit import Audit
from studio.core.clock import now
from studio.core.database import Database
from studio.core.errors import Conflict, InvalidInput, NotFound, StudioError
from studio.core.files import read_json, write_text
from studio.core.ids import new_id
from studio.core.lineage import Edge, Lineage, Node
from studio.jobs import Job, JobSpec, JobState, LogChunk, Slot
from studio.registry import ModelKind, NewWeights
from studio.training.metrics import Tail, last_values, read_points
from studio.training.plan import Plan, Planner, installed_packages
from studio.training.recipes import dump_recipe, parse_recipe
from studio.training.records import Points, Run, StartRun
from studio.training.store import Ending, Entry, RunStore
from studio.training.task import METRICS, RECIPE, RESULT, USAGE

if TYPE_CHECKING:
    from studio.datasets import DatasetService
    from studio.jobs import JobService
    from studio.registry import RegistryService

KIND = "training"
WORKER = "studio.training.worker"

_log = logging.getLogger(__name__)


class TrainingService:
    """Training runs.

    Args:
        database: Where runs are listed.
        home: The studio's home; a run's files lie in ``home/runs/<run id>/``.
        jobs: Runs the trainers.
        datasets: Knows what there is to learn from.
        registry: Knows the models, and gets the new ones.
        lineage: Gets the edges from a run to what it used.
        audit: Gets what was done.
    """

    def __init__(
        self,
        database: Database,
        home: Path,
        jobs: JobService,
        datasets: DatasetService,
        registry: RegistryService,
        lineage: Lineage,
        audit: Audit,
    ) -> None:
        self._store = RunStore(database)
        self._home = home / "runs"
        self._jobs = jobs
        self._datasets = datasets
        self._registry = registry
        self._planner = Planner(datasets, registry)
        self._lineage = lineage
        self._audit = audit
        self._tails: dict[str, Tail] = {}

    def start(self, actor: Actor, request: StartRun) -> Run:
        """Check a recipe and start its run; the same ``request_id`` again gives the same run.

        Raises:
            InvalidInput: The recipe is wrong, or names what does not exist or fit; nothing was started.
            Conflict: The request id belongs to another recipe.
        """
        require(actor, Role.RESEARCHER)
        known = self._store.by_request(request.request_id)
        recipe = parse_recipe(request.stage, request.recipe)
        if known is not None and not self._seen(actor, (known,)):
            raise Conflict(f"The request {request.request_id!r} is taken.", "Use a new request id.")
        if known is None:
            known = self._add(actor, request, self._planner.plan(actor, recipe))
        if known.recipe != dump_recipe(recipe):
            raise Conflict(
                f"The request {request.request_id!r} started {known.name} with another recipe.",
                "Use a new request id for a new run.",
            )
        return self._run(known)

    def get(self, actor: Actor, run_id: str) -> Run:
        """The run as it stands now.

        Raises:
            NotFound: There is no such run.
        """
        require(actor, *EVERYONE)
        return self._marked(self._run(self._known(actor, run_id)))[0]

    def list(self, actor: Actor, limit: int = 100) -> tuple[Run, ...]:
        """The newest runs first; those that use what the actor may not use are left out."""
        require(actor, *EVERYONE)
        return self._marked(*(self._run(entry) for entry in self._seen(actor, self._store.newest(limit))))

    def stop(self, actor: Actor, run_id: str) -> Run:
        """Ask a run to save and end; one that has ended stays as it is.

        Raises:
            NotFound: There is no such run.
        """
        require(actor, Role.RESEARCHER)
        entry = self._known(actor, run_id)
        if entry.ended_at is None:
            if self._job(entry) is None:
                self._submit(entry)
            self._jobs.request_stop(actor, entry.job_id)
            self._audit.record(actor, "stopped", Node("run", run_id))
            self._settle_safely(entry)
        return self.get(actor, run_id)

    def resume(self, actor: Actor, run_id: str) -> Run:
        """Go on with a run that was stopped, failed or lost, from its newest complete checkpoint.

        Raises:
            NotFound: There is no such run.
            Conflict: The run is under way or has succeeded.
            InvalidInput: Its model or dataset is gone.
        """
        require(actor, Role.RESEARCHER)
        entry = self._known(actor, run_id)
        self._plan(actor, entry)
        if not self._store.reopen(run_id, new_id("job"), installed_packages()):
            raise Conflict(
                f"{entry.name} is {self.get(actor, run_id).state.value}.",
                "Only a run that was stopped, failed or was lost can go on.",
            )
        entry = self._known(actor, run_id)
        self._audit.record(actor, "resumed", Node("run", run_id), f"attempt {entry.attempts}")
        self._submit(entry)
        return self._run(entry)

    def points(self, actor: Actor, run_id: str, cursor: int = 0, epoch: int = 0) -> Points:
        """The metric points after ``cursor``; all of them where ``epoch`` is not the current one.

        Raises:
            NotFound: There is no such run.
        """
        require(actor, *EVERYONE)
        self._known(actor, run_id)
        return read_points(self._directory(run_id) / METRICS, run_id, cursor, epoch)

    def log(self, actor: Actor, run_id: str, offset: int = 0) -> LogChunk:
        """The log of the run's newest attempt from byte ``offset`` (negative: so many from the end).

        Raises:
            NotFound: There is no such run.
        """
        require(actor, Role.RESEARCHER)
        entry = self._known(actor, run_id)
        try:
            return self._jobs.log(actor, entry.job_id, offset)
        except NotFound:
            return LogChunk("", 0)  # Its job is about to be submitted.

    def hides(self, actor: Actor, run_id: str) -> bool:
        """Whether there is such a run and the actor may not see it."""
        require(actor, *EVERYONE)
        entry = self._store.get(run_id)
        return entry is not None and not self._seen(actor, (entry,))

    def pseudonymise(self, actor: Actor, name: str, pseudonym: str) -> None:
        """Put ``pseudonym`` where ``name`` stands as who started a run; for admins."""
        require(actor)
        self._store.pseudonymise(name, pseudonym)

    def settle(self, jobs: tuple[Job, ...]) -> None:  # noqa: ARG002
        """Register what ended runs made; doing it again changes nothing.

        Every open run is looked at, not only those of ``jobs``: what was missed while nobody looked is
        made good, and a run whose job was never submitted gets it now.
        """
        for entry in self._store.open():
            self._settle_safely(entry)

    def _add(self, actor: Actor, request: StartRun, plan: Plan) -> Entry:
        entry = Entry(
            id=new_id("run"),
            request_id=request.request_id or None,
            name=request.name.strip()[:100],
            stage=request.stage,
            recipe=dump_recipe(plan.recipe),
            output=plan.output,
            seed=plan.recipe.seed,
            dataset_version_ids=(plan.dataset.id,),
            model_version_id=plan.model.id,
            packages=installed_packages(),
            job_id=new_id("job"),
            attempts=1,
            created_at=now(),
            created_by=actor.name,
            role=actor.role.value,
        )
        stored = self._store.add(entry)
        if stored.id == entry.id:
            self._lineage.link(_edges(stored))
            self._audit.record(actor, "started", Node("run", stored.id), stored.name)
            self._submit(stored)
        return stored

    def _submit(self, entry: Entry) -> None:
        """Hand an open run to the job room; doing it twice makes one job."""
        directory = self._directory(entry.id)
        directory.mkdir(parents=True, exist_ok=True)
        write_text(directory / RECIPE, entry.recipe)
        payload = self._plan(SYSTEM, entry).task(entry.id, directory).payload()
        spec = JobSpec(KIND, WORKER, entry.id, payload, Slot.TRAINING)
        self._jobs.submit(_actor(entry), spec, job_id=entry.job_id)

    def _plan(self, actor: Actor, entry: Entry) -> Plan:
        """The plan of a stored run: of the versions it was started with, whatever their names mean now."""
        recipe = parse_recipe(entry.stage, entry.recipe)
        pinned = {"model": entry.model_version_id, "dataset": entry.dataset_version_ids[0]}
        return self._planner.plan(actor, recipe.model_copy(update=pinned))

    def _settle_safely(self, entry: Entry) -> None:
        try:
            self._settle(entry)
        except Exception:
            # One broken run must not keep the others from being settled; it is looked at again later.
            _log.exception("run %s could not be settled", entry.id)

    def _settle(self, entry: Entry) -> None:
        job = self._job(entry)
        if job is None:
            self._submit_or_end(entry)
            return
        if not job.state.final:
            return
        state, reason, output = job.state, job.reason, None
        if state is JobState.SUCCEEDED:
            try:
                output = self._register(entry)
            except StudioError as error:
                state, reason = JobState.FAILED, f"Its weights could not be registered. {error}"
        if self._store.end(entry.id, self._ending(entry, job, state, reason, output)):
            self._tails.pop(entry.id, None)
            self._audit.record(_actor(entry), state.value, Node("run", entry.id), reason)

    def _submit_or_end(self, entry: Entry) -> None:
        try:
            self._submit(entry)
        except StudioError as error:
            # What it was to learn from is gone by now.
            ending = Ending(entry.job_id, JobState.FAILED, str(error), {}, None, None, now())
            self._store.end(entry.id, ending)

    def _register(self, entry: Entry) -> str:
        result = read_json(self._directory(entry.id) / RESULT)
        if not isinstance(result, dict):
            raise InvalidInput("The trainer left no result.", "Look at the run's log.")
        model = self._registry.version(SYSTEM, entry.model_version_id)
        new = NewWeights(
            name=entry.output,
            kind=ModelKind(result["kind"]),
            path=self._directory(entry.id) / Path(result["path"]).name,
            base_id=model.base_id,
            parent_id=model.id,
            run_id=entry.id,
            parameters=int(result["parameters"]),
            made_of=tuple(self._dataset(version_id) for version_id in entry.dataset_version_ids),
        )
        return self._registry.register_weights(_actor(entry), new).id

    def _ending(self, entry: Entry, job: Job, state: JobState, reason: str, output: str | None) -> Ending:
        directory = self._directory(entry.id)
        usage = read_json(directory / USAGE) or {}
        return Ending(
            job_id=job.id,
            state=state,
            reason=reason,
            summary=last_values(directory / METRICS),
            output_version_id=output,
            peak_memory_bytes=usage.get("peak_memory_bytes"),
            ended_at=job.ended_at or now(),
        )

    def _run(self, entry: Entry) -> Run:
        """The run of an entry; while it is open, its job and its metrics file say how it stands."""
        state, reason, progress, summary = entry.state, entry.reason, None, entry.summary or {}
        if entry.ended_at is None:
            job = self._job(entry)
            state = job.state if job else JobState.QUEUED
            # Not over before its weights are registered.
            state = JobState.RUNNING if state.final else state
            progress = self._jobs.progress(SYSTEM, entry.job_id) if job else None
            summary = self._tails.setdefault(entry.id, Tail(self._directory(entry.id) / METRICS)).values()
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
            reason=reason,
            packages=entry.packages,
            peak_memory_bytes=entry.peak_memory_bytes,
            created_at=entry.created_at,
            ended_at=entry.ended_at,
        )

    def _job(self, entry: Entry) -> Job | None:
        try:
            return self._jobs.get(SYSTEM, entry.job_id)
        except NotFound:
            return None

    def _known(self, actor: Actor, run_id: str) -> Entry:
        entry = self._store.get(run_id)
        seen = self._seen(actor, (entry,) if entry else ())
        if not seen:
            raise NotFound(f"There is no run {run_id[:60]}.", "Look it up in the list of runs.")
        return seen[0]

    def _seen(self, actor: Actor, entries: Iterable[Entry]) -> tuple[Entry, ...]:
        """Those of ``entries`` that use nothing which the actor may not use."""
        datasets, models = self._datasets.hidden(actor), self._registry.hidden(actor)
        return tuple(
            entry
            for entry in entries
            if datasets.isdisjoint(entry.dataset_version_ids)
            and models.isdisjoint((entry.model_version_id, entry.output_version_id))
            and not (models and self._registry.hides_name(actor, entry.output))
        )

    def _marked(self, *runs: Run) -> tuple[Run, ...]:
        marks = self._lineage.marks(Node("run", run.id) for run in runs)
        return tuple(replace(run, marks=marks.get(Node("run", run.id), ())) for run in runs)

    def _dataset(self, version_id: str) -> Node:
        return Node("dataset", self._datasets.version(SYSTEM, version_id).dataset_id)

    def _directory(self, run_id: str) -> Path:
        return self._home / run_id


def _actor(entry: Entry) -> Actor:
    return Actor(entry.created_by, Role(entry.role))


def _edges(entry: Entry) -> tuple[Edge, ...]:
    run = Node("run", entry.id)
    data = [Edge(run, Node("dataset_version", key), "trained_on") for key in entry.dataset_version_ids]
    return (*data, Edge(run, Node("model_version", entry.model_version_id), "warm_start"))
