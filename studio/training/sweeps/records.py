"""The records of sweeps: what was asked for, where it stands, its trials, and what they tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from studio.training.recipes import Recipe
from studio.training.records import Stage

#: What a field of a recipe can be set to.
Value = bool | int | float | str
Params = Mapping[str, Value]

MOST_TRIALS = 500


class Method(StrEnum):
    """How trials are chosen: every combination, at random, or where the trials so far promise most (TPE)."""

    GRID = "grid"
    RANDOM = "random"
    TPE = "tpe"


class Objective(StrEnum):
    """The number that trials are judged by, as it stands in the metrics of a run."""

    EVAL_LOSS = "eval/loss"
    REWARDS_ACCURACY = "eval/rewards_accuracy"

    @property
    def lowest(self) -> bool:
        """Whether less is better."""
        return self is Objective.EVAL_LOSS

    def better(self, one: float, other: float) -> bool:
        """Whether ``one`` is better than ``other``."""
        return one < other if self.lowest else one > other


class SweepState(StrEnum):
    """RUNNING until every trial has ended; STOPPED by somebody; FAILED where trial after trial failed."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


class TrialState(StrEnum):
    """WAITING: its run is about to start. HELD: stopped with its sweep, to go on with it.

    STOPPED: somebody stopped its run. The last four are ends.
    """

    WAITING = "waiting"
    RUNNING = "running"
    HELD = "held"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def final(self) -> bool:
        """Whether nothing more becomes of it."""
        return self not in (TrialState.WAITING, TrialState.RUNNING, TrialState.HELD)


@dataclass(frozen=True)
class Choices:
    """One of a few values."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class IntRange:
    """A whole number from ``low`` to ``high``, both included; with ``log`` small ones are as likely."""

    low: int
    high: int
    step: int = 1
    log: bool = False


@dataclass(frozen=True)
class FloatRange:
    """A number from ``low`` to ``high``; with ``log`` every factor of ten is as likely."""

    low: float
    high: float
    log: bool = False


Span = Choices | IntRange | FloatRange


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Pruning(_Strict):
    """When a trial that does badly is ended early, judged by the objective at its evaluations."""

    rule: Literal["off", "median", "percentile"] = Field(
        "off", description="End a trial that is worse than the median of those before it, or a percentile."
    )
    percentile: float = Field(
        25.0, gt=0, lt=100, description="With rule: percentile, the best share that goes on, in percent."
    )
    after_trials: int = Field(
        4, ge=1, le=MOST_TRIALS, description="So many trials must have ended on their own first."
    )
    after_evaluations: int = Field(
        1, ge=1, le=1000, description="A trial is judged from this evaluation of its own on."
    )

    @property
    def share(self) -> float:
        """The best share that goes on, in percent."""
        return 50.0 if self.rule == "median" else self.percentile


class SweepPlan(_Strict):
    """What is searched, how, and what for; ``recipe`` is the one that every trial changes."""

    name: str = Field("", max_length=60, description="What to call it; empty: after what it makes.")
    recipe: dict[str, Any] = Field(description="The recipe that every trial starts from, with its stage.")
    space: dict[str, Any] = Field(
        min_length=1,
        max_length=12,
        description="Field (dotted path) to the values it may take: a list, or low and high (step, log).",
    )
    method: Method = Field(Method.TPE, description="How trials are chosen: grid, random or tpe.")
    trials: int = Field(12, ge=1, le=MOST_TRIALS, description="How many trials at most.")
    at_once: int = Field(1, ge=1, le=16, description="How many of its runs may wait or train at a time.")
    objective: Objective = Field(
        Objective.EVAL_LOSS, description="eval/loss (lowest), or eval/rewards_accuracy (highest)."
    )
    seed: int = Field(0, ge=0, lt=1 << 32, description="Seed of the choice of trials.")
    pruning: Pruning = Field(default_factory=Pruning, description="Whether bad trials are ended early.")


@dataclass(frozen=True)
class CheckedPlan:
    """A plan whose recipe and space are good."""

    plan: SweepPlan
    recipe: Recipe
    space: dict[str, Span]


@dataclass(frozen=True)
class Sweep:
    """A sweep as it stands; times in seconds since the epoch.

    ``plan`` names exact versions. ``output`` is the model that "train the best" makes; trials make
    versions of another, so that none of them becomes the newest of it.
    """

    id: str
    name: str
    stage: Stage
    plan: SweepPlan
    model_version_id: str
    dataset_version_ids: tuple[str, ...]
    output: str
    state: SweepState
    reason: str
    created_at: float
    created_by: str
    role: str
    ended_at: float | None = None


@dataclass(frozen=True)
class Trial:
    """One trial: the values it tries, its run, and what came of it.

    ``value`` is the objective: at its end, or for one that is under way or was pruned, at its last
    evaluation. ``reason`` says why it was pruned or failed. ``number`` counts from 0.
    """

    sweep_id: str
    number: int
    params: dict[str, Value]
    state: TrialState
    run_id: str
    value: float | None
    reason: str
    created_at: float
    ended_at: float | None = None


@dataclass(frozen=True)
class Insight:
    """What the trials tell: the best so far after each of them, and how much each field mattered.

    ``best`` has one pair (number, value) for each complete trial; ``importance`` maps a field to its share,
    all of them 1 together, and is empty while there are too few trials to say.
    """

    best: tuple[tuple[int, float], ...]
    importance: dict[str, float]


@dataclass(frozen=True)
class Outlook:
    """How long a sweep may take: seconds of one trial and of all, or None where no past run can tell."""

    trials: int
    trial_seconds: float | None
    seconds: float | None
    known_from: str = ""
