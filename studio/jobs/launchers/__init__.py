"""Where a job's supervisor is started: on this machine, and later on a cluster.

A launcher only starts it and returns; it does not wait, and it may be called twice for one job, because
the supervisors settle among themselves who gets it. Everything after that goes through the job's files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Launcher(Protocol):
    """Starts the supervisor of a job directory."""

    def launch(self, directory: Path) -> None:
        """Start it and return at once.

        Raises:
            OSError: It cannot be started now; the studio tries again.
        """
