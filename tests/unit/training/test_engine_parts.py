"""The engine's small parts, which need no torch: mixing, verdicts on evaluations, full disks."""

from __future__ import annotations

import errno
from collections import Counter
from pathlib import Path

import pytest

from studio.core import InvalidInput, StudioError
from studio.training import Stage, parse_recipe
from studio.training.engines.full_disk import is_full, translated
from studio.training.engines.mixing import Mixture, MixtureSampler, sample
from studio.training.engines.verdict import Verdict

LEAST = "model: m\ndataset: d\neval_every: 1\n"


def test_an_epoch_has_every_main_row_once_and_the_others_by_weight() -> None:
    mixture = Mixture((60, 1000, 4), (3.0, 2.0, 1.0), seed=1)
    assert mixture.counts == (60, 40, 20)
    rows = mixture.order(0)
    assert len(rows) == len(mixture) == 120
    assert sorted(row for row in rows if row < 60) == list(range(60))
    assert len({row for row in rows if 60 <= row < 1060}) == 40
    # A source that has fewer rows than its share gives all of them equally often.
    assert Counter(row for row in rows if row >= 1060) == dict.fromkeys(range(1060, 1064), 5)


def test_the_next_epoch_goes_on_with_rows_that_had_no_turn() -> None:
    mixture = Mixture((10, 25), (1.0, 1.0), seed=2)
    seen = [row for epoch in range(5) for row in mixture.order(epoch) if row >= 10]
    assert Counter(seen) == dict.fromkeys(range(10, 35), 2)
    assert len(set(seen[:20])) == 20


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    one, other = Mixture((50, 50), (1.0, 0.5), 3), Mixture((50, 50), (1.0, 0.5), 4)
    assert one.order(7) == one.order(7)
    assert one.order(7) != one.order(8)
    assert one.order(7) != other.order(7)
    sampler = MixtureSampler(one)
    sampler.set_epoch(7)
    assert list(sampler) == one.order(7)
    assert len(sampler) == 75


def test_a_tiny_share_is_one_row_at_least() -> None:
    assert Mixture((3, 9), (1000.0, 0.001), 0).counts == (3, 1)


@pytest.mark.parametrize(("wanted", "found"), [(0, 9), (9, 9), (20, 9), (4, 4)])
def test_a_sample_is_the_same_every_time(wanted: int, found: int) -> None:
    rows = sample(9, wanted, 5)
    assert rows == sorted(set(rows)) == sample(9, wanted, 5)
    assert len(rows) == found


def test_a_verdict_counts_evaluations_without_gain() -> None:
    recipe = parse_recipe(Stage.SFT, LEAST + "early_stop_patience: 2\n")
    verdict = Verdict.of(recipe, {})
    assert [verdict.take(step, loss) for step, loss in ((1, 0.9), (2, 0.5), (3, 0.5))] == [True, True, False]
    assert not verdict.over
    # It goes on from where a checkpoint left it.
    later = Verdict.of(recipe, {"step": 3, **verdict.counted()})
    later.take(4, float("nan"))
    assert later.over
    assert (later.best_step, later.best_loss) == (2, 0.5)
    assert "2 evaluations without a loss below 0.5 (step 2)" in later.sentence


def test_without_patience_no_run_ends_early() -> None:
    verdict = Verdict.of(parse_recipe(Stage.SFT, LEAST), {})
    for step in range(50):
        verdict.take(step, float(step))
    assert not verdict.over


def test_a_full_disk_is_known_behind_every_library(tmp_path: Path) -> None:
    said = [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EFBIG, "File too large"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ]
    wrapped = ValueError("could not be saved")
    wrapped.__cause__ = said[0]
    for error in (*said, wrapped):
        assert is_full(error, tmp_path)
        assert str(translated(error, tmp_path)).startswith("The disk is full")
    for other in (ValueError("step 28"), OSError(errno.EACCES, "no"), RuntimeError("write failed")):
        assert not is_full(other, tmp_path / "not" / "there")
        assert translated(other, tmp_path) is other
    known = InvalidInput("No space left for words.", "")
    assert translated(known, tmp_path) is known
    assert isinstance(known, StudioError)
