"""A run's own process: ``python -m studio.training.engines.external <job directory>``.

As ``studio.training.worker``: it exits with 0 (done), ``STOPPED_EXIT`` (saved on request) or 1 with a
reason in words.
"""

from __future__ import annotations

import sys
import traceback
from contextlib import suppress
from pathlib import Path

from studio.jobs import STOPPED_EXIT, JobContext
from studio.training.engines.external.worker import train
from studio.training.engines.full_disk import translated
from studio.training.task import TrainTask


def main(arguments: list[str]) -> int:
    """Train what the job directory in ``arguments`` asks for; returns the exit code."""
    context = JobContext(Path(arguments[0]))
    try:
        task = TrainTask.from_payload(context.payload)
    except Exception as error:
        traceback.print_exc()
        context.fail(error)
        return 1
    try:
        finished = train(task, context)
    except Exception as error:
        traceback.print_exc()
        with suppress(OSError):  # On a disk without a byte left, the log has to do.
            context.fail(translated(error, task.directory))
        return 1
    return 0 if finished else STOPPED_EXIT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
