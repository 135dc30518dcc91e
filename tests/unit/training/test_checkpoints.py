"""Checkpoints: only whole ones count, and the newest of them by number."""

from __future__ import annotations

from pathlib import Path

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
