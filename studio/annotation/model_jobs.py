"""How the jobs of this room that load a model end: done, stopped on request, or with their reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.jobs.child import STOPPED_EXIT, JobContext


class Stopped(Exception):  # not an error: someone asked for it
    """Someone asked the job to stop."""


def perform(directory: Path, run: Callable[[JobContext], dict[str, Any]]) -> int:
    """Do ``run`` for the job in ``directory``, leave its result, and return the exit code.

    Raises:
        Exception: Whatever ``run`` raised, after it was written down for the studio to show.
    """
    context = JobContext(directory)
    try:
        context.result(run(context))
    except Stopped:
        return STOPPED_EXIT
    except Exception as error:
        context.fail(error)
        raise
    return 0
