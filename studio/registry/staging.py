"""Where a job of this room works, and how it ends: whole, with its reason, or stopped without a trace.

A model grows in a hidden folder beside its target. A job that is asked to stop has nothing worth
saving: it removes that folder and ends at once, even in the middle of a download. What a killed job
leaves behind is removed when the registry settles it.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.jobs.child import STOPPED_EXIT, JobContext

_LOOK_SECONDS = 0.25

#: Makes the target folder with the help of the scratch folder, and returns the job's result.
Work = Callable[[JobContext, Path, Path], dict[str, Any]]


def scratch_folder(target: Path, job_id: str) -> Path:
    """The hidden folder of one job, on the same file system as ``target``."""
    return target.with_name(f".{target.name}.{job_id}")


def run_job(directory: Path, work: Work) -> int:
    """Do ``work`` for the job in ``directory`` and return the exit code.

    Raises:
        Exception: Whatever ``work`` raised, after it was written down for the studio to show.
    """
    context = JobContext(directory)
    target = Path(str(context.payload["target"]))
    scratch = scratch_folder(target, directory.name)
    scratch.mkdir(parents=True, exist_ok=True)
    threading.Thread(target=_end_when_asked, args=(context, scratch), daemon=True).start()
    try:
        context.result(work(context, target, scratch))
    except Exception as error:
        context.fail(error)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 0


def _end_when_asked(context: JobContext, scratch: Path) -> None:
    while not context.stop_requested():
        time.sleep(_LOOK_SECONDS)
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(STOPPED_EXIT)
