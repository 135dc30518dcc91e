"""Starts a job's supervisor as a process of this machine that does not depend on its parent."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import studio
from studio.jobs import directory as files
from studio.jobs.identity import TOKEN_VARIABLE

_ROOT = Path(studio.__file__).parent.parent


class LocalLauncher:
    """The default launcher: a subprocess in a session of its own, tied to its parent by nothing."""

    def launch(self, directory: Path) -> None:
        """Start the supervisor of ``directory``; only files connect it to this process.

        Raises:
            OSError: No process could be started.
        """
        with (directory / files.SUPERVISOR_LOG).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "studio.jobs.supervisor", str(directory)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                start_new_session=True,
                close_fds=True,
            )
        # A thread that sleeps in waitpid reaps it the moment it ends, so it is never a zombie here.
        threading.Thread(target=process.wait, name=f"reap-{process.pid}", daemon=True).start()


def _environment() -> dict[str, str]:
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    # Where a job submits a job, the new supervisor must not pass for a process of the old one.
    inherited = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    return {**inherited, "PYTHONPATH": os.pathsep.join(paths)}
