"""The points of a run in one answer, so thinned that a plot of them looks the same (see ``downsample``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from studio.core import InvalidInput
from studio.training.downsample import kept
from studio.training.metrics import read_points
from studio.training.records import Points

Column = tuple[tuple[int, float, float, int], ...]


def thinned(path: Path, run_id: str, cursor: int, epoch: int, most: int) -> Points:
    """Every point of a metrics file after ``cursor``, about ``most`` of each metric.

    Raises:
        InvalidInput: ``most`` is 1 or negative.
    """
    if most < 2:
        raise InvalidInput(f"{most} points cannot show a curve.", "Ask for 2 or more, or 0 for all.")
    columns: dict[str, list[tuple[int, float, float, int]]] = {}
    points = read_points(path, run_id, cursor, epoch)
    while True:
        for name, column in points.columns.items():
            columns.setdefault(name, []).extend(column)
        before, points = points, read_points(path, run_id, points.cursor, points.epoch)
        if points.epoch != before.epoch:  # history was rewritten while it was read
            columns.clear()
        elif points.cursor == before.cursor:
            break
    thin = {name: _thin(tuple(column), most) for name, column in columns.items()}
    return Points(run_id, points.epoch, points.cursor, thin)


def _thin(column: Column, most: int) -> Column:
    places = kept(np.array([point[1] for point in column]), most)
    return tuple(column[place] for place in places)
