"""An engine's measurements, written down as the studio's own worker would: points, TensorBoard, progress.

The invariants: a point is written once, at the engine's own step; points of a resumed run go on from the
checkpoint's step, time and tokens. Time counts training only: what an evaluation took is taken off.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from studio.core import StudioError
from studio.jobs import JobContext
from studio.training.engines.external.events import PAUSE, TOKENS, EventReader, Value
from studio.training.engines.verdict import Verdict
from studio.training.metrics import MetricsWriter
from studio.training.task import TENSORBOARD, TrainTask

#: Values of one step are written by the engine one after the other; so long after the last one they are
#: all there.
_SETTLED_SECONDS = 0.5
#: What the log says of each point.
_SAID = ("train/loss", "eval/loss", "train/rewards_accuracy", "eval/rewards_accuracy", "train/learning_rate")


class Readings:
    """Takes over what an engine writes; ``counted`` is what the checkpoint that it goes on from counted.

    Args:
        task: The run.
        context: Its job.
        events: The folder of the engine's event files.
        counted: What was counted up to the checkpoint; empty at the beginning.
        laps: How many epochs stand in the file of rows.
    """

    def __init__(
        self, task: TrainTask, context: JobContext, events: Path, counted: dict[str, Any], laps: int
    ) -> None:
        self._context = context
        self._reader = EventReader(events)
        self._laps = laps
        self._log_every = task.recipe.log_every
        self._first = int(counted.get("step", 0))
        self._resumed = bool(counted)
        self._seconds_before = float(counted.get("seconds", 0.0))
        self._metrics = MetricsWriter(task.metrics)
        self._board = _Board(task.directory / TENSORBOARD)
        self._held: list[Value] = []
        self._written: set[tuple[int, str]] = set()
        self._paused = 0.0
        self._previous = (self._seconds_before, int(counted.get("tokens", 0)))
        self.verdict = Verdict.of(task.recipe, counted)
        self.step = self._first
        self.diverged_at: int | None = None
        self.seconds, self.tokens = self._previous

    def take(self, *, everything: bool = False) -> None:
        """Write the points that are whole by now; with ``everything`` those that are there.

        Raises:
            StudioError: A loss is no number any more.
        """
        self._held += self._reader.read()
        now = time.time()
        ready = [one for one in self._held if everything or now - one.at > _SETTLED_SECONDS]
        self._held = self._held[len(ready) :]
        for step, values in groupby(ready, key=lambda one: one.step):
            self._take_step(step, list(values))

    @property
    def max_steps(self) -> int:
        """The run's last step, 0 while it is not known."""
        return self._reader.max_steps

    @property
    def under_way(self) -> bool:
        """Whether there may be something to save: steps were made, or they are not told one by one."""
        return self._reader.began is not None and (self._log_every > 1 or self.step > self._first)

    def sync(self) -> None:
        """Return when every point so far is on disk."""
        self._metrics.sync()

    def close(self) -> None:
        """Sync and close the files."""
        self._metrics.close()
        self._board.close()

    def _take_step(self, step: int, values: Iterable[Value]) -> None:
        found: dict[str, float] = {}
        for one in values:
            fresh = (step, one.name) not in self._written
            known = step < self._first or (self._resumed and step == self._first)
            if not fresh or known:
                continue
            self._written.add((step, one.name))
            self._count(one)
            if one.name not in (TOKENS, PAUSE):
                found[one.name] = one.value
        if found:
            self._point(step, found)

    def _count(self, one: Value) -> None:
        if one.name == TOKENS:
            self.tokens = max(self.tokens, int(one.value))
        elif one.name == PAUSE:
            self._paused += one.value
        elif one.name == "train/loss":
            began = self._reader.began or one.at
            self.seconds = max(self.seconds, self._seconds_before + one.at - began - self._paused)

    def _point(self, step: int, found: dict[str, float]) -> None:
        self._require_finite(step, found)
        if "train/epoch" in found:
            if "train/loss" not in found:
                del found["train/epoch"]  # It stands beside evaluations too.
            else:
                found["train/epoch"] *= self._laps
        if "train/loss" in found:
            self._measure_speed(found)
            self.step = max(self.step, step)
            self._context.progress("training", step, self.max_steps, self._time_left(step))
        if "eval/loss" in found and step > 0:
            self.verdict.take(step, found["eval/loss"])
        if not found:
            return
        self._metrics.append(step, self.seconds, self.tokens, found)
        self._board.add(step, found)
        said = (f"{name} {found[name]:.4g}" for name in _SAID if name in found)
        print(f"step {step}: {', '.join(said)}", flush=True)

    def _require_finite(self, step: int, found: dict[str, float]) -> None:
        for name, what in (("train/loss", "loss"), ("eval/loss", "evaluation loss")):
            if not math.isfinite(found.get(name, 0.0)):
                self.diverged_at = step
                raise StudioError(
                    f"The {what} is {found[name]} at step {step}: training has diverged.",
                    "Lower learning_rate, or look for damaged rows in the dataset.",
                )

    def _measure_speed(self, found: dict[str, float]) -> None:
        seconds, tokens = self._previous
        if self.seconds > seconds and self.tokens > tokens:
            found["train/tokens_per_second"] = (self.tokens - tokens) / (self.seconds - seconds)
        self._previous = (self.seconds, self.tokens)

    def _time_left(self, step: int) -> float | None:
        done = step - self._first
        if done <= 0 or not self.max_steps:
            return None
        return (self.seconds - self._seconds_before) / done * max(self.max_steps - step, 0)


class _Board:
    """The same points for TensorBoard, under the studio's names."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventFileWriter(str(folder), flush_secs=2)

    def add(self, step: int, values: dict[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(tag=name, simple_value=one) for name, one in values.items()])
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        self._writer.close()
