"""The records of the memory estimate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: The parts of an estimate, in the order in which they are shown.
PARTS = ("weights", "adapters", "gradients", "optimizer", "activations", "logits", "overhead")


@dataclass(frozen=True)
class Part:
    """What one use of memory takes: its name (one of ``PARTS``), its bytes, and why so many."""

    name: str
    bytes: int
    why: str


@dataclass(frozen=True)
class Fix:
    """The smallest change with which a run fits.

    ``changes`` maps dotted paths of the recipe to values, ``total`` is what the changed run needs in
    bytes, ``sentence`` says the change in plain words.
    """

    changes: dict[str, object]
    total: int
    sentence: str


@dataclass(frozen=True)
class MemoryEstimate:
    """What a run needs at its peak, against what is there; all figures are bytes.

    On the CPU it is resident memory of all the run's processes together, on GPUs the memory of one of
    them (``device`` says which). ``fix`` is None where the run fits or no change of the recipe would make
    it fit. ``observed`` counts the past runs of this machine that the estimate was corrected by.
    """

    parts: tuple[Part, ...]
    total: int
    available: int
    fits: bool
    fix: Fix | None
    device: Literal["cpu", "cuda"] = "cpu"
    observed: int = 0


@dataclass(frozen=True)
class Device:
    """Where a run would train: its kind, and its memory in all and free, in bytes.

    For GPUs both are the memory of the smallest one that the run may use.
    """

    kind: Literal["cpu", "cuda"]
    total: int
    available: int
    name: str = ""
