"""Fewer points of a long curve, so chosen that nothing which stands out is lost.

The values are cut into buckets of a power of two, aligned to the start of the series, and of each bucket
its lowest and its highest value stay; so do the first and the last value of all. What has not filled a
whole bucket is cut into the largest aligned buckets that fit.

The buckets of one size nest in those of the next, and the extremes of a bucket are extremes of one of
its halves. Hence the choice is stable: what is chosen of a longer series and was already there when
the series was shorter was chosen then too. A reader that got the choice up to some point needs only
what is new after it, and never has to take back or move a point. It does not average: a single bad step
in a million stays visible.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating]
Places = NDArray[np.int64]


def bucket_size(count: int, most: int) -> int:
    """The smallest power of two for which ``count`` values in buckets of it leave at most ``most`` points.

    1 where they are few enough as they are. A little more than ``most`` may remain: the first and last
    value, and the extremes of what has not filled a bucket.

    Raises:
        ValueError: ``most`` is below 2.
    """
    if most < 2:
        raise ValueError("a bucket keeps two points: most must be at least 2")
    size = 1
    while count > most and 2 * (count // size) > most:
        size *= 2
    return size


def kept(values: Values, most: int, since: int = 0, until: int | None = None) -> Places:
    """Which of ``values`` to draw, as ascending indices into it.

    Args:
        values: The whole series, in the order of its steps, each value finite.
        most: About how many points may remain of those in the window; 0 keeps all.
        since: The first index of the window.
        until: The index after the last of the window; None for the end of the series.

    Returns:
        The chosen indices; the first bucket may begin before ``since``. The whole of a longer series
        chooses nothing of the shorter one that was not chosen then.
    """
    end = len(values) if until is None else min(until, len(values))
    if end <= since:
        return np.empty(0, np.int64)
    size = bucket_size(end - since, most) if most else 1
    return _chosen(values, since - since % size, end, size, first=True)


def new_since(values: Values, most: int, known: int) -> Places:
    """Which values to send to a reader that was sent the choice of the first ``known`` ones.

    What it then has holds ``kept(values, most)``, and more only where the buckets have grown since.
    """
    end = len(values)
    if end <= known:
        return np.empty(0, np.int64)
    size = bucket_size(end, most) if most else 1
    found = _chosen(values, known - known % size, end, size, first=known == 0)
    return found[found >= known]


def means_between(values: Values, chosen: Places, since: int = 0) -> tuple[NDArray[np.float64], Places]:
    """The mean of the values each chosen one stands for, and how many those are.

    A chosen value stands for itself and for all after the chosen one before it (for the first: from
    ``since`` on). A smoothed curve made of these follows the whole series and not only its extremes.
    """
    if not len(chosen):
        return np.empty(0, np.float64), np.empty(0, np.int64)
    sums = np.concatenate(([0.0], np.cumsum(values[since : int(chosen[-1]) + 1], dtype=np.float64)))
    ends = chosen - since + 1
    starts = np.concatenate(([0], ends[:-1]))
    counts = ends - starts
    return (sums[ends] - sums[starts]) / counts, counts


def _chosen(values: Values, start: int, end: int, size: int, *, first: bool) -> Places:
    if size == 1:
        return np.arange(start, end, dtype=np.int64)
    ends = np.asarray([start, end - 1] if first else [end - 1], np.int64)
    found: Places = np.unique(np.concatenate((*_extremes(values, start, end, size), ends)))
    return found


def _extremes(values: Values, start: int, end: int, size: int) -> list[Places]:
    """The indices of the extremes of each aligned bucket between ``start`` (aligned) and ``end``."""
    whole = (end - start) // size
    parts = [_of_buckets(values, start, whole, size)]
    place, size = start + whole * size, size // 2
    while size:
        if end - place >= size:
            parts.append(_of_buckets(values, place, 1, size))
            place += size
        size //= 2
    return parts


def _of_buckets(values: Values, start: int, number: int, size: int) -> Places:
    if not number:
        return np.empty(0, np.int64)
    rows = values[start : start + number * size].reshape(number, size)
    offsets = start + size * np.arange(number, dtype=np.int64)
    return np.concatenate((offsets + rows.argmin(axis=1), offsets + rows.argmax(axis=1)))
