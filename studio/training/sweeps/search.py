"""The search of one sweep: Optuna's study in a SQLite file of its own, told and asked one trial at a time.

The study knows what was tried and what came of it; the studio's database knows the runs. Whatever was asked
for and not written there (the studio died in between) is found again as unfinished. Every choice follows
from the sweep's seed, the trial's number and the trials before it, so a restart changes nothing.

Optuna is imported when a sweep is first moved on, never with this module.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from studio.training.sweeps.records import (
    CheckedPlan,
    Choices,
    IntRange,
    Method,
    Objective,
    Span,
    Trial,
    TrialState,
    Value,
)
from studio.training.sweeps.space import grid

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_NAME = "sweep"
#: Another prime than any seed is likely to be a multiple of: trials of one sweep share no seed.
_STRIDE = 1_000_003
#: Complete trials below which nothing is said about what mattered.
_FEWEST = 4


@dataclass(frozen=True)
class Proposal:
    """A trial to make: its number and its values."""

    number: int
    params: dict[str, Value]


class Search:
    """Asks for trials, hears of their evaluations, and is told their ends.

    Args:
        path: The study's SQLite file.
        checked: What is searched.
    """

    def __init__(self, path: Path, checked: CheckedPlan) -> None:
        self._path = path
        self._plan = checked.plan
        self._space = checked.space
        self._grid = grid(checked.space) if checked.plan.method is Method.GRID else ()
        self._loaded: Study | None = None

    def ask(self, tried: Iterable[Mapping[str, Value]]) -> Proposal | None:
        """The next trial to make; None where a grid has no more. ``tried`` are the trials that were made."""
        study = self._study()
        number = len(study.trials)
        study.sampler = self._sampler(number)
        if self._plan.method is Method.GRID and not self._states("WAITING"):
            known = [dict(params) for params in tried]
            left = [params for params in self._grid if params not in known]
            if not left:
                return None
            study.enqueue_trial(left[0])
        trial = study.ask({path: distribution(span) for path, span in self._space.items()})
        return Proposal(trial.number, dict(trial.params))

    def unfinished(self) -> tuple[Proposal, ...]:
        """The trials that were asked for and have no end; one that was cut short while asking is dropped."""
        found = []
        for frozen in self._states("RUNNING"):
            if set(frozen.params) == set(self._space):
                found.append(Proposal(frozen.number, dict(frozen.params)))
            else:
                self.tell(frozen.number, TrialState.FAILED, None)
        return tuple(found)

    def report(self, number: int, points: Sequence[tuple[int, float]]) -> bool:
        """Note the evaluations (step, objective) of a trial; whether any of them was new."""
        import optuna

        study = self._study()
        frozen = study.trials[number]
        fresh = [(step, value) for step, value in points if step not in frozen.intermediate_values]
        if frozen.state.is_finished() or not fresh:
            return False
        trial = optuna.trial.Trial(study, frozen._trial_id)
        for step, value in fresh:
            trial.report(value, step)
        return True

    def verdict(self, number: int, every: int) -> str:
        """Why a trial should be pruned, as a sentence; empty where it should go on.

        ``every`` is the steps between evaluations. Trials are compared at the same step: the best that this
        one has had so far with what those that came to their end had there.
        """
        pruning = self._plan.pruning
        study = self._study()
        mine = study.trials[number]
        step = mine.last_step
        if pruning.rule == "off" or step is None or step < every * pruning.after_evaluations:
            return ""
        ended = self._states("COMPLETE")
        there = [one.intermediate_values[step] for one in ended if step in one.intermediate_values]
        if len(ended) < pruning.after_trials or not there:
            return ""
        lowest = self._plan.objective.lowest
        best = (min if lowest else max)(mine.intermediate_values.values())
        line = _percentile(there, pruning.share if lowest else 100 - pruning.share)
        if not self._plan.objective.better(line, best):
            return ""
        return _sentence(self._plan.objective, step, best, line, len(there), pruning.share)

    def tell(self, number: int, state: TrialState, value: float | None) -> None:
        """Tell how a trial ended; doing it again changes nothing."""
        from optuna.trial import TrialState as Theirs

        complete = state is TrialState.COMPLETE and value is not None and math.isfinite(value)
        if complete:
            self._study().tell(number, value, skip_if_finished=True)
            return
        pruned = state is TrialState.PRUNED
        self._study().tell(number, state=Theirs.PRUNED if pruned else Theirs.FAIL, skip_if_finished=True)

    def _states(self, *names: str) -> list[FrozenTrial]:
        from optuna.trial import TrialState as Theirs

        wanted = tuple(Theirs[name] for name in names)
        return self._study().get_trials(deepcopy=False, states=wanted)

    def _study(self) -> Study:
        if self._loaded is None:
            import optuna
            from sqlalchemy.pool import NullPool

            optuna.logging.set_verbosity(optuna.logging.WARNING)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A connection for each call: nothing stays open, whatever thread asks.
            options = {"poolclass": NullPool, "connect_args": {"timeout": 30.0}}
            storage = optuna.storages.RDBStorage(f"sqlite:///{self._path}", engine_kwargs=options)
            self._loaded = optuna.create_study(
                storage=storage,
                study_name=_NAME,
                direction="minimize" if self._plan.objective.lowest else "maximize",
                load_if_exists=True,
            )
        return self._loaded

    def _sampler(self, number: int) -> Any:
        from optuna.samplers import RandomSampler, TPESampler

        seed = (self._plan.seed * _STRIDE + number) % (1 << 32)
        if self._plan.method is Method.TPE:
            # Random ones first: a quarter, where Optuna's ten would leave little of a small sweep.
            first = max(2, min(10, self._plan.trials // 4))
            return TPESampler(seed=seed, n_startup_trials=first)
        return RandomSampler(seed=seed)


def distribution(span: Span) -> BaseDistribution:
    """The span as Optuna has it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(span, Choices):
        return CategoricalDistribution(span.values)
    if isinstance(span, IntRange):
        return IntDistribution(span.low, span.high, log=span.log, step=span.step)
    return FloatDistribution(span.low, span.high, log=span.log)


def importance(objective: Objective, space: Mapping[str, Span], trials: Iterable[Trial]) -> dict[str, float]:
    """How much each field mattered for being among the best, largest first; empty where nobody can say.

    By PED-ANOVA (Watanabe et al., 2023): it compares where the better trials lie with where all of them do.
    """
    ended = [one for one in trials if one.state is TrialState.COMPLETE and one.value is not None]
    if len(ended) < _FEWEST or len({one.value for one in ended}) < 2:
        return {}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize" if objective.lowest else "maximize")
    spans = {path: distribution(span) for path, span in space.items()}
    for one in ended:
        study.add_trial(
            optuna.trial.create_trial(params=dict(one.params), distributions=spans, value=one.value)
        )
    try:
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        )
    except (ValueError, RuntimeError, ZeroDivisionError):
        return {}
    return {path: float(share) for path, share in found.items() if math.isfinite(share)}


def _percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` percent of ``values`` lie, interpolated."""
    if len(values) == 1:
        return values[0]
    ordered = sorted(values)
    if share == 50.0:
        return quantiles(ordered, n=2, method="inclusive")[0]
    place = (len(ordered) - 1) * share / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _sentence(objective: Objective, step: int, best: float, line: float, others: int, share: float) -> str:
    name = "eval loss" if objective.lowest else "rewards accuracy"
    side = "above" if objective.lowest else "below"
    what = "the median" if share == 50.0 else f"the best {share:g} percent"
    of = "the one trial" if others == 1 else f"the {others} trials"
    return (
        f"Pruned at step {step:,}: its best {name} so far, {best:.4g}, is {side} {line:.4g}, "
        f"{what} of {of} before it at that step."
    )
