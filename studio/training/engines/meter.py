"""Curves, progress and stop requests: what happens around each step.

Losses and rewards are averaged over the steps since the last point. The open average goes into every
checkpoint, so that a resumed curve has the same points, at the same steps, as one that was never
interrupted. Time and tokens count training only: a pause between two attempts, evaluation and saving are
not in them.

The meter also decides what becomes of an evaluation: which checkpoint is the best so far, and whether the
run ends early because the loss has not fallen for a while. Of several processes every one has a meter,
rank 0's alone writes, and all of them decide alike.
"""

from __future__ import annotations

import math
import time
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from transformers import TrainerCallback

from studio.core import StudioError
from studio.jobs import JobContext
from studio.training.engines import ranks
from studio.training.engines.verdict import Verdict
from studio.training.metrics import MetricsWriter
from studio.training.recipes import Recipe
from studio.training.task import TENSORBOARD, TrainTask

#: Names of the trainers' own log entries, and ours.
_NAMES = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "epoch": "epoch",
    "mean_token_accuracy": "token_accuracy",
    "rewards/chosen": "rewards_chosen",
    "rewards/rejected": "rewards_rejected",
    "rewards/margins": "rewards_margin",
    "rewards/accuracies": "rewards_accuracy",
    "logps/chosen": "logps_chosen",
    "logps/rejected": "logps_rejected",
    "kl": "kl",
    "accuracy": "rewards_accuracy",
    "margin": "rewards_margin",
    "mean_reward": "rewards_mean",
}
#: What the log says of each point.
_SAID = (
    "train/loss",
    "eval/loss",
    "train/rewards_accuracy",
    "eval/rewards_accuracy",
    "train/learning_rate",
    "train/tokens_per_second",
)
#: Said as they stand at a point; everything else is the mean since the last one.
_MOMENTARY = ("learning_rate", "epoch")


class Stopped(Exception):
    """Someone asked the run to stop while it was evaluating or scoring the reference."""


class _Files:
    """Where rank 0 writes the points: the run's own file, and one for TensorBoard."""

    def __init__(self, task: TrainTask, step: int) -> None:
        self.writer = MetricsWriter(task.metrics)
        self.board = SummaryWriter(str(task.directory / TENSORBOARD), purge_step=step + 1, flush_secs=2)

    def close(self) -> None:
        self.writer.close()
        self.board.close()


class Meter(TrainerCallback):  # type: ignore[misc]
    """The trainer's callback; ``trainer`` is set once it exists."""

    def __init__(self, task: TrainTask, context: JobContext, counted: dict[str, Any]) -> None:
        self.trainer: Any = None
        self.stopped = False
        self._recipe: Recipe = task.recipe
        self._context = context
        step = int(counted.get("step", -1))
        self._files = _Files(task, step) if ranks.first() else None
        self._window: dict[str, float] = dict(counted.get("window", {}))
        self._seconds = float(counted.get("seconds", 0.0))
        self._tokens_before = int(counted.get("tokens", 0))
        self._step_began = 0.0
        self._began = (0, 0.0)
        self._evaluated = 0
        self.verdict = Verdict.of(task.recipe, counted)

    @property
    def tokens(self) -> int:
        """Tokens trained on so far, padding not counted."""
        return self._tokens_before + int(self.trainer._total_train_tokens)

    @property
    def seconds(self) -> float:
        """Seconds of work so far."""
        return self._seconds

    def counted(self, step: int) -> dict[str, Any]:
        """What a checkpoint has to remember; every point up to it is on disk when this returns."""
        if self._files:
            self._files.writer.sync()
        now = {"step": step, "tokens": self.tokens, "seconds": self._seconds, "window": self._window}
        return {**now, **self.verdict.counted()}

    def close(self) -> None:
        """Sync and close the files."""
        if self._files:
            self._files.close()

    def reference_progress(self, done: int, total: int) -> None:
        """Say how many rows the reference has scored; leave it if someone asked to stop."""
        self._context.progress("scoring the reference", done, total)
        if self._stop_asked():
            self._stop()

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Start the clock that the time left is told by."""
        self._began = (state.global_step, time.monotonic())

    def on_step_begin(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        """Start the clock of the step."""
        self._step_began = time.monotonic()

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop the clock, say how far we are, and ask for what is due after this step."""
        spent = time.monotonic() - self._step_began
        self._seconds += spent
        self._window["seconds"] = self._window.get("seconds", 0.0) + spent
        step, last = state.global_step, state.global_step >= state.max_steps
        self._context.progress("training", step, state.max_steps, self._time_left(state))
        control.should_log = True
        due = bool(self._recipe.eval_every) and step % self._recipe.eval_every == 0
        control.should_evaluate = self.trainer.eval_dataset is not None and (due or last)
        control.should_save = step % self._recipe.save_every == 0 and not last
        if not last and self._stop_asked():
            self.stopped = control.should_save = control.should_training_stop = True

    def on_prediction_step(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Say how far the evaluation is; leave it if someone asked to stop."""
        self._evaluated += 1
        batches = math.ceil(
            len(self.trainer.eval_dataset) / (args.per_device_eval_batch_size * ranks.world())
        )
        self._context.progress("evaluating", self._evaluated, batches)
        if state.global_step < state.max_steps and self._stop_asked():
            self._stop()

    def on_evaluate(self, _args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        """Keep a checkpoint of the best so far; end where the loss has not fallen for too long."""
        if state.global_step == 0 or "eval_loss" not in metrics:
            return
        _require_finite(metrics["eval_loss"], state.global_step, "evaluation loss")
        better = self.verdict.take(state.global_step, metrics["eval_loss"])
        last = state.global_step >= state.max_steps
        if better and self._recipe.keep_best and not last:
            control.should_save = True
        if self.verdict.over and not last:
            print(f"step {state.global_step}: {self.verdict.sentence}", flush=True)
            control.should_training_stop = True

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, float], **_: Any) -> None:
        """Take one step's values into the open average, or write an evaluation."""
        state.log_history.clear()
        if "eval_loss" in logs:
            self._evaluated = 0
            values = {f"eval_{name}": f"eval/{ours}" for name, ours in _NAMES.items() if name != "epoch"}
            self._write(
                state.global_step, {ours: logs[name] for name, ours in values.items() if name in logs}
            )
        elif "loss" in logs:
            self._take(state.global_step, logs)
            if state.global_step % self._recipe.log_every == 0 or state.global_step >= state.max_steps:
                self._point(state.global_step, logs)

    def _stop_asked(self) -> bool:
        return bool(ranks.agreed(ranks.first() and self._context.stop_requested()))

    def _stop(self) -> None:
        self.stopped = True
        raise Stopped

    def _take(self, step: int, logs: dict[str, float]) -> None:
        _require_finite(logs["loss"], step, "loss")
        self._window["steps"] = self._window.get("steps", 0) + 1
        self._window["tokens"] = self.tokens - self._window.get("tokens_before", 0)
        for name, ours in _NAMES.items():
            if name in logs and ours not in _MOMENTARY:
                self._window[f"sum/{ours}"] = self._window.get(f"sum/{ours}", 0.0) + logs[name]

    def _point(self, step: int, logs: dict[str, float]) -> None:
        window = self._window
        values = {
            f"train/{name.removeprefix('sum/')}": total / window["steps"]
            for name, total in window.items()
            if name.startswith("sum/")
        }
        values |= {f"train/{name}": logs[name] for name in _MOMENTARY if name in logs}
        values["train/tokens_per_second"] = window["tokens"] / max(window.get("seconds", 0.0), 1e-9)
        self._window = {"tokens_before": self.tokens}
        self._write(step, values)

    def _write(self, step: int, values: dict[str, float]) -> None:
        if self._files is None:
            return
        self._files.writer.append(step, self._seconds, self.tokens, values)
        for name, value in values.items():
            self._files.board.add_scalar(name, value, step)
        said = (f"{name} {values[name]:.4g}" for name in _SAID if name in values)
        print(f"step {step}: {', '.join(said)}", flush=True)

    def _time_left(self, state: Any) -> float | None:
        first, began = self._began
        done = state.global_step - first
        return (time.monotonic() - began) / done * (state.max_steps - state.global_step) if done else None


def _require_finite(loss: float, step: int, what: str) -> None:
    if not math.isfinite(loss):
        raise StudioError(
            f"The {what} is {loss} at step {step}: training has diverged.",
            "Lower learning_rate, or look for damaged rows in the dataset.",
        )


def remove_own_reports(trainer: Any) -> None:
    """Take out the callbacks that print; the log then holds what a person would look for."""
    from transformers import PrinterCallback, ProgressCallback

    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
