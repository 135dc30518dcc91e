"""What an engine measures, read from the TensorBoard files that it writes while it trains.

Both engines train with Hugging Face's trainer and let it write there: every value with its step and the time,
in full precision, flushed at once. A file is read on from where the last look ended; a record that is
still being written is left for the next look.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Names in the trainers' own logs, and the studio's.
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
}
_ONLY_IN_TRAINING = ("grad_norm", "learning_rate", "epoch")
TOKENS = "tokens"
PAUSE = "pause"
_ARGUMENTS = "args/text_summary"


@dataclass(frozen=True)
class Value:
    """One value: its step, when it was written (seconds since the epoch), and its name in the studio.

    ``tokens`` counts the tokens so far; ``pause`` are seconds that an evaluation took.
    """

    step: int
    at: float
    name: str
    value: float


class EventReader:
    """Reads a folder of event files as they grow; ``max_steps`` is the run's last step, 0 if not known."""

    def __init__(self, folder: Path) -> None:
        logging.getLogger("tensorboard").setLevel(logging.ERROR)
        self._folder = folder
        self._loaders: dict[Path, Any] = {}
        self.began: float | None = None
        self.max_steps = 0

    def read(self) -> list[Value]:
        """What was written since the last look, in order."""
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

        found: list[Value] = []
        for path in sorted(self._folder.rglob("events.out.tfevents.*")):
            if path not in self._loaders:
                self._loaders[path] = EventFileLoader(str(path))
            for event in self._loaders[path].Load():
                found += self._values(event)
        return found

    def _values(self, event: Any) -> list[Value]:
        if self.began is None and event.HasField("summary"):
            self.began = float(event.wall_time)
        found = []
        for one in event.summary.value:
            if one.tag == _ARGUMENTS:
                self._take_arguments(one)
            name = _named(one.tag)
            if name and one.tensor.float_val:
                found.append(Value(int(event.step), float(event.wall_time), name, one.tensor.float_val[0]))
        return found

    def _take_arguments(self, summary: Any) -> None:
        """The trainer's own settings, which it writes as a text at the start."""
        try:
            said = json.loads(summary.tensor.string_val[0])
        except (ValueError, IndexError):
            return
        if isinstance(said, dict) and isinstance(said.get("max_steps"), int):
            self.max_steps = max(said["max_steps"], 0)


def _named(tag: str) -> str:
    side, _, name = tag.partition("/")
    if tag == "train/num_input_tokens_seen":
        return TOKENS
    if tag == "eval/runtime":
        return PAUSE
    if side not in ("train", "eval") or name not in _NAMES:
        return ""
    return "" if side == "eval" and name in _ONLY_IN_TRAINING else f"{side}/{_NAMES[name]}"
