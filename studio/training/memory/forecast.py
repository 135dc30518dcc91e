"""Forecasts for the studio: an estimate with this machine's calibration, and learning from runs that ended.

``MemoryForecast`` is what the training service asks. It keeps no state but the observations in the database,
and reads a model's shape from its files each time (milliseconds).
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from studio.core.database import Database
from studio.training.memory.calibration import fit
from studio.training.memory.calibration_store import CalibrationStore
from studio.training.memory.estimate import count, estimate
from studio.training.memory.machine import this_device
from studio.training.memory.measured import Usage
from studio.training.memory.records import Device, MemoryEstimate
from studio.training.memory.shapes import read_adapter, read_shape
from studio.training.recipes import Recipe

#: A run that took fewer steps has not reached its peak: the optimizer comes with the first one.
_FEWEST_STEPS = 2


@dataclass(frozen=True)
class Subject:
    """A run to be estimated: its recipe, the folders of its base and adapter, and the rows it learns from.

    ``tokens_per_row`` are those of the longest row, None where nobody has counted them (``max_length`` is
    then taken); ``scored_share`` is the share of them that is learnt.
    """

    recipe: Recipe
    base: Path
    adapter: Path | None = None
    tokens_per_row: int | None = None
    scored_share: float = 1.0

    @property
    def counted(self) -> bool:
        """Whether the length of the largest batch is known, and not only its limit."""
        return self.tokens_per_row is not None or bool(getattr(self.recipe, "packing", False))

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return self.tokens_per_row or self.recipe.max_length


class MemoryForecast:
    """Estimates runs and learns from them.

    Args:
        database: Where past runs' figures are kept.
        device: Finds out where a run would train; this machine by default.
    """

    def __init__(self, database: Database, device: Callable[[], Device] = this_device) -> None:
        self._store = CalibrationStore(database)
        self._device = device

    def estimate(self, subject: Subject) -> MemoryEstimate:
        """What a run needs here, corrected by what past runs of this machine needed.

        Raises:
            InvalidInput: The base has no configuration that tells its shape.
        """
        device = self._device()
        known = self._store.observations(setting(subject.recipe, device))
        return estimate(
            read_shape(subject.base),
            subject.recipe,
            subject.longest,
            device,
            fit(known),
            adapter=read_adapter(subject.adapter) if subject.adapter else None,
            scored_share=subject.scored_share,
        )

    def learn(self, run_id: str, subject: Subject, usage: Usage, steps: int) -> None:
        """Remember what a run needed; one of too few steps, or of rows of unknown length, teaches nothing.

        Raises:
            InvalidInput: The base has no configuration that tells its shape.
        """
        device = self._device()
        measured = usage.peak_memory_bytes if device.kind == "cpu" else usage.peak_cuda_bytes
        if steps < _FEWEST_STEPS or measured <= 0 or not subject.counted:
            return
        parts = count(
            read_shape(subject.base),
            subject.recipe,
            subject.longest,
            device,
            adapter=read_adapter(subject.adapter) if subject.adapter else None,
            scored_share=subject.scored_share,
        )
        counted = {part.name: part.bytes for part in parts}
        self._store.add(run_id, setting(subject.recipe, device), counted, measured)


def setting(recipe: Recipe, device: Device) -> str:
    """What a measurement holds for: this machine, the kind of device, the engine."""
    return "/".join((platform.node(), device.kind, device.name, recipe.engine))
