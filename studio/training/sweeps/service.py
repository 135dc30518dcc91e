"""Starts, shows, stops and resumes sweeps, and trains the best of what they found.

A sweep is a crowd of runs: each trial is one, with everything that a run has. The studio's heartbeat moves
sweeps on (see ``course``). A sweep that uses what somebody may not use is not there for them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core import (
    Actor,
    Audit,
    Conflict,
    Database,
    InvalidInput,
    Node,
    NotFound,
    Role,
    new_id,
    now,
    require,
)
from studio.core.text import plain_text
from studio.datasets import Split
from studio.training.plan import Plan, Planner, pinned
from studio.training.records import Run, StartRun
from studio.training.sweeps.course import Course
from studio.training.sweeps.outlook import outlook
from studio.training.sweeps.reading import checked, read_plan
from studio.training.sweeps.records import (
    CheckedPlan,
    Insight,
    Method,
    Outlook,
    Sweep,
    SweepPlan,
    SweepState,
    Trial,
    TrialState,
)
from studio.training.sweeps.search import importance
from studio.training.sweeps.space import applied, grid
from studio.training.sweeps.store import SweepStore

if TYPE_CHECKING:
    from studio.datasets import DatasetService
    from studio.registry import RegistryService
    from studio.training.service import TrainingService

_EVERY_SECONDS = 1.0
_REQUEST_LIMIT = 200
_TRIALS_OUTPUT = "-sweep"


class SweepService:
    """Sweeps.

    Args:
        database: Where sweeps and trials are listed.
        home: The studio's home; what a search remembers lies in ``home/sweeps/<sweep id>/``.
        training: Makes the runs.
        datasets: Knows what there is to learn from.
        registry: Knows the models.
        audit: Gets what was done.
        every_seconds: How often sweeps are looked after.
    """

    def __init__(
        self,
        database: Database,
        home: Path,
        training: TrainingService,
        datasets: DatasetService,
        registry: RegistryService,
        audit: Audit,
        every_seconds: float = _EVERY_SECONDS,
    ) -> None:
        self._store = SweepStore(database)
        self._training = training
        self._datasets = datasets
        self._registry = registry
        self._audit = audit
        self._planner = Planner(datasets, registry)
        self._course = Course(self._store, home / "sweeps", training, audit)
        self._every = every_seconds
        self._next = 0.0
        self._insights: dict[str, tuple[int, Insight]] = {}

    def start(self, actor: Actor, sweep: str | Mapping[str, Any], request_id: str = "") -> Sweep:
        """Check a sweep (YAML text or its values) and begin it; the same ``request_id`` gives the same one.

        Raises:
            InvalidInput: It is wrong, or names what does not exist or fit; nothing was started.
            Conflict: The request id belongs to another sweep.
        """
        require(actor, Role.RESEARCHER)
        request_id = plain_text("The request id", request_id, _REQUEST_LIMIT)
        entry = self._entry(actor, read_plan(sweep))
        stored = self._store.add(entry, request_id)
        if stored.id != entry.id:
            if stored.plan != entry.plan or not self._seen(actor, (stored,)):
                raise Conflict(f"The request {request_id!r} is taken.", "Use a new request id.")
            return stored
        self._audit.record(actor, "started", Node("sweep", stored.id), stored.name)
        return stored

    def outlook(self, actor: Actor, sweep: str | Mapping[str, Any]) -> Outlook:
        """How many trials a sweep would make and about how long they take; starts nothing.

        Raises:
            InvalidInput: It is wrong, or names what does not exist or fit.
        """
        require(actor, Role.RESEARCHER)
        plan = read_plan(sweep)
        found = self._planned(actor, plan)
        runs = self._training.list(actor, 200)
        return outlook(_trials(plan), found, runs, lambda run: self._trained(actor, run))

    def list(self, actor: Actor, limit: int = 100) -> tuple[Sweep, ...]:
        """The newest sweeps first; those that use what the actor may not use are left out."""
        require(actor, Role.RESEARCHER)
        return self._seen(actor, self._store.newest(limit))

    def get(self, actor: Actor, sweep_id: str) -> Sweep:
        """The sweep as it stands.

        Raises:
            NotFound: There is no such sweep.
        """
        require(actor, Role.RESEARCHER)
        entry = self._store.get(sweep_id)
        seen = self._seen(actor, (entry,) if entry else ())
        if not seen:
            raise NotFound(f"There is no sweep {sweep_id[:60]}.", "Look it up in the list of sweeps.")
        return seen[0]

    def trials(self, actor: Actor, sweep_id: str) -> tuple[Trial, ...]:
        """The trials of a sweep, the first one first.

        Raises:
            NotFound: There is no such sweep.
        """
        return self._store.trials(self.get(actor, sweep_id).id)

    def best(self, actor: Actor, sweep_id: str) -> Trial | None:
        """The best trial that came to its end, or None.

        Raises:
            NotFound: There is no such sweep.
        """
        sweep = self.get(actor, sweep_id)
        return best_of(sweep, self._store.trials(sweep_id))

    def insight(self, actor: Actor, sweep_id: str) -> Insight:
        """What the trials tell so far; worked out again only once another trial has ended.

        Raises:
            NotFound: There is no such sweep.
        """
        sweep = self.get(actor, sweep_id)
        trials = self._store.trials(sweep_id)
        ended = sum(trial.state is TrialState.COMPLETE for trial in trials)
        known = self._insights.get(sweep_id)
        if known is None or known[0] != ended:
            plan = checked(sweep.plan)
            shares = importance(plan.plan.objective, plan.space, trials)
            known = self._insights[sweep_id] = (ended, Insight(_history(sweep, trials), shares))
        return known[1]

    def stop(self, actor: Actor, sweep_id: str) -> Sweep:
        """Start no more trials, and ask those under way to save and end; a sweep that has ended stays so.

        Raises:
            NotFound: There is no such sweep.
        """
        require(actor, Role.RESEARCHER)
        self.get(actor, sweep_id)
        if self._store.move(sweep_id, (SweepState.RUNNING,), SweepState.STOPPED, "", now()):
            self._audit.record(actor, "stopped", Node("sweep", sweep_id))
            self._course.move_on()
        return self.get(actor, sweep_id)

    def resume(self, actor: Actor, sweep_id: str) -> Sweep:
        """Go on with a sweep that was stopped; its trials go on where they were.

        Raises:
            NotFound: There is no such sweep.
            Conflict: It was not stopped.
        """
        require(actor, Role.RESEARCHER)
        sweep = self.get(actor, sweep_id)
        if not self._store.move(sweep_id, (SweepState.STOPPED,), SweepState.RUNNING, "", None):
            raise Conflict(
                f"{sweep.name} is {sweep.state.value}.", "Only a sweep that was stopped can go on."
            )
        self._audit.record(actor, "resumed", Node("sweep", sweep_id))
        return self.get(actor, sweep_id)

    def train_best(
        self, actor: Actor, sweep_id: str, epochs: float | None = None, request_id: str = ""
    ) -> Run:
        """Start a run with the best trial's recipe; with ``epochs`` for so many passes and no step limit.

        Raises:
            NotFound: There is no such sweep.
            Conflict: No trial has come to its end.
            InvalidInput: The recipe does not fit any more, or so many epochs are none.
        """
        require(actor, Role.RESEARCHER)
        sweep = self.get(actor, sweep_id)
        best = best_of(sweep, self._store.trials(sweep_id))
        if best is None:
            raise Conflict(f"No trial of {sweep.name} has come to its end.", "Wait for the first one.")
        recipe = checked(sweep.plan).recipe.model_copy(update={"output": sweep.output})
        longer = {} if epochs is None else {"epochs": epochs, "max_steps": -1}
        request = StartRun(
            stage=sweep.stage,
            recipe=applied(recipe, {**best.params, **longer}),
            name=f"{sweep.name} best (#{best.number + 1})",
            request_id=request_id,
        )
        run = self._training.start(actor, request)
        self._audit.record(
            actor, "trained best", Node("sweep", sweep_id), f"{run.id}, trial {best.number + 1}"
        )
        return run

    def pseudonymise(self, actor: Actor, name: str, pseudonym: str) -> None:
        """Put ``pseudonym`` where ``name`` stands as who started a sweep; for admins."""
        require(actor)
        self._store.pseudonymise(name, pseudonym)

    def tick(self) -> None:
        """Move every sweep on, about once a second."""
        if time.monotonic() >= self._next:
            self._course.move_on()
            self._next = time.monotonic() + self._every

    def _entry(self, actor: Actor, plan: CheckedPlan) -> Sweep:
        found = self._planned(actor, plan)
        ids = tuple(dataset.id for dataset in found.datasets)
        # Trials make versions of a model of their own: none of them is what people mean by the name.
        output = f"{found.output[: 80 - len(_TRIALS_OUTPUT)]}{_TRIALS_OUTPUT}"
        recipe = pinned(plan.recipe, found.model.id, ids).model_copy(update={"output": output})
        values = recipe.model_dump(mode="json", exclude_unset=True) | {"stage": recipe.STAGE.value}
        name = " ".join(plain_text("The name", plan.plan.name, 60).split()) or f"{found.output} sweep"
        exact = plan.plan.model_copy(update={"recipe": values})
        # As it will be read again: a list of values that came as a tuple is another one.
        exact = SweepPlan.model_validate_json(exact.model_dump_json())
        return Sweep(
            id=new_id("sweep"),
            name=name,
            stage=recipe.STAGE,
            plan=exact,
            model_version_id=found.model.id,
            dataset_version_ids=ids,
            output=found.output,
            state=SweepState.RUNNING,
            reason="",
            created_at=now(),
            created_by=actor.name,
            role=actor.role.value,
        )

    def _planned(self, actor: Actor, plan: CheckedPlan) -> Plan:
        """The plan of the base recipe; its name and that of the trials' model are both for this actor."""
        trials = _trials(plan)
        found = self._planner.plan(actor, plan.recipe)
        if not any(dataset.rows.get(Split.VALIDATION) for dataset in found.datasets):
            raise InvalidInput(
                f"{found.dataset.reference} has no held-out rows, and trials are judged by them.",
                "Import it with a share of rows held out.",
            )
        if plan.plan.at_once > trials:
            raise InvalidInput(
                f"{plan.plan.at_once} at once of {trials} trials is too many.", "Lower at_once."
            )
        return found

    def _trained(self, actor: Actor, run: Run) -> float | None:
        """The seconds that a run trained, pauses and evaluations left out."""
        column = self._training.points(actor, run.id).columns.get("train/loss", ())
        return column[-1][2] if column else None

    def _seen(self, actor: Actor, sweeps: Iterable[Sweep]) -> tuple[Sweep, ...]:
        datasets, models = self._datasets.hidden(actor), self._registry.hidden(actor)
        return tuple(
            sweep
            for sweep in sweeps
            if datasets.isdisjoint(sweep.dataset_version_ids)
            and sweep.model_version_id not in models
            and not (models and self._registry.hides_name(actor, sweep.output))
        )


def best_of(sweep: Sweep, trials: Iterable[Trial]) -> Trial | None:
    """The best of the trials that came to their end, the first of equals."""
    best: Trial | None = None
    for trial in trials:
        if trial.state is not TrialState.COMPLETE or trial.value is None:
            continue
        if best is None or best.value is None or sweep.plan.objective.better(trial.value, best.value):
            best = trial
    return best


def _history(sweep: Sweep, trials: Iterable[Trial]) -> tuple[tuple[int, float], ...]:
    ended = [one for one in trials if one.state is TrialState.COMPLETE and one.value is not None]
    found: list[tuple[int, float]] = []
    for trial in sorted(ended, key=lambda one: (one.ended_at or 0.0, one.number)):
        value = trial.value if trial.value is not None else 0.0
        if found and not sweep.plan.objective.better(value, found[-1][1]):
            value = found[-1][1]
        found.append((trial.number, value))
    return tuple(found)


def _trials(plan: CheckedPlan) -> int:
    wanted = plan.plan.trials
    return min(wanted, len(grid(plan.space))) if plan.plan.method is Method.GRID else wanted
