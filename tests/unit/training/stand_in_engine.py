"""Stands in for an engine: reads its settings, writes what it would write, trains nothing.

It is started as an engine's interpreter is (``python -m MODULE settings.yaml``) and speaks the same files and
signals. Its seed says what goes wrong: 3 loses its loss, 7 exits with 7, 11 evaluates best in the middle.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from safetensors.numpy import save_file
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.summary.writer.event_file_writer import EventFileWriter

_STEP_SECONDS = 0.05


class StandIn:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.output = Path(settings["output_dir"])
        self.seed = settings["seed"]
        self.rows = self._rows()
        self.writer = EventFileWriter(os.environ["TENSORBOARD_LOGGING_DIR"])
        self.asked = False
        checkpoint = settings.get("resume_from_checkpoint")
        state = Path(checkpoint, "trainer_state.json") if checkpoint else None
        self.first = json.loads(state.read_text())["global_step"] if state else 0

    def _rows(self) -> int:
        folder = self.settings.get("dataset_dir")
        path = Path(folder, "train.jsonl") if folder else Path(self.settings["datasets"][0]["path"])
        return len(path.read_text().splitlines())

    def run(self) -> int:
        if self.settings.get("enable_jit_checkpoint"):
            signal.signal(signal.SIGTERM, lambda *_: setattr(self, "asked", True))
        last = self.settings["max_steps"]
        said = TensorProto(dtype="DT_STRING", string_val=[json.dumps({"max_steps": last}).encode()])
        self._write(self.first, [Summary.Value(tag="args/text_summary", tensor=said)])
        if self.first == 0:
            self._evaluate(0)
        for step in range(self.first + 1, last + 1):
            time.sleep(_STEP_SECONDS)
            loss = float("nan") if self.seed == 3 and step == 3 else 3.0 / step
            self._log(step, {"train/loss": loss, "train/grad_norm": 1.0, "train/epoch": step / 10})
            self._log(step, {"train/num_input_tokens_seen": 100.0 * step})
            if self.seed == 7 and step == 3:
                sys.stderr.write("something is amiss\n")
                return 7
            if step % (self.settings.get("eval_steps") or last) == 0:
                self._evaluate(step)
            now = self.output / "axolotl_checkpoint.save"
            if step % self.settings["save_steps"] == 0 or step == last or self.asked or now.exists():
                self._save(self.output / f"checkpoint-{step}", step)
                now.unlink(missing_ok=True)
            if self.asked:
                break
        self._weights(self.output, last)
        return 0

    def _evaluate(self, step: int) -> None:
        loss = abs(step - 4) + 1.0 if self.seed == 11 else 5.0 - step / 10
        self._log(step, {"eval/loss": loss, "eval/runtime": 0.01})

    def _log(self, step: int, values: dict[str, float]) -> None:
        tensors = {
            tag: TensorProto(dtype="DT_FLOAT", float_val=[value], tensor_shape={})
            for tag, value in values.items()
        }
        self._write(step, [Summary.Value(tag=tag, tensor=tensor) for tag, tensor in tensors.items()])

    def _write(self, step: int, values: list[Any]) -> None:
        for value in values:
            self.writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=[value])))
        self.writer.flush()

    def _save(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._weights(folder, step)
        (folder / "optimizer.pt").write_bytes(b"momenta")
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))

    def _weights(self, folder: Path, step: int) -> None:
        save_file({"lora_A": np.full((2, 3), step, np.float32)}, folder / "adapter_model.safetensors")
        config = {"peft_type": "LORA", "r": 2, "base_model_name_or_path": "elsewhere"}
        (folder / "adapter_config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    sys.exit(StandIn(YAML(typ="safe", pure=True).load(Path(sys.argv[-1]).read_text())).run())
