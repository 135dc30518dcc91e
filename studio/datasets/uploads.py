"""Uploaded files on their way into a dataset.

Each upload has a place of its own in ``home/uploads``. A copy that was made for one import goes when
that import is settled. The pages keep theirs, so that a person can mend the form and import again; what
nobody took for a day is swept.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from studio.core.clock import now

#: Below the home; importing from it is always allowed.
UPLOADS = "uploads"

_KEPT_SECONDS = 24 * 3600.0


class Uploads:
    """The uploads of a studio."""

    def __init__(self, home: Path) -> None:
        self._directory = (home / UPLOADS).resolve()

    def holds(self, real: Path) -> bool:
        """Whether a file, its path resolved, is an upload."""
        return self._place(real) is not None

    def remove(self, real: Path) -> None:
        """Remove an upload and its folder; a file that lies elsewhere stays."""
        place = self._place(real)
        if place is not None:
            _remove(place)

    def sweep(self, used: Iterable[Path]) -> None:
        """Remove what was put here more than a day ago, but not the files in ``used``."""
        kept = {self._place(path) for path in used}
        for place in self._directory.glob("*"):
            # Another process may sweep too, so any of them may be gone by now.
            with suppress(OSError):
                if place not in kept and now() - _touched(place) > _KEPT_SECONDS:
                    _remove(place)

    def _place(self, real: Path) -> Path | None:
        if self._directory not in real.parents:
            return None
        return self._directory / real.relative_to(self._directory).parts[0]


def _touched(place: Path) -> float:
    """When it was last written to, in seconds since 1970; Gradio touches a file that is uploaded again."""
    return max(path.stat().st_mtime for path in (place, *place.glob("*")))


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)
