"""Attempts at trainings that are killed while they save, in forks of one process that has imported torch.

``python -m tests.faults.training_attempts PLAN.json``: a list of {"job", "run", "kills", "tear"}. The job is
worked ``kills`` times to its death by SIGKILL while a checkpoint is half-written, then once to its end;
with ``tear``, the largest file of the newest whole checkpoint is cut short before that last attempt.
What each job's last attempt exited with, and the steps of the checkpoints, go to PLAN.json.out.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from studio.training import checkpoints
from studio.training.task import CHECKPOINTS
from studio.training.worker import _prepare_environment, main


def attempt(job: Path) -> int:
    """Fork a process that works ``job``; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    log = os.open(job / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = 1
    try:
        code = main([str(job)])
    finally:
        sys.stdout.flush()
        os._exit(code)


def kill_while_saving(pid: int, root: Path) -> bool:
    """Kill ``pid`` while it writes one of its next checkpoints; False where it ended before."""
    wanted = max(map(checkpoints.step_of, checkpoints.complete(root)), default=0) + random.randint(2, 3)
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        half = [path for path in root.glob("step-*") if not (path / checkpoints.MARK).exists()]
        if any(checkpoints.step_of(path) >= wanted for path in half):
            time.sleep(random.random() * 0.01)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return True
    return False


def tear(path: Path) -> None:
    """Cut the largest file of a checkpoint in half."""
    largest = max(
        (place for place in path.iterdir() if place.is_file()), key=lambda place: place.stat().st_size
    )
    os.truncate(largest, largest.stat().st_size // 2)


def work(item: dict[str, Any]) -> dict[str, Any]:
    """Carry out one item of the plan."""
    job, root = Path(item["job"]), Path(item["run"]) / CHECKPOINTS
    killed = sum(kill_while_saving(attempt(job), root) for _ in range(item.get("kills", 0)))
    steps = [checkpoints.step_of(path) for path in checkpoints.complete(root)]
    if item.get("tear"):
        tear(checkpoints.newest(root) or root)
    _, status = os.waitpid(attempt(job), 0)
    return {"killed": killed, "steps": steps, "code": os.waitstatus_to_exitcode(status)}


if __name__ == "__main__":
    _prepare_environment()
    # One thread: a fork does not take the others along.
    os.environ["OMP_NUM_THREADS"] = "1"
    from studio.training.engines import trl  # noqa: F401  imported once for every fork

    random.seed(1)
    plan = Path(sys.argv[1])
    plan.with_suffix(".json.out").write_text(
        json.dumps([work(item) for item in json.loads(plan.read_text())])
    )
