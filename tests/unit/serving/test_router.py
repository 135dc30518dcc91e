"""Who gets which variant: right shares, and nobody moves who need not."""

from __future__ import annotations

import itertools
import math
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from studio.serving.router import POINTS, Allocation, allocate, point_of, variant_at

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
WEIGHTS = st.dictionaries(NAMES, st.floats(1e-3, 1e3), min_size=1, max_size=5)


def shares(allocation: Allocation) -> Counter[str]:
    owned: Counter[str] = Counter()
    for stretch in allocation:
        owned[stretch.variant] += stretch.end - stretch.start
    return owned


def moved(before: Allocation, after: Allocation) -> Counter[tuple[str, str]]:
    """How many points went from which variant to which."""
    edges = sorted({0, *(s.end for s in before), *(s.end for s in after)})
    counts: Counter[tuple[str, str]] = Counter()
    for start, end in itertools.pairwise(edges):
        pair = (variant_at(before, start), variant_at(after, start))
        if pair[0] != pair[1]:
            counts[pair] += end - start
    return counts


@given(WEIGHTS)
def test_shares_follow_the_weights_and_cover_every_point(weights: dict[str, float]) -> None:
    allocation = allocate(weights)
    total = sum(weights.values())
    assert allocation[0].start == 0
    assert allocation[-1].end == POINTS
    assert all(a.end == b.start for a, b in itertools.pairwise(allocation))
    for name, points in shares(allocation).items():
        assert abs(points - POINTS * weights[name] / total) <= 1


@settings(max_examples=200)
@given(st.lists(WEIGHTS, min_size=2, max_size=5))
def test_a_change_moves_only_whom_it_must(history: list[dict[str, float]]) -> None:
    before: Allocation = ()
    for weights in history:
        after = allocate(weights, before)
        if before:
            old, new = shares(before), shares(after)
            counts = moved(before, after)
            assert all(new[a] < old[a] and new[b] > old[b] for a, b in counts)
            assert sum(counts.values()) == sum(max(0, old[n] - new[n]) for n in old)
        before = after


def test_weights_at_the_edge_of_floats() -> None:
    assert shares(allocate({"a": 1.7e308, "b": 1.7e308})) == {"a": POINTS // 2, "b": POINTS // 2}
    assert shares(allocate({"a": 5e-324, "b": 1.0}))["b"] == POINTS


def test_shares_of_users_are_right_within_binomial_error() -> None:
    weights = {"a": 0.7, "b": 0.2, "c": 0.1}
    allocation = allocate(weights)
    n = 20_000
    seen = Counter(variant_at(allocation, point_of("salt", f"user-{i}")) for i in range(n))
    for name, share in weights.items():
        assert abs(seen[name] / n - share) < 4 * math.sqrt(share * (1 - share) / n)


def test_two_deployments_split_their_users_independently() -> None:
    half = allocate({"a": 1, "b": 1})
    n = 4_000
    picks = ([variant_at(half, point_of(salt, str(i))) for i in range(n)] for salt in ("one", "two"))
    same = sum(one == two for one, two in zip(*picks, strict=True))
    assert abs(same / n - 0.5) < 4 * math.sqrt(0.25 / n)
