"""LLaMA-Factory as a contender of ``bench.training``, where its environment is installed.

It is started as a person would start it and held by signals while the others have their turn; how far it is,
its own log file says. Steps are counted in whole ones, from one line of that file to a later one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from bench.training_contender import ALPHA, RANK, WARM_UP, evaluation_loss, gemm_rate
from bench.training_rows import Rows
from studio.core import Settings
from studio.training.engines.external.environments import Environment, child_environment, find

_LOG = "trainer_log.jsonl"
_LOOK_SECONDS = 0.005
_MOST_SECONDS = 1800
#: What the embedded model's own template puts before a conversation that has no system message.
_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def installed() -> Environment | None:
    """Its environment, or None where ``python -m studio engines install llamafactory`` was not run."""
    return find(Settings().home, "llamafactory")


class LlamaFactory:
    """A running ``llamafactory-cli train``; ``batch`` is (rows of a pass, passes of a step)."""

    def __init__(
        self,
        folder: Path,
        base: Path,
        rows: Rows,
        batch: tuple[int, int],
        steps: int,
        learning_rate: float,
    ) -> None:
        self._folder, self._base, self._rows = folder, base, rows
        self._batch = batch[0] * batch[1]
        _write_dataset(folder, rows)
        recipe = _recipe(folder, base, batch, steps, learning_rate)
        (folder / "recipe.yaml").write_text(json.dumps(recipe))
        self._output = (folder / "log.txt").open("w")
        found = installed()
        assert found is not None
        environment = {**child_environment(found.folder), "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        self._process = subprocess.Popen(
            [str(found.python), "-m", "llamafactory.launcher", str(folder / "recipe.yaml")],
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    def __enter__(self) -> LlamaFactory:
        self._until(WARM_UP)
        self._signal(signal.SIGSTOP)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)
        self._process.wait()
        self._output.close()

    def go(self, steps: int) -> dict[str, Any]:
        """Let it take ``steps`` steps."""
        before, done = gemm_rate(), self._steps()
        began = time.perf_counter()
        self._signal(signal.SIGCONT)
        self._until(done + steps)
        seconds = time.perf_counter() - began
        self._signal(signal.SIGSTOP)
        tokens = (self._steps() - done) * self._batch * self._rows.mean_length
        return {
            "seconds": seconds,
            "tokens": tokens,
            "gemm": (before + gemm_rate()) / 2,
            "own_seconds": 0.0,
        }

    def end(self) -> float:
        """Let it finish; the evaluation loss of its adapter, by the same reckoning as the others'."""
        self._signal(signal.SIGCONT)
        self._process.wait(timeout=_MOST_SECONDS)
        return evaluation_loss(self._base, self._folder / "out", self._rows.validation)

    def _steps(self) -> int:
        path = self._folder / "out" / _LOG
        return path.read_text().count("\n") if path.exists() else 0

    def _until(self, steps: int) -> None:
        deadline = time.monotonic() + _MOST_SECONDS
        while self._steps() < steps:
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = Path(self._output.name).read_text()[-3000:]
                raise RuntimeError(f"LLaMA-Factory ended before step {steps}:\n{log}")
            time.sleep(_LOOK_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        os.killpg(self._process.pid, number)


def _write_dataset(folder: Path, rows: Rows) -> None:
    said = {"role": "system", "content": _SYSTEM}
    made = [{"messages": [said, *row["messages"]]} for row in rows.messages]  # type: ignore[misc]
    (folder / "rows.json").write_text(json.dumps(made))
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    described = {
        "file_name": "rows.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {**tags, "system_tag": "system"},
    }
    (folder / "dataset_info.json").write_text(json.dumps({"rows": described}))


def _recipe(
    folder: Path, base: Path, batch: tuple[int, int], steps: int, learning_rate: float
) -> dict[str, Any]:
    """Its defaults but for what makes the contest fair, and bfloat16."""
    return {
        "stage": "sft",
        "do_train": True,
        "model_name_or_path": str(base),
        "finetuning_type": "lora",
        "lora_rank": RANK,
        "lora_alpha": ALPHA,
        "lora_target": "all",
        "dataset": "rows",
        "dataset_dir": str(folder),
        "template": "chatml",
        "cutoff_len": 1024,
        "output_dir": str(folder / "out"),
        "per_device_train_batch_size": batch[0],
        "gradient_accumulation_steps": batch[1],
        "learning_rate": learning_rate,
        "lr_scheduler_type": "linear",
        "max_steps": steps,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "bf16": True,
        "use_cpu": True,
        "seed": 0,
    }
