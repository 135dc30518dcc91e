"""The metrics file: what a reader sees while it is written, cut short and rewritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.training.metrics import MetricsWriter, Tail, last_values, read_points, rewind


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def write(path: Path, steps: range) -> None:
    writer = MetricsWriter(path)
    for step in steps:
        writer.append(step, step * 2.0, step * 100, {"train/loss": 10.0 - step, "train/bad": float("nan")})
    writer.close()


def test_points_come_in_columns_and_once(path: Path) -> None:
    write(path, range(1, 4))
    first = read_points(path, "run", 0, 0)
    assert first.columns == {"train/loss": ((1, 9.0, 2.0, 100), (2, 8.0, 4.0, 200), (3, 7.0, 6.0, 300))}
    assert read_points(path, "run", first.cursor, 0).columns == {}
    write(path, range(4, 5))
    assert read_points(path, "run", first.cursor, 0).columns == {"train/loss": ((4, 6.0, 8.0, 400),)}


def test_a_half_written_line_waits_until_it_is_whole(path: Path) -> None:
    write(path, range(1, 2))
    line = json.dumps({"step": 2, "time": 1.0, "tokens": 3, "train/loss": 1.5}).encode() + b"\n"
    with path.open("ab") as handle:
        handle.write(line[:20])
    before = read_points(path, "run", 0, 0)
    assert len(before.columns["train/loss"]) == 1
    with path.open("ab") as handle:
        handle.write(line[20:])
    assert read_points(path, "run", before.cursor, 0).columns == {"train/loss": ((2, 1.5, 1.0, 3),)}


def test_rubbish_is_passed_over(path: Path) -> None:
    write(path, range(1, 2))
    with path.open("ab") as handle:
        handle.write(b'\x00\xff\n[1]\n{"step": 1}\n')
        handle.write(b'{"step": 1, "time": 1.0, "tokens": 1, "train/loss": null, "note": "odd"}\n')
    write(path, range(2, 3))
    assert [point[0] for point in read_points(path, "run", 0, 0).columns["train/loss"]] == [1, 2]


def test_a_rewind_forgets_what_came_after_and_changes_the_epoch(path: Path) -> None:
    write(path, range(1, 6))
    seen = read_points(path, "run", 0, 0)
    rewind(path, 3)
    write(path, range(4, 7))
    again = read_points(path, "run", seen.cursor, seen.epoch)
    assert again.epoch == 1
    assert [point[0] for point in again.columns["train/loss"]] == [1, 2, 3, 4, 5, 6]
    rewind(path, -1)
    assert read_points(path, "run", 0, 2) == read_points(path, "run", again.cursor, 1)
    assert read_points(path, "run", 0, 2).columns == {}


def test_a_rewind_drops_a_half_written_line(path: Path) -> None:
    write(path, range(1, 3))
    with path.open("ab") as handle:
        handle.write(b'{"step": 2, "ti')
    rewind(path, 2)
    write(path, range(3, 4))
    assert [point[0] for point in read_points(path, "run", 0, 1).columns["train/loss"]] == [1, 2, 3]


def test_there_is_nothing_before_the_first_point(path: Path) -> None:
    assert read_points(path, "run", 0, 0).columns == {}
    path.write_bytes(b'{"epo')
    assert read_points(path, "run", 0, 0).columns == {}
    path.unlink()
    rewind(path, 5)
    assert read_points(path, "run", 0, 0).columns == {}


def test_a_tail_knows_the_last_values_and_the_first_evaluation(path: Path) -> None:
    tail = Tail(path)
    assert tail.values() == {}
    writer = MetricsWriter(path)
    writer.append(0, 0.0, 0, {"eval/loss": 4.0})
    writer.append(1, 1.0, 9, {"train/loss": 3.0})
    assert tail.values() == {"eval/loss": 4.0, "eval/loss/first": 4.0, "train/loss": 3.0}
    writer.append(2, 2.0, 18, {"eval/loss": 2.0})
    writer.close()
    assert tail.values() == last_values(path)
    assert tail.values()["eval/loss"] == 2.0
    rewind(path, 1)
    assert tail.values() == {"eval/loss": 4.0, "eval/loss/first": 4.0, "train/loss": 3.0}
