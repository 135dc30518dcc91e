"""What a job's own process uses to speak to the studio: files in its directory and its exit code.

Exit code 0 means done and ``STOPPED_EXIT`` means stopped on request after saving; everything else is a
failure, which the child can explain with ``fail``. Nothing here needs the studio to be alive.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from studio.jobs import directory as files

#: What a child exits with that was asked to stop and saved first (EX_TEMPFAIL: run it again later).
STOPPED_EXIT = 75

# A reader looks four times a second; to write more often only wears the disk.
_PROGRESS_SECONDS = 0.2


class JobContext:
    """The job's directory as its child sees it; ``payload`` is what was submitted."""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self.payload: dict[str, Any] = files.read(self.directory / files.PAYLOAD) or {}
        self._phase: str | None = None
        self._written = 0.0

    def progress(self, phase: str, done: float, total: float, eta: float | None = None) -> None:
        """Say how far the work is; calls that come too fast are left out, a new phase or the end is not.

        Args:
            phase: What is being done, in words.
            done: Units done.
            total: Units in all; 0 where it is not known.
            eta: Seconds left, if the child can tell.
        """
        finished = total > 0 and done >= total
        too_soon = time.monotonic() - self._written < _PROGRESS_SECONDS
        if phase == self._phase and too_soon and not finished:
            return
        self._phase, self._written = phase, time.monotonic()
        value = {"phase": phase, "done": done, "total": total, "eta_seconds": eta}
        files.write(self.directory / files.PROGRESS, value, durable=False)

    def stop_requested(self) -> bool:
        """Whether someone asked this job to save and end; cheap enough to call at every step."""
        return (self.directory / files.STOP).exists()

    def result(self, value: dict[str, Any]) -> None:
        """Leave what the job made as ``result.json``; on disk when this returns."""
        files.write(self.directory / files.RESULT, value)

    def fail(self, error: Exception) -> None:
        """Leave the reason of a failure in words; the caller then exits with a code other than 0.

        A ``StudioError`` brings its own sentences; of any other the class and text are shown.
        """
        text = str(error)
        plain = f"{type(error).__name__}: {text}" if text else type(error).__name__
        value = {
            "message": str(getattr(error, "message", plain)),
            "todo": str(getattr(error, "todo", "")),
            "details": [str(line) for line in getattr(error, "details", ())],
        }
        files.write(self.directory / files.FAILURE, value)
