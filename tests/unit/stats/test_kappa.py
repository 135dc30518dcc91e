from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from studio.stats import Undefined, cohen_kappa, kappa_with_interval

# J. L. Fleiss, Statistical Methods for Rates and Proportions (2nd ed. 1981), table 13.1.
FLEISS = np.array([[75, 1, 4], [5, 4, 1], [0, 0, 10]])


def test_kappa_gives_the_published_value() -> None:
    assert round(cohen_kappa(FLEISS), 2) == 0.68


def tables_of(first: np.ndarray, second: np.ndarray, categories: int) -> np.ndarray:
    tables = np.zeros((len(first), categories, categories), dtype=np.int64)
    tables[np.arange(len(first)), first, second] = 1
    return tables


def test_the_interval_is_the_published_one() -> None:
    """The same table: standard error 0.087 (J. L. Fleiss, J. Cohen and B. S. Everitt 1969)."""
    found = kappa_with_interval(
        tables_of(*np.repeat(np.argwhere(FLEISS >= 0), FLEISS.reshape(-1), axis=0).T, 3), draws=4000
    )
    assert found.items == 100
    assert found.interval is not None
    assert (found.interval.high - found.interval.low) / 2 / 1.96 == pytest.approx(0.087, abs=0.006)


values = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@settings(max_examples=150, deadline=None)
@given(values, st.booleans())
def test_kappa_is_what_another_library_says(pairs: list[tuple[int, int]], quadratic: bool) -> None:
    first, second = (np.array(column) for column in zip(*pairs, strict=True))
    ours = cohen_kappa(tables_of(first, second, 4).sum(axis=0), quadratic=quadratic)
    if len(set(first) | set(second)) == 1:
        assert ours is None
        return
    weights = "quadratic" if quadratic else None
    theirs = cohen_kappa_score(first, second, labels=[0, 1, 2, 3], weights=weights)
    assert ours == pytest.approx(theirs, abs=1e-9)


def test_kappa_does_not_mind_who_comes_first() -> None:
    rng = np.random.default_rng(0)
    table = rng.integers(0, 9, (4, 4))
    for quadratic in (False, True):
        assert cohen_kappa(table, quadratic=quadratic) == pytest.approx(
            cohen_kappa(table.T, quadratic=quadratic)
        )


def test_where_kappa_has_no_value() -> None:
    assert kappa_with_interval(np.zeros((0, 3, 3), dtype=np.int64)).undefined is Undefined.NO_OVERLAP
    same = tables_of(np.zeros(5, int), np.zeros(5, int), 3)
    assert kappa_with_interval(same).undefined is Undefined.NO_VARIATION
    one = kappa_with_interval(tables_of(np.array([0]), np.array([1]), 3))
    assert (one.value, one.interval) == (0.0, None)


def test_two_who_never_differ_are_not_certain() -> None:
    same = np.array([0, 1] * 5)
    found = kappa_with_interval(tables_of(same, same, 2))
    assert found.value == 1.0
    assert found.interval is not None
    assert found.interval.low < 0.6
