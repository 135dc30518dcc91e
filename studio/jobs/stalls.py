"""Notices a job that says nothing any more: neither its log nor its progress moves.

Time is counted by a clock that stands still while the machine sleeps, from the last change that was seen
here, so a laptop that was closed over night ends nobody's run, and a set clock does not either. A job
that writes to its log without getting anywhere is not noticed.
"""

from __future__ import annotations

import time
from pathlib import Path

from studio.jobs import directory as files

_WATCHED = (files.LOG, files.PROGRESS)


class Silence:
    """Watches one job's directory; ``seconds`` is how long it may be silent, 0 for ever."""

    def __init__(self, directory: Path, seconds: float) -> None:
        self._paths = [directory / name for name in _WATCHED]
        self._seconds = seconds
        self._seen = self._look()
        self._since = time.monotonic()

    def too_long(self) -> bool:
        """Whether nothing has changed for longer than allowed."""
        if self._seconds <= 0:
            return False
        now = self._look()
        if now != self._seen:
            self._seen, self._since = now, time.monotonic()
        return time.monotonic() - self._since > self._seconds

    def _look(self) -> tuple[tuple[int, int], ...]:
        return tuple(_stamp(path) for path in self._paths)


def stalled_reason(seconds: float) -> str:
    """Why a silent job was ended, in words; ``studio.training.failures`` knows it by its first ones."""
    spoken = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
    return (
        f"It was stalled: neither its log nor its progress moved for {spoken}, so it was ended. "
        "Its log says where it stood."
    )


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)
