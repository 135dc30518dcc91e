"""The curves of one or many runs for whoever draws them: few points, in one answer, only what is new.

A plot of fifty runs asks once instead of fifty times, and gets of each series at most as many points as
can be told apart (see ``downsample``). Beside each point travels the mean of the points it stands for, so
that a smoothed curve follows all of them. Who zooms in asks for the points of that window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from studio.core.actors import EVERYONE, Actor, require
from studio.core.errors import InvalidInput, NotFound
from studio.training.curves import Column, CurveCache, History
from studio.training.downsample import bucket_size, kept, means_between, new_since
from studio.training.task import METRICS

if TYPE_CHECKING:
    from studio.training.service import TrainingService

#: Runs that one request may ask for.
MOST_CURVES = 100


@dataclass(frozen=True)
class CurveRequest:
    """A run to draw; ``cursor`` and ``epoch`` are what the last answer gave, 0 at first."""

    run_id: str
    cursor: int = 0
    epoch: int = 0


@dataclass(frozen=True)
class Series:
    """Points of one metric, all arrays of the same length.

    ``means`` and ``counts`` are the mean of the values that each point stands for and how many those
    are; None where every point stands for itself. ``bucket`` is how many values became two points.
    """

    bucket: int
    steps: NDArray[np.int64]
    values: NDArray[np.float32]
    seconds: NDArray[np.float32]
    tokens: NDArray[np.int64]
    means: NDArray[np.float32] | None
    counts: NDArray[np.int64] | None


@dataclass(frozen=True)
class CurveChunk:
    """What is new of a run's curves. Ask again with ``cursor`` and ``epoch``.

    Where ``epoch`` is another one than was asked with, history was rewritten: these are all points, and
    what was drawn before is void.
    """

    run_id: str
    epoch: int
    cursor: int
    live: bool
    series: dict[str, Series]


class CurveService:
    """Draws on the metrics files of runs.

    Args:
        home: The studio's home.
        training: Says which runs there are, who may see them and which are over.
    """

    def __init__(self, home: Path, training: TrainingService) -> None:
        self._training = training
        self._cache = CurveCache(home / "runs", METRICS)

    def curves(
        self, actor: Actor, wanted: Sequence[CurveRequest], most: int = 1000, names: Sequence[str] = ()
    ) -> tuple[CurveChunk, ...]:
        """What is new of each run, thinned to about ``most`` points a series in all.

        A run that is not there, or not for this actor, is left out.

        Args:
            actor: Who asks.
            wanted: The runs, and how far the caller knows them.
            most: Points a series; 0 for all, of one run.
            names: The metrics to give; empty for every one.

        Raises:
            InvalidInput: More runs than ``MOST_CURVES``, all points of several, or ``most`` is 1 or negative.
        """
        _check(wanted, most)
        require(actor, *EVERYONE)
        found = ((asked, self._live(actor, asked.run_id)) for asked in wanted)
        return tuple(self._new(asked, live, most, names) for asked, live in found if live is not None)

    def window(
        self,
        actor: Actor,
        run_ids: Sequence[str],
        first: float,
        last: float,
        most: int = 1000,
        names: Sequence[str] = (),
    ) -> tuple[CurveChunk, ...]:
        """The points between two steps, thinned to about ``most`` a series: what a zoom shows.

        Raises:
            InvalidInput: More runs than ``MOST_CURVES``, all points of several, or ``most`` is 1 or negative.
        """
        _check(run_ids, most)
        require(actor, *EVERYONE)
        found = ((run_id, self._live(actor, run_id)) for run_id in run_ids)
        return tuple(
            self._between(run_id, live, (first, last), most, names)
            for run_id, live in found
            if live is not None
        )

    def _live(self, actor: Actor, run_id: str) -> bool | None:
        try:
            return not self._training.get(actor, run_id).state.final
        except NotFound:
            return None

    def _new(self, asked: CurveRequest, live: bool, most: int, names: Sequence[str]) -> CurveChunk:
        history = self._cache.read(asked.run_id)
        known = asked.cursor if asked.epoch == history.epoch else 0
        series = {}
        for name, column in _wanted(history, names):
            before = int(np.searchsorted(column.lines, known))
            chosen = new_since(column.values, most, before)
            if len(chosen):
                size = bucket_size(len(column.values), most) if most else 1
                series[name] = _series(history, column, chosen, before, size)
        return CurveChunk(asked.run_id, history.epoch, history.length, live, series)

    def _between(
        self, run_id: str, live: bool, steps: tuple[float, float], most: int, names: Sequence[str]
    ) -> CurveChunk:
        history = self._cache.read(run_id)
        first = int(np.searchsorted(history.lines.steps, steps[0], "left"))
        last = int(np.searchsorted(history.lines.steps, steps[1], "right"))
        series = {}
        for name, column in _wanted(history, names):
            since, until = (int(place) for place in np.searchsorted(column.lines, (first, last)))
            chosen = kept(column.values, most, since, until)
            if len(chosen):
                size = bucket_size(until - since, most) if most else 1
                series[name] = _series(history, column, chosen, int(chosen[0]), size)
        return CurveChunk(run_id, history.epoch, history.length, live, series)


def _check(wanted: Sequence[object], most: int) -> None:
    if len(wanted) > MOST_CURVES:
        raise InvalidInput(f"{len(wanted)} runs are too many at once.", f"Ask for at most {MOST_CURVES}.")
    if most == 0 and len(wanted) > 1:
        raise InvalidInput(
            "Every point of several runs is too much for one answer.", "Ask for one run, or for fewer points."
        )
    if most < 0 or most == 1:
        raise InvalidInput(f"A curve cannot have {most} points.", "Ask for 2 or more, or 0 for all.")


def _wanted(history: History, names: Sequence[str]) -> list[tuple[str, Column]]:
    return [(name, column) for name, column in history.columns.items() if not names or name in names]


def _series(history: History, column: Column, chosen: NDArray[np.int64], since: int, size: int) -> Series:
    at = column.lines[chosen]
    means = counts = None
    if size > 1:
        exact, counts = means_between(column.values, chosen, since)
        means = _short(exact)
    return Series(
        bucket=size,
        steps=history.lines.steps[at],
        values=_short(column.values[chosen]),
        seconds=_short(history.lines.seconds[at]),
        tokens=history.lines.tokens[at],
        means=means,
        counts=counts,
    )


def _short(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Seven digits: more cannot be drawn, and would be most of an answer."""
    largest = float(np.finfo(np.float32).max)
    return np.clip(values, -largest, largest).astype(np.float32)
