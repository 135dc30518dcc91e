"""An engine's checkpoints, taken over as the studio's own: moved, sealed, and thinned out.

Hugging Face's trainer writes ``checkpoint-10`` in place, its state file last. Once that can be read the
folder is whole; it is then moved by rename to ``step-000010`` and sealed like any other checkpoint. The
engine does not need it again: a resumed run is given the folder by its path.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.core import read_json
from studio.training import checkpoints
from studio.training.engines.external.readings import Readings
from studio.training.engines.verdict import Verdict
from studio.training.metrics import read_points
from studio.training.task import TrainTask

_STATE = "trainer_state.json"
#: What stands in a checkpoint that is being written on a signal.
_UNFINISHED = "checkpoint-is-incomplete.txt"
#: Points of each metric: step, value, seconds, tokens.
Columns = dict[str, tuple[tuple[int, float, float, int], ...]]
_PREFIX = "checkpoint-"


class Shelf:
    """Watches an engine's output folder for checkpoints."""

    def __init__(self, task: TrainTask, output: Path, readings: Readings) -> None:
        self._task = task
        self._output = output
        self._readings = readings

    def take(self) -> int:
        """Take over every checkpoint that is whole; returns how many there were."""
        found = [path for path in self._output.glob(f"{_PREFIX}*") if _whole(path)]
        for path in sorted(found, key=_step):
            self._adopt(path)
        return len(found)

    def _adopt(self, path: Path) -> None:
        step = _step(path)
        # The evaluation of this very step was written before the checkpoint.
        self._readings.take(everything=True)
        target = checkpoints.begin(self._task.checkpoints, step)
        path.rename(target)
        self._readings.sync()
        checkpoints.seal(target, _counted(self._task, step))
        checkpoints.prune(self._task.checkpoints, self._task.recipe.keep_checkpoints)
        print(f"step {step}: checkpoint", flush=True)


def salvage(task: TrainTask, output: Path, before: int | None = None) -> None:
    """Take over what an attempt that ended early left lying; its points say what it had counted.

    With ``before`` only what was saved before that step: from there on the weights are worth nothing.
    """
    newest = checkpoints.newest(task.checkpoints)
    done = checkpoints.step_of(newest) if newest else 0
    for path in sorted(output.glob(f"{_PREFIX}*"), key=lambda path: path.name):
        if not _whole(path) or _step(path) <= done or (before is not None and _step(path) >= before):
            continue
        target = checkpoints.begin(task.checkpoints, _step(path))
        path.rename(target)
        checkpoints.seal(target, _counted(task, _step(target)))
        print(f"step {_step(target)}: checkpoint, left by an attempt that ended early", flush=True)


def _counted(task: TrainTask, step: int) -> dict[str, Any]:
    """What a checkpoint has to remember, by the points up to its step: later ones may be there already."""
    seconds, tokens = 0.0, 0
    verdict = Verdict.of(task.recipe, {})
    for columns in _chunks(task):
        for at, _, spent, seen in columns.get("train/loss", ()):
            if at <= step:
                seconds, tokens = spent, seen
        for at, loss, *_ in columns.get("eval/loss", ()):
            if 0 < at <= step:
                verdict.take(at, loss)
    return {"step": step, "tokens": tokens, "seconds": seconds, **verdict.counted()}


def _chunks(task: TrainTask) -> Iterator[Columns]:
    """The points of a run's metrics file, some at a time."""
    cursor, epoch = 0, -1
    while True:
        points = read_points(task.metrics, task.run_id, cursor, epoch)
        if points.cursor == cursor:
            return
        cursor, epoch = points.cursor, points.epoch
        yield points.columns


def _whole(path: Path) -> bool:
    number = path.name.removeprefix(_PREFIX)
    if not number.isdecimal() or (path / _UNFINISHED).exists():
        return False
    return _read(path / _STATE).get("global_step") == int(number)


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _read(path: Path) -> dict[str, object]:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}  # Half of it is there.
    return found if isinstance(found, dict) else {}
