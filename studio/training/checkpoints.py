"""Checkpoints that a run may be resumed from: ``step-000010/`` with a ``COMPLETE`` mark in it.

The mark is written, and synced, after everything else in the directory was synced. So a directory with
the mark is whole, whatever ended the trainer, and one without it is never used. The mark also holds
what the trainer counted so far.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from studio.core.files import read_json, sync_directory, write_json

MARK = "COMPLETE"


def directory_for(root: Path, step: int) -> Path:
    """Where the checkpoint of ``step`` stands below ``root``."""
    return root / f"step-{step:06d}"


def begin(root: Path, step: int) -> Path:
    """An empty directory for a checkpoint; what an earlier attempt left there is removed."""
    path = directory_for(root, step)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def seal(path: Path, counted: dict[str, Any]) -> None:
    """Sync everything below ``path``, then mark it complete with what was ``counted``."""
    for place in sorted(path.rglob("*"), reverse=True):
        if place.is_dir():
            sync_directory(place)
        else:
            _sync_file(place)
    sync_directory(path)
    sync_directory(path.parent)
    write_json(path / MARK, counted)


def complete(root: Path) -> tuple[Path, ...]:
    """The checkpoints that may be used, oldest first."""
    found = (path.parent for path in root.glob(f"step-*/{MARK}"))
    return tuple(sorted(found, key=lambda path: int(path.name.removeprefix("step-"))))


def newest(root: Path) -> Path | None:
    """The checkpoint to resume from, or None where there is none."""
    found = complete(root)
    return found[-1] if found else None


def counted(path: Path) -> dict[str, Any]:
    """What the trainer had counted when it wrote the checkpoint."""
    value = read_json(path / MARK)
    return value if isinstance(value, dict) else {}


def prune(root: Path, keep: int) -> None:
    """Remove all but the ``keep`` newest complete checkpoints, and every incomplete one."""
    kept = set(complete(root)[-keep:])
    for path in root.glob("step-*"):
        if path not in kept:
            # The mark goes first: a removal that is cut short must not leave half a checkpoint marked.
            (path / MARK).unlink(missing_ok=True)
            shutil.rmtree(path, ignore_errors=True)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
