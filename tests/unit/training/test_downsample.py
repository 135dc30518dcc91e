"""Thinned curves: what stands out stays, what was chosen once is not taken back, and files become columns."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.training.curves import CurveCache, CurveFile
from studio.training.downsample import bucket_size, kept, means_between, new_since

_LISTS = st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=600)


@given(_LISTS, st.integers(2, 60))
@settings(max_examples=60, deadline=None)
def test_few_points_hold_every_extreme(values: list[float], most: int) -> None:
    series = np.asarray(values)
    chosen = kept(series, most)
    assert list(chosen) == sorted(set(chosen))
    assert chosen[0] == 0
    assert chosen[-1] == len(values) - 1
    assert {series.min(), series.max()} <= set(series[chosen])
    # Beside the buckets: the two ends, and the halves of what has not filled one.
    assert len(chosen) <= most + 2 + 2 * bucket_size(len(values), most).bit_length()


@given(_LISTS, st.integers(2, 40), st.data())
@settings(max_examples=80, deadline=None)
def test_what_was_not_chosen_is_never_chosen_later(
    values: list[float], most: int, data: st.DataObject
) -> None:
    series = np.asarray(values)
    before = data.draw(st.integers(1, len(values)))
    early, late = set(kept(series[:before], most)), set(kept(series, most))
    assert {place for place in late if place < before} <= early


@given(_LISTS, st.integers(2, 40), st.lists(st.integers(1, 90), min_size=1, max_size=20))
@settings(max_examples=80, deadline=None)
def test_a_reader_that_gets_only_what_is_new_holds_the_choice(
    values: list[float], most: int, steps: list[int]
) -> None:
    series, held, known = np.asarray(values), set(), 0
    for more in [*steps, len(values)]:
        end = min(known + more, len(values))
        sent = [int(place) for place in new_since(series[:end], most, known)]
        assert all(place >= known for place in sent)
        held |= set(sent)
        known = end
        assert set(kept(series[:end], most)) <= held


def test_a_spike_in_a_long_run_is_never_lost() -> None:
    series = np.sin(np.arange(200_000) / 900)
    for place in (0, 1, 77_777, 131_072, 199_999):
        spiked = series.copy()
        spiked[place] = 50.0
        assert place in kept(spiked, 500)


def test_a_window_shows_finer_points_than_the_whole() -> None:
    series = np.random.default_rng(0).normal(size=100_000)
    whole, window = kept(series, 200), kept(series, 200, 50_000, 52_000)
    inside = [place for place in whole if 50_000 <= place < 52_000]
    assert len(window) > 10 * len(inside)
    assert set(inside) <= set(window)
    assert list(kept(series, 200, 400, 450)) == list(range(400, 450))
    assert len(kept(series, 200, 90, 90)) == 0


def test_means_stand_for_every_value() -> None:
    series = np.arange(10.0)
    means, counts = means_between(series, np.asarray([0, 4, 9]))
    assert list(counts) == [1, 4, 5]
    assert list(means) == [0.0, 2.5, 7.0]
    assert (means * counts).sum() == series.sum()
    later, counts = means_between(series, np.asarray([7, 9]), 6)
    assert list(later) == [6.5, 8.5]


def test_a_bucket_keeps_two() -> None:
    with pytest.raises(ValueError, match="two points"):
        bucket_size(10, 1)
    assert bucket_size(100, 100) == 1
    assert bucket_size(200_000, 1000) == 512


def line(step: int, **values: float) -> str:
    return json.dumps({"step": step, "time": step / 2, "tokens": 10 * step, **values}) + "\n"


def test_a_file_becomes_columns_and_grows(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    file = CurveFile(path)
    assert file.read().length == 0
    path.write_text('{"epoch": 0}\n' + line(1, loss=2.0) + line(2, loss=1.5, held=3.0) + '{"step": 3, "ti')
    history = file.read()
    assert history.columns["loss"].values.tolist() == [2.0, 1.5]
    assert history.columns["held"].lines.tolist() == [1]
    assert history.lines.steps.tolist() == [1, 2]
    with path.open("a") as handle:
        handle.write('me": 1.5, "tokens": 30, "loss": 1.25}\nrubbish\n[1]\n' + line(4, held=2.5))
    again = file.read()
    assert again.lines.tokens.tolist() == [10, 20, 30, 40]
    assert again.columns["loss"].values.tolist() == [2.0, 1.5, 1.25]
    assert again.columns["held"].lines.tolist() == [1, 3]
    # What was handed out before did not change under its reader.
    assert history.columns["loss"].values.tolist() == [2.0, 1.5]


def test_rewritten_history_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 0}\n' + "".join(line(n, loss=n) for n in range(1, 9)))
    file = CurveFile(path)
    assert file.read().length == 8
    fresh = tmp_path / "new"
    fresh.write_text('{"epoch": 1}\n' + "".join(line(n, loss=n) for n in range(1, 4)))
    fresh.replace(path)
    history = file.read()
    assert (history.epoch, history.length) == (1, 3)


def test_a_long_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 0}\n' + "".join(line(n, loss=1 / (n + 1)) for n in range(90_000)))
    assert path.stat().st_size > 5_000_000
    history = CurveFile(path).read()
    assert history.length == 90_000
    assert history.lines.steps.tolist() == list(range(90_000))


def test_the_cache_puts_out_what_was_not_asked_for(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m").write_text('{"epoch": 0}\n' + "".join(line(n, loss=n) for n in range(40)))
    cache = CurveCache(tmp_path, "m", most_lines=100)
    for name in ("a", "b", "a", "c"):
        assert cache.read(name).length == 40
    assert list(cache._files) == ["a", "c"]
    assert cache.read("b").length == 40
