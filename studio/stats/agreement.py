"""How far people agree beyond chance: Krippendorff's alpha, with a bootstrap interval over items.

Works on counts and not on raw labels: of each item, how many people gave each category. Items with the
same counts are the same to every formula here, so a bootstrap draws how often each *pattern* of counts
comes up, which costs the same for a hundred labels and for a million. An item is drawn whole; what
hangs together (two ratings of one item) must therefore be handed in as one item with two parts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.stats.intervals import Interval, wilson_interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: An interval needs nearly every draw: with more undefined ones than this, the rest would be a selection.
_UNDEFINED_DRAWS = 0.05


class Scale(StrEnum):
    """How far apart two categories are: all alike, or by how many values lie between them."""

    NOMINAL = "nominal"
    ORDINAL = "ordinal"


class Undefined(StrEnum):
    """Why a measure of agreement has no value."""

    NO_OVERLAP = "no_overlap"  # no item has two values
    NO_VARIATION = "no_variation"  # every value is the same, so chance would agree as well


@dataclass(frozen=True)
class Agreement:
    """A measure of agreement over ``items`` that carry information on it.

    Either ``value`` is a finite number, or it is None and ``undefined`` says why. ``interval`` is None
    where there are too few items for one.
    """

    value: float | None
    interval: Interval | None
    items: int
    undefined: Undefined | None = None


def count_values(items: Ints, values: Ints, shape: tuple[int, int]) -> Ints:
    """How often each category was given to each item.

    Args:
        items: The item of each value, 0 to ``shape[0] - 1``.
        values: The category of each value, 0 to ``shape[1] - 1``.
        shape: Number of items, number of categories.

    Returns:
        Counts of that shape.
    """
    flat = np.bincount(items * shape[1] + values, minlength=shape[0] * shape[1])
    return flat.reshape(shape).astype(np.int64)


def krippendorff_alpha(counts: Ints, scale: Scale = Scale.NOMINAL) -> float | None:
    """Krippendorff's alpha: 1 minus observed over expected disagreement; values may be missing.

    K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C with the
    difference functions of section D.

    Args:
        counts: How many people gave each category, shape (items, categories), or (items, parts,
            categories) where an item has several values a person.
        scale: How categories differ; for ``ORDINAL`` they stand in their order.

    Returns:
        At most 1, below 0 where people disagree more than by chance; None where it is not defined.
    """
    value = float(_alpha(_coincidences(_parts(counts)).sum(axis=0), scale))
    return value if np.isfinite(value) else None


def alpha_with_interval(
    counts: Ints, scale: Scale = Scale.NOMINAL, *, draws: int = 1000, seed: int = 0, confidence: float = 0.95
) -> Agreement:
    """Alpha with the percentile interval of a bootstrap that draws items with replacement.

    Where people never disagree, every draw agrees too and the interval would have no width. There the
    lower end is what alpha would be if items disagreed as often as Wilson's interval still allows.

    Args:
        counts: As for ``krippendorff_alpha``.
        scale: How categories differ.
        draws: Bootstrap draws.
        seed: The same seed and counts give the same interval.
        confidence: Between 0 and 1.
    """
    parts = _parts(counts)
    useful = parts[(parts.sum(axis=2) > 1).any(axis=1)]
    if not len(useful):
        return Agreement(None, None, 0, Undefined.NO_OVERLAP)
    patterns, frequency = _patterns(useful)
    each = _coincidences(patterns)
    total = np.tensordot(frequency, each, axes=1)
    value = float(_alpha(total, scale))
    if not np.isfinite(value):
        return Agreement(None, None, len(useful), Undefined.NO_VARIATION)
    if value == 1.0:
        low = _alpha_if_some_disagree(total, scale, len(useful), confidence)
        return Agreement(value, Interval(low, 1.0, confidence), len(useful))
    interval = bootstrap(each, frequency, lambda sums: _alpha(sums, scale), draws, seed, confidence)
    return Agreement(value, interval, len(useful))


def bootstrap(
    each: Floats,
    frequency: Ints,
    statistic: Callable[[Floats], Floats],
    draws: int,
    seed: int,
    confidence: float,
) -> Interval | None:
    """The percentile interval of a statistic of a sum over items that come in patterns.

    B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

    Args:
        each: What an item of each pattern adds to the sum, shape (patterns, ...).
        frequency: How many items have each pattern.
        statistic: From sums of shape (draws, ...) to values of shape (draws,), NaN where undefined.
        draws: How often to draw as many items as there are.
        seed: Makes it repeatable.
        confidence: Between 0 and 1.

    Returns:
        None for fewer than two items, or where too many draws are undefined.
    """
    items = int(frequency.sum())
    if items < 2:
        return None
    drawn = np.random.default_rng(seed).multinomial(items, frequency / items, size=draws)
    sums = (drawn @ each.reshape(len(each), -1)).reshape(draws, *each.shape[1:])
    values = statistic(sums)
    values = values[np.isfinite(values)]
    if len(values) < (1 - _UNDEFINED_DRAWS) * draws:
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high), confidence)


def _parts(counts: Ints) -> Ints:
    return counts.reshape(len(counts), -1, counts.shape[-1]) if len(counts) else np.zeros((0, 1, 1), int)


def _patterns(rows: NDArray[Any]) -> tuple[NDArray[Any], Ints]:
    """The different rows, and how often each stands there."""
    flat = rows.reshape(len(rows), -1)
    found, frequency = np.unique(flat, axis=0, return_counts=True)
    return found.reshape(-1, *rows.shape[1:]), frequency


def _coincidences(parts: Ints) -> Floats:
    """Pairs of values within each item, weighted by one over the number of other values: (items, C, C)."""
    values = parts.sum(axis=2, keepdims=True)
    weights = np.where(values > 1, 1.0 / np.maximum(values - 1, 1), 0.0)
    pairs = np.einsum("upc,upk->upck", parts, parts).astype(np.float64)
    places = np.arange(parts.shape[2])
    pairs[:, :, places, places] -= parts
    found: Floats = (pairs * weights[..., None]).sum(axis=1)
    return found


def _alpha(coincidences: Floats, scale: Scale) -> Floats:
    """Alpha of coincidences of shape (..., C, C); NaN where nothing varies."""
    marginal = coincidences.sum(axis=-1)
    n = marginal.sum(axis=-1)
    distance = _distances(marginal, scale)
    observed = (coincidences * distance).sum(axis=(-1, -2))
    expected = (marginal[..., :, None] * marginal[..., None, :] * distance).sum(axis=(-1, -2))
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(expected > 0, 1.0 - (n - 1) * observed / expected, np.nan)
    return found


def _distances(marginal: Floats, scale: Scale) -> Floats:
    """Squared differences between categories, shape (..., C, C)."""
    categories = marginal.shape[-1]
    if scale is Scale.NOMINAL:
        return np.broadcast_to(1.0 - np.eye(categories), (*marginal.shape, categories))
    # The values from c to k without half of both ends: the difference of their mid-ranks.
    ranks = marginal.cumsum(axis=-1) - marginal / 2
    found: Floats = (ranks[..., :, None] - ranks[..., None, :]) ** 2
    return found


def _alpha_if_some_disagree(total: Floats, scale: Scale, items: int, confidence: float) -> float:
    marginal = total.sum(axis=-1)
    n = marginal.sum()
    distance = _distances(marginal, scale)
    expected = float((marginal[:, None] * marginal[None, :] * distance).sum() / (n * (n - 1)))
    observed = wilson_interval(0, items, confidence).high * float(distance.max())
    return 1.0 - observed / expected
