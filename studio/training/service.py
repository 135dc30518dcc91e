"""Starts, watches, orders, pauses, resumes and retries runs, and looks after what they leave.

The invariants: one request starts one run; a run is on disk before its job is submitted; a run counts as
succeeded only once its weights are registered; whoever may not use what a run uses does not know of it.
The work is done beside this module: ``desk`` (entries, jobs, sight), ``settling`` (ends), ``queue``
(order), ``upkeep`` (checkpoints), ``foresight`` (what is known before).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core.actors import EVERYONE, Actor, Role, require
from studio.core.audit import Audit
from studio.core.database import Database
from studio.core.errors import Conflict, NotFound
from studio.core.ids import new_id
from studio.core.lineage import Lineage, Node
from studio.jobs import Job, JobState, LogChunk
from studio.training.commands import reproduction
from studio.training.compare import check_runs, compared
from studio.training.desk import RunDesk
from studio.training.foresight import Checks, Foresight
from studio.training.memory import MemoryEstimate, MemoryForecast
from studio.training.metrics import read_points
from studio.training.plan import Planner, installed_packages
from studio.training.queue import RunQueue
from studio.training.recipes import dump_recipe, parse_recipe
from studio.training.records import (
    Checkpoint,
    Comparison,
    FailureCard,
    Points,
    QueuedRun,
    Run,
    Stage,
    StartRun,
)
from studio.training.retry import patched, retried_name
from studio.training.settling import Settler
from studio.training.starting import Starter
from studio.training.store import Entry, RunStore
from studio.training.task import METRICS
from studio.training.telemetry import TELEMETRY, TelemetryChunk, read_telemetry
from studio.training.thinning import thinned
from studio.training.upkeep import Upkeep

if TYPE_CHECKING:
    from studio.datasets import DatasetService
    from studio.jobs import JobService
    from studio.registry import ModelVersion, RegistryService


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
        checks: Tells what pre-flights found; without it nothing is refused for what they know.
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
        checks: Checks | None = None,
    ) -> None:
        self._store = RunStore(database)
        self._audit = audit
        self._planner = Planner(datasets, registry)
        self._desk = RunDesk(
            store=self._store,
            home=home / "runs",
            tokens=home / "tokens",
            jobs=jobs,
            datasets=datasets,
            registry=registry,
            lineage=lineage,
            audit=audit,
            planner=self._planner,
        )
        self._foresight = Foresight(MemoryForecast(database), checks)
        self._settler = Settler(self._desk, self._foresight)
        self._queue = RunQueue(self._desk)
        self._starter = Starter(self._desk, self._foresight, self._queue)
        self._upkeep = Upkeep(self._desk)
        jobs.judge_when(self._desk.came_to)

    def start(self, actor: Actor, request: StartRun, sweep_id: str = "") -> Run:
        """Check a recipe and start its run; the same ``request_id`` again gives the same run.

        ``sweep_id`` is the sweep whose trial the run is.

        Raises:
            InvalidInput: The recipe is wrong, names what does not exist or fit, or its pre-flight found
                errors; nothing was started.
            Conflict: The request id belongs to another recipe.
        """
        require(actor, Role.RESEARCHER)
        return self._starter.begin(actor, request, sweep_id=sweep_id)

    def retry(self, actor: Actor, run_id: str, with_fix: bool, request_id: str = "") -> Run:
        """Start a run again as a new one: same recipe, same versions, with what its card suggests or without.

        Raises:
            NotFound: There is no such run.
            Conflict: It has not ended, or has succeeded; or its card suggests no change.
            InvalidInput: What it needs is gone, or its recipe cannot be changed so.
        """
        require(actor, Role.RESEARCHER)
        entry = self._known(actor, run_id)
        if entry.ended_at is None or entry.output_version_id is not None:
            raise Conflict(
                f"{entry.name} is {self._desk.run(entry).state.value}.",
                "Only a run that was stopped, failed or was lost is tried again.",
            )
        card = self._settler.card_of(entry) if with_fix else None
        if with_fix and (card is None or not card.fix):
            raise Conflict(f"No change is known that would help {entry.name}.", "Start it again without one.")
        recipe = patched(self._desk.exact_recipe(entry), card.fix if card else {})
        request = StartRun(
            stage=entry.stage,
            recipe=dump_recipe(recipe),
            name=retried_name(entry.name),
            request_id=request_id,
            priority=entry.priority,
            after=entry.after_runs,
            continue_on_error=entry.continue_on_error,
            devices=entry.devices,
        )
        return self._starter.begin(actor, request, entry.id, entry.sweep_id)

    def get(self, actor: Actor, run_id: str) -> Run:
        """The run as it stands now.

        Raises:
            NotFound: There is no such run.
        """
        require(actor, *EVERYONE)
        return self._desk.shown(actor, self._desk.run(self._known(actor, run_id)))[0]

    def list(self, actor: Actor, limit: int = 100) -> tuple[Run, ...]:
        """The newest runs first; those that use what the actor may not use are left out."""
        require(actor, *EVERYONE)
        seen = self._desk.seen(actor, self._store.newest(limit))
        return self._desk.shown(actor, *(self._desk.run(entry) for entry in seen))

    def stop(self, actor: Actor, run_id: str) -> Run:
        """Ask a run to save and end; one that has ended stays as it is, and is paused no longer.

        Raises:
            NotFound: There is no such run.
        """
        require(actor, Role.RESEARCHER)
        self._halt(actor, self._known(actor, run_id), paused=False)
        return self.get(actor, run_id)

    def explain(self, actor: Actor, run_id: str, reason: str) -> None:
        """Note on a run that was stopped why it was, in a sentence; for admins and the studio itself."""
        require(actor)
        self._store.explain(self._known(actor, run_id).id, reason)

    def pause(self, actor: Actor, run_id: str) -> Run:
        """Ask a run to save and end, and note that it is to be taken up again.

        Raises:
            NotFound: There is no such run.
            Conflict: It has ended.
        """
        require(actor, Role.RESEARCHER)
        entry = self._known(actor, run_id)
        if entry.ended_at is not None and entry.state is not JobState.STOPPED:
            raise Conflict(f"{entry.name} is {entry.state.value}.", "Only a run under way can be paused.")
        self._halt(actor, entry, paused=True)
        return self.get(actor, run_id)

    def resume(self, actor: Actor, run_id: str, step: int | None = None) -> Run:
        """Go on with a run that was paused, stopped, failed or lost.

        Args:
            actor: Who asks.
            run_id: The run.
            step: The checkpoint to go on from; later ones are then given up. None is the newest complete
                one, or the beginning where there is none.

        Raises:
            NotFound: There is no such run, or no complete checkpoint at that step.
            Conflict: The run is under way or has succeeded.
            InvalidInput: Its model or dataset is gone.
        """
        require(actor, Role.RESEARCHER)
        entry = self._known(actor, run_id)
        if step is not None and entry.ended_at is not None:
            self._upkeep.require_step(entry, step)
        # Whatever the job room refuses (a GPU that is gone) is refused while the run stands as it stood.
        plan = self._desk.plan(actor, entry)
        self._desk.jobs.check(actor, self._desk.spec(entry, plan))
        packages = installed_packages(self._desk.home.parent, plan.recipe.engine)
        if not self._store.reopen(run_id, new_id("job"), packages, step):
            raise Conflict(
                f"{entry.name} is {self.get(actor, run_id).state.value}.",
                "Only a run that was stopped, failed or was lost can go on.",
            )
        entry = self._known(actor, run_id)
        where = f" from step {step}" if step is not None else ""
        self._audit.record(actor, "resumed", Node("run", run_id), f"attempt {entry.attempts}{where}")
        self._desk.submit(entry)
        return self.get(actor, run_id)

    def queue(self, actor: Actor) -> tuple[QueuedRun, ...]:
        """The runs that wait, the next one first, each with what it waits for; hidden ones are left out."""
        require(actor, Role.RESEARCHER)
        return self._queue.waiting(actor)

    def move(self, actor: Actor, run_id: str, before_run_id: str | None = None) -> Run:
        """Put a waiting run directly before another one, or at the end (None).

        Raises:
            NotFound: There is no such run.
            Conflict: One of them does not wait.
        """
        require(actor, Role.RESEARCHER)
        self._queue.move(actor, run_id, before_run_id)
        return self.get(actor, run_id)

    def prioritise(self, actor: Actor, run_id: str, priority: int) -> Run:
        """Give a waiting run another priority; higher ones go first.

        Raises:
            NotFound: There is no such run.
            Conflict: It does not wait.
            InvalidInput: The priority is out of range.
        """
        require(actor, Role.RESEARCHER)
        self._queue.prioritise(actor, run_id, priority)
        return self.get(actor, run_id)

    def failure(self, actor: Actor, run_id: str) -> FailureCard | None:
        """Why a run did not succeed and what would help; None where it is under way, stopped or succeeded.

        Raises:
            NotFound: There is no such run.
        """
        require(actor, Role.RESEARCHER)
        return self._settler.card_of(self._known(actor, run_id))

    def checkpoints(self, actor: Actor, run_id: str) -> tuple[Checkpoint, ...]:
        """The complete checkpoints of a run, newest first.

        Raises:
            NotFound: There is no such run.
        """
        require(actor, Role.RESEARCHER)
        return self._upkeep.listed(self._known(actor, run_id))

    def keep_checkpoint(self, actor: Actor, run_id: str, step: int, name: str = "") -> ModelVersion:
        """Register a checkpoint as a version of ``name`` (empty: the run's own model), also while it runs.

        Raises:
            NotFound: There is no such run, or no complete checkpoint at that step.
            InvalidInput: Nothing can have the name.
            Conflict: The name is not the actor's to add to, or the trainer removed the checkpoint.
        """
        require(actor, Role.RESEARCHER)
        return self._upkeep.keep(actor, self._known(actor, run_id), step, name)

    def delete_checkpoint(self, actor: Actor, run_id: str, step: int) -> None:
        """Remove a checkpoint for ever.

        Raises:
            NotFound: There is no such run, or no complete checkpoint at that step.
            Conflict: The run has not succeeded and may need it.
        """
        require(actor, Role.RESEARCHER)
        self._upkeep.delete(actor, self._known(actor, run_id), step)

    def compare(self, actor: Actor, run_ids: Sequence[str]) -> Comparison:
        """Runs beside each other: where their recipes differ, and their numbers.

        Raises:
            NotFound: There is no such run.
            InvalidInput: They are too many, or none.
        """
        require(actor, *EVERYONE)
        entries = [self._known(actor, run_id) for run_id in check_runs(run_ids)]
        runs = self._desk.shown(actor, *(self._desk.run(entry) for entry in entries))
        return compared(runs, [self._desk.exact_recipe(entry) for entry in entries])

    def command(self, actor: Actor, run_id: str) -> str:
        """What to type in a shell to run the same again: its recipe with exact versions, and the command.

        Raises:
            NotFound: There is no such run.
        """
        require(actor, Role.RESEARCHER)
        entry = self._known(actor, run_id)
        return reproduction(entry, self._desk.exact_recipe(entry))

    def estimate(self, actor: Actor, stage: Stage, recipe_text: str) -> MemoryEstimate:
        """How much memory a run of a recipe will need, what takes it, and what would make it fit.

        Raises:
            InvalidInput: The recipe is wrong, or names what does not exist or fit.
        """
        require(actor, Role.RESEARCHER)
        plan = self._planner.plan(actor, parse_recipe(stage, recipe_text))
        return self._foresight.estimate(actor, plan)

    def telemetry(self, actor: Actor, run_id: str, cursor: int = 0, most: int = 0) -> TelemetryChunk:
        """How the machine stood while a run trained, after ``cursor``; about ``most`` samples, or all (0).

        Raises:
            NotFound: There is no such run.
        """
        require(actor, Role.RESEARCHER)
        self._known(actor, run_id)
        return read_telemetry(self._desk.directory(run_id) / TELEMETRY, run_id, cursor, most)

    def points(self, actor: Actor, run_id: str, cursor: int = 0, epoch: int = 0, most: int = 0) -> Points:
        """The metric points after ``cursor``; all of them where ``epoch`` is not the current one.

        With ``most`` about so many of each metric come back, its extremes among them; 0 gives all.

        Raises:
            NotFound: There is no such run.
            InvalidInput: ``most`` is 1 or negative.
        """
        require(actor, *EVERYONE)
        self._known(actor, run_id)
        path = self._desk.directory(run_id) / METRICS
        if not most:
            return read_points(path, run_id, cursor, epoch)
        return thinned(path, run_id, cursor, epoch, most)

    def log(self, actor: Actor, run_id: str, offset: int = 0) -> LogChunk:
        """The log of the run's newest attempt from byte ``offset`` (negative: so many from the end).

        Raises:
            NotFound: There is no such run.
        """
        require(actor, Role.RESEARCHER)
        entry = self._known(actor, run_id)
        try:
            return self._desk.jobs.log(actor, entry.job_id, offset)
        except NotFound:
            return LogChunk("", 0)  # Its job is about to be submitted.

    def hides(self, actor: Actor, run_id: str) -> bool:
        """Whether there is such a run and the actor may not see it."""
        require(actor, *EVERYONE)
        entry = self._store.get(run_id)
        return entry is not None and not self._desk.seen(actor, (entry,))

    def pseudonymise(self, actor: Actor, name: str, pseudonym: str) -> None:
        """Put ``pseudonym`` where ``name`` stands as who started a run; for admins."""
        require(actor)
        self._store.pseudonymise(name, pseudonym)

    def settle(self, jobs: tuple[Job, ...]) -> None:  # noqa: ARG002
        """Register what ended runs made; doing it again changes nothing.

        Every open run is looked at, not only those of ``jobs``: what was missed while nobody looked is
        made good, and a run whose job was never submitted gets it now.
        """
        self._settler.settle_all()

    def _halt(self, actor: Actor, entry: Entry, *, paused: bool) -> None:
        noted = self._store.pause(entry.id, entry.job_id, paused=paused)
        if not noted and self._known(actor, entry.id).job_id != entry.job_id:
            raise Conflict(f"{entry.name} was just taken up again.", "Look at it, and stop or pause it then.")
        if entry.ended_at is not None and entry.paused == paused:
            return
        self._audit.record(actor, "paused" if paused else "stopped", Node("run", entry.id))
        if entry.ended_at is not None:
            return
        if self._desk.job(entry) is None:
            self._desk.submit(entry)
        self._desk.jobs.request_stop(actor, entry.job_id)
        self._settler.settle_safely(entry)

    def _known(self, actor: Actor, run_id: str) -> Entry:
        return self._desk.known(actor, run_id)
