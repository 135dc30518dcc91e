"""Checkpoints: only whole ones count, and the newest of them by number."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.training import checkpoints


def make(root: Path, step: int, *, whole: bool = True) -> Path:
    path = checkpoints.begin(root, step)
    (path / "weights").write_text("w")
    (path / "deep").mkdir()
    (path / "deep" / "more").write_text("m")
    if whole:
        checkpoints.seal(path, {"step": step})
    return path


def test_an_unmarked_checkpoint_is_never_used(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path) is None
    old = make(tmp_path, 10)
    make(tmp_path, 20, whole=False)
    assert checkpoints.newest(tmp_path) == old
    assert checkpoints.counted(old) == {"step": 10}


def test_newest_is_by_number(tmp_path: Path) -> None:
    make(tmp_path, 999_999)
    newest = make(tmp_path, 1_000_000)
    assert checkpoints.newest(tmp_path) == newest


def test_pruning_keeps_the_newest_and_clears_ruins(tmp_path: Path) -> None:
    made = [make(tmp_path, step) for step in (1, 2, 3)]
    ruin = make(tmp_path, 4, whole=False)
    checkpoints.prune(tmp_path, 2)
    assert checkpoints.complete(tmp_path) == tuple(made[1:])
    assert not ruin.exists()


def test_a_checkpoint_begun_again_starts_empty(tmp_path: Path) -> None:
    make(tmp_path, 5)
    path = checkpoints.begin(tmp_path, 5)
    assert list(path.iterdir()) == []
    assert checkpoints.newest(tmp_path) is None


@pytest.mark.parametrize("damage", ["shorter", "other", "gone"])
@pytest.mark.parametrize("name", ["weights", "deep/more"])
def test_a_checkpoint_whose_files_changed_is_passed_over(tmp_path: Path, name: str, damage: str) -> None:
    old, new = make(tmp_path, 10), make(tmp_path, 20)
    file = new / name
    if damage == "shorter":
        file.write_bytes(b"")
    elif damage == "other":
        file.write_bytes(b"x")  # As long as before: only the digest tells.
    else:
        file.unlink()
    assert checkpoints.newest(tmp_path) == old
    assert checkpoints.at(tmp_path, 20) is None
    assert checkpoints.at(tmp_path, 10) == old


@pytest.mark.parametrize("text", ["", "{", "[]", '{"counted": {"step": 3}, "files": {"weights": [9, "x"]}}'])
def test_a_damaged_mark_marks_nothing(tmp_path: Path, text: str) -> None:
    (make(tmp_path, 3) / checkpoints.MARK).write_text(text)
    assert checkpoints.newest(tmp_path) is None


def test_a_mark_from_before_it_held_sizes_still_counts(tmp_path: Path) -> None:
    path = make(tmp_path, 7, whole=False)
    (path / checkpoints.MARK).write_text('{"step": 7, "tokens": 5}')
    assert checkpoints.newest(tmp_path) == path
    assert checkpoints.counted(path)["tokens"] == 5
    assert checkpoints.listing(tmp_path)[0].bytes > 0


def sealed(root: Path, step: int, loss: float | None, measured: int | None = None) -> Path:
    path = make(root, step, whole=False)
    checkpoints.seal(
        path, {"step": step, "eval_loss": loss, "eval_step": step if measured is None else measured}
    )
    return path


def test_pruning_keeps_the_best_beside_the_newest(tmp_path: Path) -> None:
    best = sealed(tmp_path, 1, 0.5)
    # Its loss is that of step 1: it was not evaluated itself.
    sealed(tmp_path, 2, 0.4, measured=1)
    newest = [sealed(tmp_path, 3, 0.9), sealed(tmp_path, 4, float("nan"))]
    checkpoints.prune(tmp_path, 2)
    assert checkpoints.complete(tmp_path) == (best, *newest)
    assert checkpoints.best(tmp_path) == best


def test_the_listing_says_which_is_best_and_newest(tmp_path: Path) -> None:
    for step, loss in ((5, 0.7), (10, 0.3), (15, 0.6)):
        sealed(tmp_path, step, loss)
    found = checkpoints.listing(tmp_path)
    assert [(c.step, c.eval_loss, c.best, c.newest) for c in found] == [
        (5, 0.7, False, False),
        (10, 0.3, True, False),
        (15, 0.6, False, True),
    ]
    assert {c.bytes for c in found} == {2}
    assert all(c.written_at > 0 for c in found)


def test_later_checkpoints_are_forgotten(tmp_path: Path) -> None:
    kept = make(tmp_path, 10)
    make(tmp_path, 20)
    make(tmp_path, 30, whole=False)
    checkpoints.forget_after(tmp_path, 10)
    assert list(tmp_path.iterdir()) == [kept]
    checkpoints.remove(tmp_path, 10)
    checkpoints.remove(tmp_path, 10)
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_written_whole_is_removed(tmp_path: Path) -> None:
    path = make(tmp_path, 4, whole=False)
    checkpoints.abandon(path)
    assert not path.exists()
