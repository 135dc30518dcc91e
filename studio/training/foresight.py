"""What is known of a run before it starts: the memory that it will need, and what a pre-flight found.

A forecast is a help and never a gate: where it cannot be made, the run starts without one. What a
pre-flight knows is a gate: a run with an error that is known does not start.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

from studio.core import Actor, InvalidInput, StudioError
from studio.registry import ModelKind
from studio.training.memory import MemoryEstimate, MemoryForecast, Subject
from studio.training.memory.measured import usage_of
from studio.training.plan import Plan, pinned
from studio.training.recipes import dump_recipe
from studio.training.records import Stage

_log = logging.getLogger(__name__)


class Checks(Protocol):
    """What a pre-flight tells (``preflight.PreflightService`` is one); neither method begins anything."""

    def refusal(
        self, actor: Actor, stage: Stage, recipe_text: str, devices: tuple[int, ...] = ()
    ) -> InvalidInput | None:
        """Why a run should not start, as far as that is known now."""

    def longest_row(self, actor: Actor, stage: Stage, recipe_text: str) -> tuple[int | None, float]:
        """Tokens of the longest row (None: not known), and the share of tokens that is learnt."""


class Foresight:
    """Forecasts runs, refuses those that are known to fail, and learns from those that ended."""

    def __init__(self, forecast: MemoryForecast, checks: Checks | None) -> None:
        self._forecast = forecast
        self._checks = checks

    def refuse_known(self, actor: Actor, plan: Plan, devices: tuple[int, ...]) -> None:
        """Refuse a plan of which an error is known.

        Raises:
            InvalidInput: One is; ``details`` name them all.
        """
        if self._checks is None:
            return
        refusal = self._checks.refusal(actor, plan.recipe.STAGE, _exact(plan), devices)
        if refusal is not None:
            raise refusal

    def estimate(self, actor: Actor, plan: Plan) -> MemoryEstimate:
        """What the run will need, by the lengths of its rows where a pre-flight has counted them.

        Raises:
            InvalidInput: The model has no configuration that tells its shape.
        """
        return self._forecast.estimate(self._subject(actor, plan))

    def guess(self, actor: Actor, plan: Plan) -> MemoryEstimate | None:
        """The estimate, or None where there can be none."""
        try:
            return self.estimate(actor, plan)
        except Exception as error:
            if not isinstance(error, StudioError):
                _log.exception("the memory of a run could not be estimated")
            return None

    def learn(self, actor: Actor, plan: Plan, run_id: str, usage: dict[str, Any], steps: int) -> None:
        """Remember what a run that succeeded after ``steps`` was measured to need."""
        self._forecast.learn(run_id, self._subject(actor, plan), usage_of(usage), steps)

    def _subject(self, actor: Actor, plan: Plan) -> Subject:
        longest, learnt = None, 1.0
        if self._checks is not None:
            longest, learnt = self._checks.longest_row(actor, plan.recipe.STAGE, _exact(plan))
        adapter = plan.model.path if plan.model.kind is ModelKind.ADAPTER else None
        return Subject(plan.recipe, plan.base.path, adapter, longest, learnt)


def _exact(plan: Plan) -> str:
    ids = tuple(dataset.id for dataset in plan.datasets)
    return dump_recipe(pinned(plan.recipe, plan.model.id, ids))
