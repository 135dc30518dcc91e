"""What the evaluations so far come to: the best one, and how long there has been no better.

The evaluation before the first step does not count: nobody wants the weights that training began with.
A loss counts as lower only if it is lower by any amount at all; noise is what ``patience`` is for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from studio.training.recipes import Recipe


@dataclass
class Verdict:
    """The verdict on a run's evaluations; every process of a run comes to the same one."""

    patience: int
    best_step: int | None = None
    best_loss: float | None = None
    step: int | None = None
    loss: float | None = None
    without_gain: int = 0

    @classmethod
    def of(cls, recipe: Recipe, counted: dict[str, Any]) -> Verdict:
        """The verdict as it stood when a checkpoint was written; a fresh one where nothing was counted."""
        return cls(
            patience=recipe.early_stop_patience,
            best_step=counted.get("best_step"),
            best_loss=counted.get("best_loss"),
            step=counted.get("eval_step"),
            loss=counted.get("eval_loss"),
            without_gain=int(counted.get("without_gain", 0)),
        )

    @property
    def over(self) -> bool:
        """Whether the run has been patient enough."""
        return 0 < self.patience <= self.without_gain

    @property
    def sentence(self) -> str:
        """Why the run ends early."""
        best = f"{self.best_loss:.4g} (step {self.best_step})" if self.best_loss is not None else "infinity"
        return f"ending early: {self.without_gain} evaluations without a loss below {best}"

    def take(self, step: int, loss: float) -> bool:
        """Take in an evaluation; returns whether it is the best so far."""
        self.step, self.loss = step, loss
        better = math.isfinite(loss) and (self.best_loss is None or loss < self.best_loss)
        if better:
            self.best_step, self.best_loss, self.without_gain = step, loss, 0
        else:
            self.without_gain += 1
        return better

    def counted(self) -> dict[str, Any]:
        """What a checkpoint has to remember."""
        return {
            "eval_step": self.step,
            "eval_loss": self.loss,
            "best_step": self.best_step,
            "best_loss": self.best_loss,
            "without_gain": self.without_gain,
        }
