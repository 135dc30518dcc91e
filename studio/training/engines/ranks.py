"""What the processes of one run know of each other: who is first, what they agree on, when they wait.

Rank 0 alone writes metrics, progress and marks. Whatever decides how many steps are made (a stop request,
above all) is decided by rank 0 and told to the others, because a process that stops a step earlier than
the rest leaves them waiting for ever. In a run of one process every function here is free.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from studio.jobs import JobContext
from studio.jobs.directory import FAILURE


def rank() -> int:
    """The place of this process in its run; 0 in a run of one."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many processes the run has."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def first() -> bool:
    """Whether this is the process that writes."""
    return rank() == 0


def join() -> None:
    """Meet the others; has to come before anything else here."""
    if world() > 1:
        PartialState(cpu=not torch.cuda.is_available())


def wait() -> None:
    """Go on when every process is here."""
    if world() > 1:
        PartialState().wait_for_everyone()


def agreed(value: Any) -> Any:
    """What rank 0 says, in every process."""
    if world() == 1:
        return value
    said = [value]
    broadcast_object_list(said, from_process=0)
    return said[0]


def gathered(values: list[Any]) -> list[list[Any]]:
    """The lists of every process, in the order of their ranks."""
    return [values] if world() == 1 else list(gather_object([values]))


class Quiet(JobContext):
    """The job as the processes after the first see it: nothing to say but why they failed."""

    def progress(self, phase: str, done: float, total: float, eta: float | None = None) -> None:
        """Left to rank 0."""

    def result(self, value: dict[str, Any]) -> None:
        """Left to rank 0."""


def fail(context: JobContext, error: Exception) -> None:
    """Leave the reason of the process that failed first; the others fail because it is gone."""
    if world() == 1 or not (context.directory / FAILURE).exists():
        context.fail(error)


def leave() -> None:
    """Part from the others in order, so that none takes the end of another for a failure."""
    if world() > 1 and torch.distributed.is_initialized():
        wait()
        torch.distributed.destroy_process_group()
