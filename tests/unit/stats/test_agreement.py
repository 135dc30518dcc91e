"""Alpha against published values, an independent library, and its own properties."""

from __future__ import annotations

import math
import time

import evalica
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.stats import Scale, Undefined, alpha_with_interval, count_values, krippendorff_alpha

# K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: four observers,
# twelve units, values 1 to 5, "." where none was given.
TABLE = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


def counts_of(table: list[list[int | None]], categories: int = 5) -> np.ndarray:
    given_ones = [(unit, value - 1) for row in table for unit, value in enumerate(row) if value is not None]
    items, values = (np.array(column, dtype=np.int64) for column in zip(*given_ones, strict=True))
    return count_values(items, values, (len(table[0]), categories))


@pytest.mark.parametrize(("scale", "published"), [(Scale.NOMINAL, 0.743), (Scale.ORDINAL, 0.815)])
def test_alpha_gives_the_published_value(scale: Scale, published: float) -> None:
    assert round(krippendorff_alpha(counts_of(TABLE), scale), 3) == published


def test_alpha_of_two_observers_gives_the_published_value() -> None:
    """The same paper, section A: two observers, ten units, two categories, alpha 0.095."""
    first = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    second = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    table = [[value + 1 for value in row] for row in (first, second)]
    assert round(krippendorff_alpha(counts_of(table, 2)), 3) == 0.095


tables = (
    st.integers(2, 5)
    .flatmap(
        lambda people: st.integers(2, 12).flatmap(
            lambda units: st.lists(
                st.lists(st.one_of(st.none(), st.integers(1, 5)), min_size=units, max_size=units),
                min_size=people,
                max_size=people,
            )
        )
    )
    .filter(lambda table: any(value is not None for row in table for value in row))
)


@settings(max_examples=150, deadline=None)
@given(tables, st.sampled_from(list(Scale)))
def test_alpha_is_what_another_library_says(table: list[list[int | None]], scale: Scale) -> None:
    ours = krippendorff_alpha(counts_of(table), scale)
    if ours is None:
        return
    data = pd.DataFrame([[math.nan if v is None else float(v) for v in row] for row in table])
    assert ours == pytest.approx(evalica.alpha(data, distance=scale.value).alpha, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(tables, st.randoms(use_true_random=False))
def test_alpha_knows_neither_people_nor_the_order_of_items(table: list[list[int | None]], draw) -> None:
    counts = counts_of(table)
    order = list(range(len(counts)))
    draw.shuffle(order)
    for scale in Scale:
        first, second = krippendorff_alpha(counts, scale), krippendorff_alpha(counts[order], scale)
        assert first == pytest.approx(second, abs=1e-12) if first is not None else second is None
        assert first is None or first <= 1 + 1e-12
        found = alpha_with_interval(counts, scale, draws=50)
        assert (found.value is None) == (found.undefined is not None)
        if found.interval is not None:
            assert math.isfinite(found.interval.low)
            assert math.isfinite(found.interval.high)


def test_without_overlap_or_variation_there_is_no_alpha() -> None:
    alone = np.eye(3, dtype=np.int64)
    assert alpha_with_interval(alone).undefined is Undefined.NO_OVERLAP
    assert alpha_with_interval(np.zeros((0, 3), dtype=np.int64)).undefined is Undefined.NO_OVERLAP
    alike = np.array([[2, 0], [2, 0], [3, 0]])
    found = alpha_with_interval(alike)
    assert (found.value, found.interval, found.items) == (None, None, 3)
    assert found.undefined is Undefined.NO_VARIATION


def test_perfect_agreement_of_few_is_no_certainty() -> None:
    few = alpha_with_interval(np.array([[2, 0], [0, 2]] * 3))
    many = alpha_with_interval(np.array([[2, 0], [0, 2]] * 300))
    assert few.value == many.value == 1.0
    assert few.interval is not None
    assert many.interval is not None
    assert few.interval.low < 0.5
    assert 0.98 < many.interval.low < 1.0


def test_the_interval_is_repeatable_and_drawn_over_items() -> None:
    rng = np.random.default_rng(3)
    counts = _people(rng, items=200, people=3, right=0.8)
    first, second = alpha_with_interval(counts, seed=5), alpha_with_interval(counts, seed=5)
    assert first == second
    assert first != alpha_with_interval(counts, seed=6)
    # Every item twice is twice the evidence: the interval shrinks by about the root of two.
    doubled = alpha_with_interval(np.concatenate([counts, counts]), seed=5)
    ratio = _width(first) / _width(doubled)
    assert 1.2 < ratio < 1.7


def test_two_parts_of_one_item_are_drawn_together() -> None:
    """Two ratings that always say the same carry the evidence of one, and the interval knows."""
    rng = np.random.default_rng(4)
    counts = _people(rng, items=300, people=2, right=0.7)
    together = alpha_with_interval(np.stack([counts, counts], axis=1))
    apart = alpha_with_interval(np.concatenate([counts, counts]))
    assert together.value == pytest.approx(apart.value)
    assert _width(together) > 1.2 * _width(apart)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    truth = krippendorff_alpha(_people(rng, items=200_000, people=2, right=0.8))
    covered = 0
    for seed in range(300):
        found = alpha_with_interval(_people(rng, items=120, people=2, right=0.8), draws=400, seed=seed)
        assert found.interval is not None
        covered += found.interval.low <= truth <= found.interval.high
    assert 0.90 <= covered / 300 <= 0.98


def test_ten_thousand_labels_are_quick_enough_to_look_at() -> None:
    """No benchmark: it fails only if the bootstrap works on labels and no longer on patterns."""
    counts = _people(np.random.default_rng(1), items=100_000, people=2, right=0.8)
    started = time.process_time()
    alpha_with_interval(counts)
    assert time.process_time() - started < 5


def _width(found) -> float:
    return found.interval.high - found.interval.low


def _people(rng: np.random.Generator, items: int, people: int, right: float) -> np.ndarray:
    """Counts of four categories from people who are right with that probability and else guess."""
    truth = rng.integers(0, 4, items)
    guess = rng.integers(0, 4, (people, items))
    said = np.where(rng.random((people, items)) < right, truth, guess)
    places = np.tile(np.arange(items), people)
    return count_values(places, said.reshape(-1), (items, 4))
