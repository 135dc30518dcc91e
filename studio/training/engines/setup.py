"""What a stage's module is given to make its trainer of: the border between ``trl`` and the stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from studio.training.engines.mixing import Mixture
from studio.training.engines.rows import TokenRow
from studio.training.engines.weights import Loaded
from studio.training.task import TrainTask

if TYPE_CHECKING:
    from studio.training.engines.meter import Meter


@dataclass(frozen=True)
class Setup:
    """One attempt at a task, ready but for its trainer.

    ``train`` and ``validation`` are token rows; ``validation`` may be empty. With a ``mixture``, ``train``
    holds the rows of every source behind each other and ``mixture.order(epoch)`` says which of them an
    epoch has; without one, an epoch is every row once. ``fresh`` is False where the attempt goes on from a
    checkpoint: the evaluation before the first step was then made already.
    """

    task: TrainTask
    loaded: Loaded
    train: list[TokenRow]
    validation: list[TokenRow]
    meter: Meter
    fresh: bool
    mixture: Mixture | None = None


class Trainer(Protocol):
    """What ``trl.train`` uses of a trainer, TRL's or our own.

    ``meter`` must be called around each step as a transformers callback is, and saving must go through
    ``checkpoints.begin`` and ``checkpoints.seal``.
    """

    model: Any
    state: Any
    accelerator: Any

    def train(self, resume_from_checkpoint: str | None = None) -> Any:
        """Train to the end, to a stop request, or to a reason to end early."""
