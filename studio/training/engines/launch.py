"""A run of several processes: the worker starts torchrun as its child and waits for it.

Torchrun's own children are workers like this one, told apart by ``RANK``; they share the job's directory.
Rank 0 writes what people see. Torchrun takes every exit code but 0 for a failure, so a rank that was asked
to stop leaves a mark in the job's directory and ends with 0.

The processes of torchrun have sessions of their own, but carry the job's token in their environment, so
the supervisor finds and ends them all. On GPUs each takes one of those in ``CUDA_VISIBLE_DEVICES``;
unproven, as nobody has run it there yet.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from studio.core import StudioError
from studio.jobs import STOPPED_EXIT, JobContext
from studio.jobs.directory import FAILURE

#: Left by rank 0 where the processes saved and ended on request.
_STOPPED = "ranks-stopped"
WORKER = "studio.training.worker"
#: Where the studio's own modules are found.
_ROOT = Path(__file__).resolve().parents[3]


def is_rank(environment: Mapping[str, str]) -> bool:
    """Whether this process is one that torchrun started."""
    return "TORCHELASTIC_RUN_ID" in environment and "RANK" in environment


def leave_stopped(context: JobContext) -> None:
    """Say, as rank 0, that the run was stopped on request."""
    (context.directory / _STOPPED).touch()


def command(processes: int, context: JobContext) -> list[str]:
    """What starts ``processes`` workers on the job of ``context``."""
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return [sys.executable, "-P", *run, "--module", WORKER, str(context.directory)]


def launch(processes: int, context: JobContext) -> int:
    """Run ``processes`` workers to their end; returns the exit code of the job."""
    (context.directory / _STOPPED).unlink(missing_ok=True)
    context.progress(f"starting {processes} processes", 0, 0)
    code = subprocess.run(command(processes, context), env=_environment(processes), check=False).returncode
    if code == 0:
        return STOPPED_EXIT if (context.directory / _STOPPED).exists() else 0
    if not (context.directory / FAILURE).exists():
        context.fail(
            StudioError(
                f"One of the {processes} processes ended without a word.",
                "The end of the log says which, and by what signal.",
            )
        )
    return 1


def _environment(processes: int) -> dict[str, str]:
    """The cores are shared out; PYTHONSAFEPATH does for torchrun's children what -P does for it."""
    cores = int(os.environ.get("OMP_NUM_THREADS", "1"))
    paths = [str(_ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(max(1, cores // processes)),
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }
