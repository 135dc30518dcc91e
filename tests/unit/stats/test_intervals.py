import math
import random

import pytest

from studio.stats import ratio_interval, wilson_interval


# R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_values(successes: int, n: int, low: float, high: float) -> None:
    found = wilson_interval(successes, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert found.confidence == 0.95


def test_wilson_is_symmetric_and_stays_between_0_and_1() -> None:
    for n in (1, 2, 40, 10_000):
        few, many = wilson_interval(0, n), wilson_interval(n, n)
        assert few.low == 0.0
        assert many.high == 1.0
        assert math.isclose(few.high, 1 - many.low)


def test_wilson_takes_half_a_success_for_a_tie() -> None:
    found = wilson_interval(20.5, 41)
    assert math.isclose((found.low + found.high) / 2, 0.5)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 3), (4, 3)])
def test_wilson_refuses_what_is_no_share(successes: float, n: int) -> None:
    with pytest.raises(ValueError, match="is no share"):
        wilson_interval(successes, n)


def test_ratio_of_equal_sizes_is_the_interval_of_a_mean() -> None:
    found = ratio_interval([1.0, 2.0, 3.0, 4.0], [1, 1, 1, 1])
    # Mean 2.5, standard error sqrt(5/3 / 4) = 0.6455, times 1.96.
    assert found is not None
    assert math.isclose(found.low, 2.5 - 1.959964 * 0.645497, rel_tol=1e-5)
    assert math.isclose(found.high, 2.5 + 1.959964 * 0.645497, rel_tol=1e-5)


def test_ratio_needs_two_observations() -> None:
    assert ratio_interval([1.0], [3]) is None


def test_ratio_covers_the_truth_about_as_often_as_it_says() -> None:
    draw = random.Random(0)
    covered = 0
    for _ in range(500):
        sizes = [draw.randint(1, 20) for _ in range(60)]
        totals = [2.0 * size + draw.gauss(0, math.sqrt(size)) for size in sizes]
        found = ratio_interval(totals, sizes)
        assert found is not None
        covered += found.low <= 2.0 <= found.high
    assert 0.92 <= covered / 500 <= 0.98
