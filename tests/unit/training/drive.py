"""Runs several trainings in one process, so that the tests pay for torch's import once.

``python -m tests.unit.training.drive PLAN.json``: a list of {"payload", "job", "stop_after"}; a training
with ``stop_after`` is asked to stop when that step is done; an item with ``probe`` looks at what a training
left instead. What each came to is written to PLAN.json.out.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from studio.jobs import JobContext
from studio.training.task import TrainTask
from studio.training.worker import _prepare_environment


class Context(JobContext):
    """Asks to stop after a step."""

    stop_after: int | None = None
    done = 0.0

    def progress(self, phase: str, done: float, total: float, eta: float | None = None) -> None:
        if phase == "training":
            self.done = done
        super().progress(phase, done, total, eta)

    def stop_requested(self) -> bool:
        return self.stop_after is not None and self.done >= self.stop_after


def run(item: dict[str, Any]) -> dict[str, Any]:
    if "probe" in item:
        return probe(item["probe"], item["of"])
    from studio.training.engines.trl import train

    directory = Path(item["job"])
    directory.mkdir(parents=True, exist_ok=True)
    context = Context(directory)
    context.stop_after = item.get("stop_after")
    try:
        return {"finished": train(TrainTask.from_payload(item["payload"]), context)}
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def probe(name: str, of: dict[str, Any]) -> dict[str, Any]:
    from tests.unit.training import probes

    try:
        return {"found": getattr(probes, name)(**of)}
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    _prepare_environment()
    plan = Path(sys.argv[1])
    outcomes = [run(item) for item in json.loads(plan.read_text())]
    plan.with_suffix(".json.out").write_text(json.dumps(outcomes))
