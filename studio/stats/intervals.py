"""Confidence intervals for a share and for a ratio of sums.

Both hold for a number of observations that was fixed beforehand. They do not hold for someone who
looks after every observation and stops when the interval suits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True)
class Interval:
    """A range that covers the true value in ``confidence`` of all repetitions."""

    low: float
    high: float
    confidence: float


def wilson_interval(successes: float, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for a share, without continuity correction.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
    (1927) 209-212; it is method 3 of R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872.

    Args:
        successes: How many of ``n``; a tie may count as one half, which makes the interval a little wide.
        n: Observations, at least 1.
        confidence: Between 0 and 1.

    Raises:
        ValueError: ``n`` is 0, or ``successes`` is not between 0 and ``n``.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no share")
    z = _z(confidence)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends the formula gives 0 and 1 but for rounding.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(low, high, confidence)


def ratio_interval(
    totals: Sequence[float], sizes: Sequence[float], confidence: float = 0.95
) -> Interval | None:
    """The interval of ``sum(totals) / sum(sizes)`` over observations of unequal size.

    The mean loss of a token is such a ratio: the tokens of one answer hang together, so the answer is the
    observation. Linearised variance of a ratio estimator, W. G. Cochran, Sampling Techniques (3rd
    ed. 1977), equation 6.13 without the finite population factor.

    Args:
        totals: The sum over each observation (the loss of all its tokens).
        sizes: The size of each observation (its tokens), each positive.
        confidence: Between 0 and 1.

    Returns:
        None for fewer than two observations, from which no spread can be estimated.
    """
    n = len(totals)
    if n < 2:
        return None
    size = sum(sizes)
    ratio = sum(totals) / size
    squares = sum((total - ratio * one) ** 2 for total, one in zip(totals, sizes, strict=True))
    half = _z(confidence) * math.sqrt(squares * n / (n - 1)) / size
    return Interval(ratio - half, ratio + half, confidence)


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)
