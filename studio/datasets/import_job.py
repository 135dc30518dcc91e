"""The import job: ``python -m studio.datasets.import_job <job directory>``.

It converts the file into the staging directory that its payload names and leaves the outcome as its
result; the studio publishes it when it sees that the job succeeded. It runs under a memory limit, so
that a file made to burst takes down this process and nothing else.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from studio.core.errors import StudioError, TooLarge
from studio.core.files import write_json
from studio.datasets.import_errors import FAILURE, error_json
from studio.datasets.importing import ImportPlan, run_import
from studio.jobs.child import STOPPED_EXIT, JobContext

#: Bytes of private memory; an import of any honest file stays far below.
MEMORY_LIMIT = 4 << 30


class _Stopped(Exception):
    """Someone asked the job to stop."""


def main(directory: Path) -> int:
    """Run the job of ``directory``; returns the exit code."""
    _limit_memory()
    context = JobContext(directory)

    def progress(phase: str, done: float, total: float) -> None:
        if context.stop_requested():
            raise _Stopped
        context.progress(phase, done, total)

    plan = ImportPlan.parse(context.payload["plan"])
    try:
        outcome = run_import(plan, Path(context.payload["staging"]), progress)
    except _Stopped:
        return STOPPED_EXIT
    except MemoryError:
        return _fail(context, _bursts(plan))
    except StudioError as error:
        return _fail(context, error)
    context.result({"outcome": outcome.payload()})
    return 0


def _limit_memory() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = MEMORY_LIMIT if hard == resource.RLIM_INFINITY else min(MEMORY_LIMIT, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _bursts(plan: ImportPlan) -> TooLarge:
    return TooLarge(
        f"To unpack {plan.source.name} takes more than {MEMORY_LIMIT >> 30} GiB of memory.",
        "Write it with smaller row groups, or split it.",
    )


def _fail(context: JobContext, error: StudioError) -> int:
    """Leave the error whole beside the job's failure text, so that the caller gets the same one."""
    write_json(context.directory / FAILURE, error_json(error))
    context.fail(error)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
