"""Checkpoints that a run may be resumed from: ``step-000010/`` with a ``COMPLETE`` mark in it.

The mark is written, and synced, after everything else in the directory was synced, and it holds the size
and the SHA-256 of every file. So a directory with the mark is whole, whatever ended the trainer; one
without it is never used, and one whose files no longer are what the mark says (cut short by a full disk,
a copy, a hand) is passed over for the one before it. The mark also holds what the trainer counted so far.

Sizes are looked at wherever checkpoints are listed, digests only where one is about to be used.
"""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import InvalidInput
from studio.core.files import file_digest, read_json, sync_directory, write_json
from studio.training.records import Checkpoint

MARK = "COMPLETE"


@dataclass(frozen=True)
class _Mark:
    """What a mark says; ``files`` maps paths in the checkpoint to (bytes, digest)."""

    counted: dict[str, Any]
    files: dict[str, tuple[int, str]]


def directory_for(root: Path, step: int) -> Path:
    """Where the checkpoint of ``step`` stands below ``root``."""
    return root / f"step-{step:06d}"


def begin(root: Path, step: int) -> Path:
    """An empty directory for a checkpoint; what an earlier attempt left there is removed."""
    path = directory_for(root, step)
    _remove(path)
    path.mkdir(parents=True)
    return path


def abandon(path: Path) -> None:
    """Remove what could not be written whole; the room is then free for what must be."""
    _remove(path)


def seal(path: Path, counted: dict[str, Any]) -> None:
    """Sync everything below ``path``, then mark it complete with what was ``counted``."""
    files: dict[str, list[Any]] = {}
    for place in sorted(path.rglob("*"), reverse=True):
        if place.is_dir():
            sync_directory(place)
        else:
            _sync_file(place)
            files[str(place.relative_to(path))] = [place.stat().st_size, file_digest(place)]
    sync_directory(path)
    sync_directory(path.parent)
    write_json(path / MARK, {"counted": counted, "files": files})


def complete(root: Path) -> tuple[Path, ...]:
    """The checkpoints that are marked and whose files have their sizes, oldest first."""
    found = (path.parent for path in root.glob(f"step-*/{MARK}"))
    return tuple(sorted((path for path in found if _sized(path)), key=step_of))


def newest(root: Path) -> Path | None:
    """The checkpoint to resume from: the newest whose every byte is there, or None."""
    return next((path for path in reversed(complete(root)) if whole(path)), None)


def at(root: Path, step: int) -> Path | None:
    """The checkpoint of ``step``, every byte of it looked at; None where it is not whole."""
    path = directory_for(root, step)
    return path if path in complete(root) and whole(path) else None


def choose(root: Path, step: int | None) -> Path | None:
    """The checkpoint that an attempt goes on from: the newest whole one, or the one of ``step``.

    With ``step`` no later one is left; 0 is the beginning.

    Raises:
        InvalidInput: The chosen one is gone or damaged.
    """
    if step is None:
        return newest(root)
    found = at(root, step)
    if found is None and step > 0:
        raise InvalidInput(
            f"The checkpoint of step {step} is gone or damaged.",
            "Choose another, or resume without choosing.",
        )
    forget_after(root, step)
    return found


def whole(path: Path) -> bool:
    """Whether every file of a marked checkpoint is as it was when it was marked."""
    mark = _mark(path)
    if mark is None or not _sized(path):
        return False
    try:
        return all(file_digest(path / name) == digest for name, (_, digest) in mark.files.items())
    except OSError:
        return False


def counted(path: Path) -> dict[str, Any]:
    """What the trainer had counted when it wrote the checkpoint."""
    mark = _mark(path)
    return mark.counted if mark else {}


def step_of(path: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(path.name.removeprefix("step-"))


def best(root: Path) -> Path | None:
    """The complete checkpoint with the lowest evaluation loss of its own step; None where none has one."""
    losses = {path: _own_loss(path) for path in complete(root)}
    known = {path: loss for path, loss in losses.items() if loss is not None}
    return min(known, key=lambda path: (known[path], step_of(path))) if known else None


def listing(root: Path) -> tuple[Checkpoint, ...]:
    """The complete checkpoints as people see them, oldest first."""
    found, lowest = complete(root), best(root)
    return tuple(
        Checkpoint(
            step=step_of(path),
            bytes=sum(size for size, _ in _files(path).values()),
            written_at=(path / MARK).stat().st_mtime,
            eval_loss=_finite(counted(path).get("eval_loss")),
            best=path == lowest,
            newest=path == found[-1],
        )
        for path in found
    )


def prune(root: Path, keep: int) -> None:
    """Remove all but the ``keep`` newest complete checkpoints and the best, and every incomplete one."""
    kept = {*complete(root)[-keep:], best(root)}
    for path in root.glob("step-*"):
        if path not in kept:
            _remove(path)


def remove(root: Path, step: int) -> None:
    """Remove the checkpoint of ``step``; doing it again changes nothing."""
    _remove(directory_for(root, step))


def forget_after(root: Path, step: int) -> None:
    """Remove every checkpoint after ``step``: somebody chose to go on from there."""
    for path in root.glob("step-*"):
        if step_of(path) > step:
            _remove(path)


def _remove(path: Path) -> None:
    # The mark goes first: a removal that is cut short must not leave half a checkpoint marked.
    (path / MARK).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def _mark(path: Path) -> _Mark | None:
    try:
        value = read_json(path / MARK)
    except (OSError, ValueError):
        return None
    if not isinstance(value, dict):
        return None
    if "files" not in value:  # A mark from before it held sizes.
        return _Mark(value, {})
    files = {name: (int(size), str(digest)) for name, (size, digest) in value["files"].items()}
    return _Mark(value.get("counted", {}), files)


def _files(path: Path) -> dict[str, tuple[int, str]]:
    mark = _mark(path)
    if mark is not None and mark.files:
        return mark.files
    places = (place for place in path.rglob("*") if place.is_file())
    return {str(place.relative_to(path)): (place.stat().st_size, "") for place in places}


def _sized(path: Path) -> bool:
    mark = _mark(path)
    if mark is None:
        return False
    try:
        return all((path / name).stat().st_size == size for name, (size, _) in mark.files.items())
    except OSError:
        return False


def _own_loss(path: Path) -> float | None:
    """The evaluation loss that was measured at the very step of the checkpoint."""
    values = counted(path)
    return _finite(values.get("eval_loss")) if values.get("eval_step") == step_of(path) else None


def _finite(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and math.isfinite(value)
    return float(value) if number else None


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
