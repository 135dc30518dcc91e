"""How a sweep goes on: trials are asked for, their runs started, watched, pruned, and their ends told.

The invariants: a trial's run is started under a request id that is made of the sweep and the trial, so one
trial never has two runs; a trial is written down before its run starts, and its end is told to the search
before it is written down, so whatever a crash leaves open is found open and done again. Only one process
at a time moves sweeps on.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core import SYSTEM, Actor, Audit, Conflict, Node, Role, StudioError, now
from studio.jobs import JobState
from studio.training.records import Run, StartRun
from studio.training.sweeps.reading import checked
from studio.training.sweeps.records import CheckedPlan, Method, Sweep, SweepState, Trial, TrialState
from studio.training.sweeps.search import Proposal, Search
from studio.training.sweeps.space import applied
from studio.training.sweeps.store import SweepStore

if TYPE_CHECKING:
    from studio.training.service import TrainingService

STUDY = "optuna.db"
#: Trials that fail one after another before a sweep is given up: it is then the recipe, or the machine.
_FAILURES = 5
_UNDER_WAY = (JobState.QUEUED, JobState.STARTING, JobState.RUNNING)
_EVAL_LOSS = "eval/loss"

_log = logging.getLogger(__name__)


@dataclass
class _Known:
    """What is kept in memory of a sweep while it goes on; all of it can be had again."""

    checked: CheckedPlan
    search: Search


@dataclass
class Course:
    """Moves sweeps on.

    ``home`` holds a folder for each sweep.
    """

    store: SweepStore
    home: Path
    training: TrainingService
    audit: Audit
    _known: dict[str, _Known] = field(default_factory=dict)
    _cursors: dict[str, tuple[int, int]] = field(default_factory=dict)

    def move_on(self) -> None:
        """Move every live sweep on by what has happened; nothing while another process is at it."""
        live = self.store.live()
        if not live and not self._known:
            return
        with self._alone() as mine:
            if not mine:
                return
            for gone in set(self._known) - {sweep.id for sweep in live}:
                del self._known[gone]
            for sweep in live:
                try:
                    self._move(sweep)
                except Exception:
                    # One broken sweep must not keep the others from going on; it is tried again.
                    _log.exception("sweep %s could not be moved on", sweep.id)

    def _move(self, sweep: Sweep) -> None:
        if sweep.id not in self._known:
            self._known[sweep.id] = self._open(sweep)
        known = self._known[sweep.id]
        for trial in self.store.trials(sweep.id):
            if not trial.state.final:
                self._follow(sweep, known, trial)
        if sweep.state is SweepState.RUNNING:
            self._fill(sweep, known)

    def _open(self, sweep: Sweep) -> _Known:
        plan = checked(sweep.plan)
        return _Known(plan, Search(self.home / sweep.id / STUDY, plan))

    def _propose(self, known: _Known, trials: Sequence[Trial]) -> Proposal | None:
        """The next trial to make: one that was asked for when a studio died, or else a new one."""
        written = {trial.number for trial in trials}
        left = [one for one in known.search.unfinished() if one.number not in written]
        return left[0] if left else known.search.ask([trial.params for trial in trials])

    def _write(self, sweep: Sweep, proposal: Proposal) -> Trial:
        trial = Trial(sweep.id, proposal.number, proposal.params, TrialState.WAITING, "", None, "", now())
        self.store.add_trial(trial)
        return trial

    def _fill(self, sweep: Sweep, known: _Known) -> None:
        """Ask for trials while a place is free; end the sweep where none is left to make."""
        while True:
            trials = self.store.trials(sweep.id)
            going = [trial for trial in trials if not trial.state.final]
            if _hopeless(trials):
                reason = f"{_FAILURES} trials in a row failed, the last one so: {trials[-1].reason}"
                self._end(sweep, SweepState.FAILED, reason)
                return
            if len(going) >= sweep.plan.at_once:
                return
            done = len(trials) >= sweep.plan.trials
            proposal = None if done else self._propose(known, trials)
            if proposal is None:
                if not going:
                    self._end(sweep, SweepState.FINISHED, _last_words(sweep, trials))
                return
            self._begin(sweep, known, self._write(sweep, proposal))
            latest = self.store.get(sweep.id)
            if latest is None or latest.state is not SweepState.RUNNING:
                return

    def _begin(self, sweep: Sweep, known: _Known, trial: Trial) -> None:
        """Start the run of a trial; one that was started already is found again by its request id."""
        request = StartRun(
            stage=sweep.stage,
            recipe=applied(known.checked.recipe, trial.params),
            name=f"{sweep.name} #{trial.number + 1}",
            request_id=f"{sweep.id}-{trial.number}",
        )
        try:
            run = self.training.start(owner(sweep), request, sweep.id)
        except StudioError as error:
            if error.status >= 500:
                raise
            self._close(known, trial, TrialState.FAILED, str(error))
            return
        self.store.change_trial(replace(trial, state=TrialState.RUNNING, run_id=run.id))

    def _follow(self, sweep: Sweep, known: _Known, trial: Trial) -> None:
        if trial.state is TrialState.WAITING:
            self._begin(sweep, known, trial)
            return
        run = self.training.get(SYSTEM, trial.run_id)
        if run.state is JobState.SUCCEEDED:
            self._succeeded(known, trial, run)
        elif run.state in (JobState.FAILED, JobState.LOST):
            self._close(known, trial, TrialState.FAILED, run.reason)
        elif run.state is JobState.STOPPED:
            self._stopped(sweep, known, trial, run)
        elif trial.state is TrialState.HELD and sweep.state is SweepState.RUNNING:
            self.store.change_trial(replace(trial, state=TrialState.RUNNING))
        else:
            self._watch(sweep, known, trial, run)

    def _succeeded(self, known: _Known, trial: Trial, run: Run) -> None:
        name, keep_best = known.checked.plan.objective.value, known.checked.recipe.keep_best
        found = self._read(run.id, (0, 0), name, _EVAL_LOSS)
        if not found[name]:
            self._close(known, trial, TrialState.FAILED, f"Its run measured no {name}.")
            return
        # Also what came since the last look: later trials are held against it.
        known.search.report(trial.number, list(found[name].items()))
        value = _of_the_weights(found[name], found[_EVAL_LOSS] if keep_best else {})
        self._close(known, replace(trial, value=value), TrialState.COMPLETE, "")

    def _stopped(self, sweep: Sweep, known: _Known, trial: Trial, run: Run) -> None:
        if trial.reason:
            self.training.explain(SYSTEM, run.id, trial.reason)
            self._close(known, trial, TrialState.PRUNED, trial.reason)
        elif sweep.state is not SweepState.RUNNING:
            self.store.change_trial(replace(trial, state=TrialState.HELD))
        elif trial.state is TrialState.HELD:
            self._resume(sweep, known, trial, run)
        elif not run.paused:
            # A paused one keeps its place: somebody means to take it up again.
            self._close(known, trial, TrialState.STOPPED, "Its run was stopped by hand.")

    def _resume(self, sweep: Sweep, known: _Known, trial: Trial, run: Run) -> None:
        try:
            self.training.resume(owner(sweep), run.id)
        except Conflict:
            pass  # somebody was faster
        except StudioError as error:
            if error.status >= 500:
                raise
            self._close(known, trial, TrialState.FAILED, str(error))
            return
        self.store.change_trial(replace(trial, state=TrialState.RUNNING))

    def _watch(self, sweep: Sweep, known: _Known, trial: Trial, run: Run) -> None:
        """Report what a run under way has measured; stop it where it is pruned or its sweep was stopped."""
        name = known.checked.plan.objective.value
        points = self._read(run.id, self._cursors.get(run.id, (0, 0)), name)[name]
        if points:
            known.search.report(trial.number, list(points.items()))
            why = trial.reason or known.search.verdict(trial.number, known.checked.recipe.eval_every)
            trial = replace(trial, value=points[max(points)], reason=why)
            self.store.change_trial(trial)
        halted = sweep.state is not SweepState.RUNNING and trial.state is TrialState.RUNNING
        if run.state in _UNDER_WAY and (trial.reason or halted):
            self.training.stop(SYSTEM, run.id)

    def _read(self, run_id: str, start: tuple[int, int], *names: str) -> dict[str, dict[int, float]]:
        """The evaluations of a run by step, after a place in its metrics; the one before training is none."""
        found: dict[str, dict[int, float]] = {name: {} for name in names}
        cursor, epoch = start
        while True:
            points = self.training.points(SYSTEM, run_id, cursor, epoch)
            for name in names:
                column = points.columns.get(name, ())
                found[name] |= {step: value for step, value, *_ in column if step > 0}
            if (points.cursor, points.epoch) == (cursor, epoch):
                self._cursors[run_id] = (cursor, epoch)
                return found
            cursor, epoch = points.cursor, points.epoch

    def _close(self, known: _Known, trial: Trial, state: TrialState, reason: str) -> None:
        """Tell the search how a trial ended, then write it down."""
        known.search.tell(trial.number, state, trial.value)
        self.store.change_trial(replace(trial, state=state, reason=reason, ended_at=now()))
        self._cursors.pop(trial.run_id, None)

    def _end(self, sweep: Sweep, state: SweepState, reason: str) -> None:
        if self.store.move(sweep.id, (SweepState.RUNNING,), state, reason, now()):
            self.audit.record(owner(sweep), state.value, Node("sweep", sweep.id), reason)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether no other process (and no other studio in this one) moves sweeps on meanwhile."""
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / ".lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True


def owner(sweep: Sweep) -> Actor:
    """Who started a sweep: its runs are theirs."""
    return Actor(sweep.created_by, Role(sweep.role))


def _of_the_weights(values: Mapping[int, float], losses: Mapping[int, float]) -> float:
    """The objective of the weights that a run gave out: its last ones, or with ``losses`` its best ones."""
    common = losses.keys() & values.keys()
    return values[min(common, key=lambda step: (losses[step], step)) if common else max(values)]


def _hopeless(trials: Sequence[Trial]) -> bool:
    last = trials[-_FAILURES:]
    return len(last) == _FAILURES and all(trial.state is TrialState.FAILED for trial in last)


def _last_words(sweep: Sweep, trials: Sequence[Trial]) -> str:
    made = len(trials)
    if sweep.plan.method is Method.GRID and made < sweep.plan.trials:
        return f"Every one of the grid's {made} combinations was tried."
    return ""
