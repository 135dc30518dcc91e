"""How far two people agree beyond chance: Cohen's kappa, plain or weighted by distance.

Like alpha it works on tables of counts, and its interval draws whole items.
"""

from __future__ import annotations

import numpy as np

from studio.stats.agreement import Agreement, Floats, Ints, Undefined, bootstrap
from studio.stats.intervals import Interval, wilson_interval


def cohen_kappa(table: Ints, *, quadratic: bool = False) -> float | None:
    """Cohen's kappa of two people's values.

    J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement
    20 (1960) 37-46; weighted by squared distance, J. Cohen, Psychological Bulletin 70 (1968) 213-220.

    Args:
        table: How often the first gave the category of the row and the second that of the column.
        quadratic: Categories stand in order, and a miss counts by the square of its distance.

    Returns:
        At most 1; None where both always gave the same one category, or the table is empty.
    """
    value = float(_kappa(table.astype(np.float64), _penalty(len(table), quadratic)))
    return value if np.isfinite(value) else None


def kappa_with_interval(
    tables: Ints, *, quadratic: bool = False, draws: int = 400, seed: int = 0, confidence: float = 0.95
) -> Agreement:
    """Kappa with the percentile interval of a bootstrap that draws items.

    Two people who never differ would get an interval without width; there the lower end is kappa at the
    smallest share of equal items that Wilson's interval still allows.

    Args:
        tables: What each item adds to the table, shape (items, categories, categories).
        quadratic: As for ``cohen_kappa``.
        draws: Bootstrap draws.
        seed: The same seed and tables give the same interval.
        confidence: Between 0 and 1.
    """
    items, categories = len(tables), tables.shape[-1]
    if not tables.sum():
        return Agreement(None, None, 0, Undefined.NO_OVERLAP)
    penalty = _penalty(categories, quadratic)
    total = tables.sum(axis=0).astype(np.float64)
    value = float(_kappa(total, penalty))
    if not np.isfinite(value):
        return Agreement(None, None, items, Undefined.NO_VARIATION)
    if value == 1.0:
        low = _kappa_if_some_differ(total, penalty, items, confidence)
        return Agreement(value, Interval(low, 1.0, confidence), items)
    flat, frequency = np.unique(tables.reshape(items, -1), axis=0, return_counts=True)
    each = flat.reshape(-1, categories, categories).astype(np.float64)
    interval = bootstrap(each, frequency, lambda sums: _kappa(sums, penalty), draws, seed, confidence)
    return Agreement(value, interval, items)


def _penalty(categories: int, quadratic: bool) -> Floats:
    places = np.arange(categories, dtype=np.float64)
    apart = np.abs(places[:, None] - places[None, :])
    found: Floats = apart**2 if quadratic else (apart > 0).astype(np.float64)
    return found


def _kappa(tables: Floats, penalty: Floats) -> Floats:
    """Kappa of tables of shape (..., C, C); NaN where chance alone would agree wholly."""
    expected, n = _expected(tables, penalty)
    observed = (tables * penalty).sum(axis=(-1, -2))
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(expected > 0, 1.0 - observed * n / expected, np.nan)
    return found


def _expected(tables: Floats, penalty: Floats) -> tuple[Floats, Floats]:
    """The penalty that chance would get, times the square of the number of values; and that number."""
    rows, columns = tables.sum(axis=-1), tables.sum(axis=-2)
    expected: Floats = (rows[..., :, None] * columns[..., None, :] * penalty).sum(axis=(-1, -2))
    n: Floats = tables.sum(axis=(-1, -2))
    return expected, n


def _kappa_if_some_differ(total: Floats, penalty: Floats, items: int, confidence: float) -> float:
    expected, n = _expected(total, penalty)
    differ = wilson_interval(0, items, confidence).high * float(penalty.max())
    return 1.0 - differ / float(expected / n**2)
