"""The trainer's own process: ``python -m studio.training.worker <job directory>``.

It reads its task from the job's payload, trains, and exits with 0 (done), ``STOPPED_EXIT`` (saved on
request) or 1 with a reason in words. Where the recipe wants several processes it starts them and waits.
Only here and in ``engines/`` is torch imported, and only once the environment is set: the number of
threads is read at import.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from contextlib import suppress
from pathlib import Path

from studio.jobs import STOPPED_EXIT, JobContext
from studio.training.engines import launch
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
    several = task.recipe.processes > 1
    _prepare_environment(one_device=not several)
    _quieten()
    if several and not launch.is_rank(os.environ):
        return launch.launch(task.recipe.processes, context)
    return _as_rank(task, context) if several else _alone(task, context)


def _alone(task: TrainTask, context: JobContext) -> int:
    try:
        context.progress("loading libraries", 0, 0)
        from studio.training.engines.trl import train

        finished = train(task, context)
    except Exception as error:
        traceback.print_exc()
        with suppress(OSError):  # On a disk without a byte left, the log has to do.
            context.fail(_in_words(error, task))
        return 1
    return 0 if finished else STOPPED_EXIT


def _as_rank(task: TrainTask, context: JobContext) -> int:
    """Train as one of several processes; only the first has anything to say."""
    first = os.environ["RANK"] == "0"
    if not first:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  open as long as the process lives
    from studio.training.engines import ranks
    from studio.training.engines.trl import train

    context = context if first else ranks.Quiet(context.directory)
    try:
        finished = train(task, context)
    except Exception as error:
        traceback.print_exc()
        with suppress(OSError):
            ranks.fail(context, _in_words(error, task))
        return 1
    if first and not finished:
        launch.leave_stopped(context)
    ranks.leave()
    return 0


def _in_words(error: Exception, task: TrainTask) -> Exception:
    from studio.training.engines.full_disk import translated

    return translated(error, task.directory)


def _prepare_environment(*, one_device: bool = True) -> None:
    """No network, no telemetry, a thread for every core this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(cores))
    # Threads that wait by spinning take the core that the one they wait for needs, as soon as a model
    # server runs beside the trainer: 20 to 55 tokens/s on a busy machine, 70 to 93 with sleeping ones.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if one_device:
        # TRL refuses several GPUs in one process.
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ[name] = "1"


def _quieten() -> None:
    """Keep out of the run's log what libraries say to their developers; people read it."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    # It says at import that it found no kernels for four-bit weights on the CPU, which nobody asked for.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
