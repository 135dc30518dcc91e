"""The errors of imports between processes: written down as JSON and raised again as they were."""

from __future__ import annotations

from typing import Any

from studio.core import errors
from studio.core.errors import StudioError, Unavailable
from studio.core.files import read_json
from studio.jobs import Job, JobState

#: The error of an import job, whole, in the job's directory.
FAILURE = "import-error.json"


def error_json(error: StudioError) -> dict[str, Any]:
    """An error as JSON."""
    return {
        "error": type(error).__name__,
        "message": error.message,
        "todo": error.todo,
        "details": list(error.details),
    }


def error_of(value: dict[str, Any]) -> StudioError:
    """The error that ``value`` was made of."""
    kind: type[StudioError] = getattr(errors, value["error"], StudioError)
    return kind(value["message"], value["todo"], tuple(value["details"]))


def never_started() -> StudioError:
    """The error of an import that was remembered and whose job was never submitted."""
    return Unavailable("The import was never started.", "Import the file again.")


def job_error(job: Job) -> StudioError:
    """The error of a job that made nothing: its own where it left one, else what the supervisor says."""
    left = read_json(job.directory / FAILURE)
    if left is not None:
        return error_of(left)
    if job.state is JobState.STOPPED:
        return Unavailable("The import was stopped.", "Import the file again.")
    return Unavailable(f"The import did not finish: {job.reason or job.state.value}", "Look at its log.")
