"""Which variant a user gets: a salted hash of the user is a point, and variants own stretches of points.

The invariant: when weights change, a user moves only from a variant whose share shrank to one whose
share grew, and no more users move than the change of shares demands. Stretches laid out anew in order
would not do that with three variants (moving weight from the first to the last would shift everyone in
the middle), so an allocation is made from the one before it.

It is not a secret: who knows the salt can tell which users share a variant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: How many points there are; a share is exact to one part in four thousand million.
POINTS = 2**32


@dataclass(frozen=True)
class Stretch:
    """The points from ``start`` up to but without ``end`` belong to ``variant``."""

    start: int
    end: int
    variant: str


Allocation = tuple[Stretch, ...]


def point_of(salt: str, user: str) -> int:
    """The user's point in ``range(POINTS)``; always the same for one salt."""
    digest = hashlib.sha256(f"{salt}\0{user}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def variant_at(allocation: Allocation, point: int) -> str:
    """The variant that owns ``point``."""
    for stretch in allocation:
        if point < stretch.end:
            return stretch.variant
    raise ValueError(f"point {point} lies outside the allocation")


def allocate(weights: Mapping[str, float], previous: Allocation = ()) -> Allocation:
    """Share the points among variants by weight, moving as few points from ``previous`` as can be.

    Args:
        weights: Positive, finite weights by variant name; at least one.
        previous: The allocation in force until now; empty for a new deployment.
    """
    missing = _quotas(weights)
    kept: list[Stretch] = []
    free: list[tuple[int, int]] = [] if previous else [(0, POINTS)]
    for stretch in previous:
        keep = min(stretch.end - stretch.start, missing.get(stretch.variant, 0))
        if keep:
            kept.append(Stretch(stretch.start, stretch.start + keep, stretch.variant))
            missing[stretch.variant] -= keep
        if stretch.start + keep < stretch.end:
            free.append((stretch.start + keep, stretch.end))
    return _joined([*kept, *_hand_out(free, missing)])


def _hand_out(free: Sequence[tuple[int, int]], missing: Mapping[str, int]) -> list[Stretch]:
    """Give the free points to the variants that lack some, in order."""
    wanting = [(name, count) for name, count in missing.items() if count]
    given: list[Stretch] = []
    for start, end in free:
        here = start
        while here < end:
            name, count = wanting.pop(0)
            taken = min(count, end - here)
            given.append(Stretch(here, here + taken, name))
            here += taken
            if taken < count:
                wanting.insert(0, (name, count - taken))
    return given


def _quotas(weights: Mapping[str, float]) -> dict[str, int]:
    """Whole points for each variant that add up to ``POINTS``, by largest remainder."""
    # Scaled by the largest first: two weights near the largest float would add up to infinity.
    largest = max(weights.values())
    scaled = {name: weight / largest for name, weight in weights.items()}
    total = sum(scaled.values())
    exact = {name: POINTS * weight / total for name, weight in scaled.items()}
    quotas = {name: int(share) for name, share in exact.items()}
    left = POINTS - sum(quotas.values())
    for name in sorted(exact, key=lambda n: quotas[n] - exact[n])[:left]:
        quotas[name] += 1
    return quotas


def _joined(stretches: list[Stretch]) -> Allocation:
    """Sorted, with neighbours of one variant made one."""
    result: list[Stretch] = []
    for stretch in sorted(stretches, key=lambda s: s.start):
        if result and result[-1].variant == stretch.variant:
            result[-1] = Stretch(result[-1].start, stretch.end, stretch.variant)
        else:
            result.append(stretch)
    return tuple(result)
