"""What a pre-flight keeps on disk: which recipe was asked about, and the token folders, the newest of them.

Both can be made again, so both are pruned: token folders to a number and a budget of bytes, those used
longest ago first. A trainer that finds none tokenises for itself.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from studio.core.files import read_json, write_json
from studio.training.preflight.token_files import SUMMARY
from studio.training.records import Stage

TOKENS = "tokens"
_ASKED = "preflights"
_STAGING = ".staging"
_ID = re.compile(r"preflight_[0-9a-f]{20}")
_MOST_ASKED = 500
_MOST_FOLDERS = 50
_MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class Asked:
    """A recipe that was asked about, with exact versions in it.

    ``refused`` are the planner's lines of why it cannot be started. ``jobs`` are the jobs that make its
    token folders, where they were not there, by folder.
    """

    id: str
    stage: Stage
    recipe: str
    refused: tuple[str, ...]
    jobs: dict[str, str]


class PreflightStore:
    """Reads and writes below ``home``; keeps at most ``most_folders`` of ``most_bytes`` in all."""

    def __init__(self, home: Path, most_folders: int = _MOST_FOLDERS, most_bytes: int = _MOST_BYTES) -> None:
        self.tokens = home / TOKENS
        self._asked = home / _ASKED
        self._most_folders = most_folders
        self._most_bytes = most_bytes

    def keep(self, asked: Asked) -> None:
        """Keep what was asked; what was asked longest ago goes."""
        self._asked.mkdir(parents=True, exist_ok=True)
        values = {**vars(asked), "stage": asked.stage.value}
        write_json(self._asked / f"{asked.id}.json", values)
        for path in _newest(self._asked.glob("*.json"))[_MOST_ASKED:]:
            path.unlink(missing_ok=True)

    def asked(self, preflight_id: str) -> Asked | None:
        """What was asked under an id; None where there is no such id (any more)."""
        # The id names a file.
        if not _ID.fullmatch(preflight_id):
            return None
        try:
            found = read_json(self._asked / f"{preflight_id}.json")
        except ValueError:
            return None
        if found is None:
            return None
        return Asked(**{**found, "stage": Stage(found["stage"]), "refused": tuple(found["refused"])})

    def folder(self, digest: str) -> Path | None:
        """The token folder of a digest, if it is there; it then counts as used now."""
        path = self.tokens / digest
        try:
            os.utime(path / SUMMARY)
        except OSError:
            return None
        return path

    def staging(self, job_id: str) -> Path:
        """Where a job builds its folder."""
        return self.tokens / _STAGING / job_id

    def sweep(self, job_id: str) -> None:
        """Remove what a job left unfinished."""
        shutil.rmtree(self.staging(job_id), ignore_errors=True)

    def prune(self, keep: Iterable[str] = ()) -> None:
        """Remove the token folders used longest ago until the rest is within its limits; ``keep`` stay."""
        kept = set(keep)
        folders = [path.parent for path in _newest(self.tokens.glob(f"*/{SUMMARY}"))]
        taken = 0
        for place, path in enumerate(folders):
            taken += sum(_size(file) for file in path.iterdir())
            over = place >= self._most_folders or (place > 0 and taken > self._most_bytes)
            if over and path.name not in kept:
                # Without its summary it counts for nothing, should the removal be cut short.
                (path / SUMMARY).unlink(missing_ok=True)
                shutil.rmtree(path, ignore_errors=True)


def _newest(paths: Iterable[Path]) -> list[Path]:
    stamped = []
    for path in paths:
        with suppress(OSError):
            stamped.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(stamped, reverse=True)]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
