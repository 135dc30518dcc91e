"""Corrects counted estimates by what runs were measured to need.

Past runs of a machine are laid beside their counted parts, and a factor is fitted for each kind of part
(what is held all the time, activations, logits) and for the overhead. The fit is least squares of the
relative error, drawn towards the prior (factors of 1, the counted overhead), so that a machine without any
run starts from the prior. Runs that the others do not explain (the heap had a bad day) count less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from studio.training.memory.records import Part

#: Which parts share a factor.
_KINDS = {
    "weights": 0,
    "adapters": 0,
    "gradients": 0,
    "optimizer": 0,
    "activations": 1,
    "logits": 2,
    "overhead": 3,
}
#: How strongly each factor is drawn to 1, as the relative error of so many runs; overhead is drawn least.
_PULL = (0.10, 0.05, 0.05, 0.01)
_LOWEST, _HIGHEST = 0.4, 2.5
#: A run that is off by more than this counts as if it were off by this; the weights settle in some rounds.
_ODD, _ROUNDS = 0.05, 5


@dataclass(frozen=True)
class Observation:
    """A past run: its counted bytes by part, and the peak that was measured."""

    counted: dict[str, int]
    measured: int


@dataclass(frozen=True)
class Calibration:
    """Factors for what is held, activations, logits and overhead; ``observed`` runs taught them."""

    factors: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    observed: int = 0

    def corrected(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        """The parts with their factors applied."""
        return tuple(
            replace(part, bytes=round(part.bytes * self.factors[_KINDS[part.name]])) for part in parts
        )

    def total(self, counted: dict[str, int]) -> int:
        """The corrected total of counted bytes by part."""
        return round(sum(self.factors[_KINDS[name]] * size for name, size in counted.items()))


def fit(observations: Sequence[Observation]) -> Calibration:
    """The calibration that runs of one machine teach; without any, the prior."""
    # An older or a newer studio may have counted parts that this one does not know.
    usable = [one for one in observations if one.measured > 0 and one.counted.keys() <= _KINDS.keys()]
    if not usable:
        return Calibration()
    rows = np.array([_by_kind(one.counted) for one in usable]) / [[one.measured] for one in usable]
    trust, solved = np.ones(len(usable)), np.ones(4)
    for _ in range(_ROUNDS):
        solved = _solve(rows, trust)
        trust = np.minimum(1.0, np.sqrt(_ODD / np.maximum(np.abs(rows @ solved - 1), 1e-9)))
    held, activations, logits, overhead = (float(np.clip(value, _LOWEST, _HIGHEST)) for value in solved)
    return Calibration((held, activations, logits, overhead), len(usable))


def _solve(rows: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Factors for which ``rows`` [runs, 4] come to 1, each run weighed by the square of its ``trust``."""
    pull = np.sqrt(_PULL)
    left = np.vstack([rows * trust[:, None], np.diag(pull)])
    solved: np.ndarray = np.linalg.lstsq(left, np.concatenate([trust, pull]), rcond=None)[0]
    return solved


def _by_kind(counted: dict[str, int]) -> list[float]:
    sums = [0.0, 0.0, 0.0, 0.0]
    for name, size in counted.items():
        sums[_KINDS[name]] += size
    return sums
