"""Work that outlives the web server: a durable queue of subprocesses, each under a supervisor of its own.

A job is a row that is committed before anything is started, a directory of files, and a process whose
outcome is read from an exit record and never guessed. Rooms above submit a ``JobSpec`` that names a module;
that module speaks to the studio through ``JobContext`` and its exit code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from studio.jobs.child import STOPPED_EXIT, JobContext
from studio.jobs.records import Job, JobSpec, JobState, LiveJob, LogChunk, Progress, QueuedJob, Slot

if TYPE_CHECKING:
    from studio.jobs.service import JobService

__all__ = [
    "STOPPED_EXIT",
    "Job",
    "JobContext",
    "JobService",
    "JobSpec",
    "JobState",
    "LiveJob",
    "LogChunk",
    "Progress",
    "QueuedJob",
    "Slot",
]


def __getattr__(name: str) -> Any:
    # The supervisor and every child import this package; the database is for the web process only.
    if name == "JobService":
        from studio.jobs.service import JobService

        return JobService
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
