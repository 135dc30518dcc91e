"""One contender of ``bench.training`` in a process of its own: trains when told to, stands still else.

``python -m bench.training_contender TASK.json``. It trains one step, says ``ready``, and then for each line
``go N`` on its standard input trains N steps and says how long they took, how many tokens they had, and how
fast a bare matrix product is in this process just before and after. At ``end`` it trains what is left,
saves its adapter, and says the evaluation loss, reckoned in float32 by the model's own forward pass.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.training.worker import _prepare_environment

#: Rows and columns of the matrices whose product is the peak: larger ones are no faster.
GEMM = 4096
WARM_UP = 1
RANK, ALPHA = 16, 32


def main() -> None:
    """Be the contender that the task names."""
    asked = json.loads(Path(sys.argv[1]).read_text())
    # The same threads for all, and none that spins while another contender has its turn.
    _prepare_environment()
    pace = Pace()
    adapter = _studio(asked, pace) if asked["contender"].startswith("studio") else _trl(asked, pace)
    say({"eval_loss": evaluation_loss(Path(asked["base"]), adapter, asked["eval_rows"])})


def say(value: dict[str, Any]) -> None:
    """One line for the benchmark; what libraries print goes to the standard error."""
    print(json.dumps(value), file=sys.__stdout__, flush=True)


class Own:
    """Seconds that our supervision and metrics cost: in the trainer's thread, and in threads of their own."""

    def __init__(self) -> None:
        self._spent = 0.0
        self._paused = 0.0

    def watch(self, owner: Any, *names: str) -> None:
        """Count the time in these methods of ``owner``."""
        for name in names:
            setattr(owner, name, self._timed(getattr(owner, name)))

    def pause(self, seconds: float) -> None:
        """Take out what a watched method spent waiting for us."""
        self._paused += seconds

    def seconds(self) -> float:
        """So far."""
        return self._spent - self._paused + _threads_seconds()

    def _timed(self, method: Any) -> Any:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self._spent += time.perf_counter() - began

        return timed


@dataclass
class Pace:
    """Lets a trainer go on for as many steps as were asked for, and measures them."""

    tokens: Callable[[], int] = lambda: 0
    own: Own = field(default_factory=Own)
    _left: int = WARM_UP
    _began: tuple[float, int, float] | None = None
    _before: float = 0.0
    _open: bool = True

    def step_done(self) -> None:
        """To be called after each step; returns when the next one may begin."""
        self._left -= 1
        if self._left or not self._open:
            return
        if self._began is None:
            say({"ready": True})
        else:
            self._tell()
        self._wait()

    def _tell(self) -> None:
        assert self._began is not None
        seconds, tokens = time.perf_counter() - self._began[0], self.tokens() - self._began[1]
        own = self.own.seconds() - self._began[2]
        gemm = [self._before, gemm_rate()]
        say({"seconds": seconds, "tokens": tokens, "gemm": gemm, "own_seconds": own})

    def _wait(self) -> None:
        line = sys.stdin.readline().split()
        if line[:1] != ["go"]:
            self._open = False
            return
        self._left, self._before = int(line[1]), gemm_rate()
        self._began = time.perf_counter(), self.tokens(), self.own.seconds()


def _threads_seconds() -> float:
    """Seconds of work of threads beside those that train (telemetry, TensorBoard)."""
    from studio.training.engines import crew

    ticks = os.sysconf("SC_CLK_TCK")
    found = 0.0
    for thread in threading.enumerate():
        path = Path(f"/proc/self/task/{thread.native_id}/stat")
        trains = thread is threading.main_thread() or thread.name.startswith(crew.NAME)
        if not trains and path.exists():
            values = path.read_text().rpartition(")")[2].split()
            found += (int(values[11]) + int(values[12])) / ticks
    return found


def gemm_rate() -> float:
    """Operations a second of a bare product of two bfloat16 matrices: the better of two."""
    import torch

    if not hasattr(gemm_rate, "matrices"):
        shape = (GEMM, GEMM)
        gemm_rate.matrices = [torch.randn(shape).bfloat16() for _ in range(3)]  # type: ignore[attr-defined]
    one, two, out = gemm_rate.matrices  # type: ignore[attr-defined]
    best = float("inf")
    for _ in range(2):
        began = time.perf_counter()
        torch.mm(one, two, out=out)
        best = min(best, time.perf_counter() - began)
    return 2 * GEMM**3 / best


def _studio(asked: dict[str, Any], pace: Pace) -> Path:
    """The studio's own worker on its own task, metrics, progress, TensorBoard and telemetry included."""
    from studio.jobs import JobContext
    from studio.training.engines import meter
    from studio.training.engines.trl import train
    from studio.training.task import TrainTask

    class Context(JobContext):
        def progress(self, phase: str, done: float, total: float, eta: float | None = None) -> None:
            super().progress(phase, done, total, eta)
            if phase == "training":
                began = time.perf_counter()
                pace.step_done()
                pace.own.pause(time.perf_counter() - began)

    plain = meter.Meter.__init__

    def watched(self: Any, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        pace.tokens = lambda: int(self.tokens)
        pace.own.watch(self, "on_step_begin", "on_step_end", "on_log")

    meter.Meter.__init__ = watched  # type: ignore[method-assign]
    folder = Path(asked["folder"])
    sys.stdout = sys.stderr
    task = TrainTask.from_payload(asked["task"])
    if not train(task, Context(folder)):
        raise RuntimeError("The run was stopped.")
    return task.output


def _trl(asked: dict[str, Any], pace: Pace) -> Path:
    """TRL's trainer as a person would call it; ``asked["options"]`` are what is not its default."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    sys.stdout = sys.stderr

    class Steps(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            pace.step_done()

    trainer = SFTTrainer(
        model=asked["base"],
        args=SFTConfig(
            output_dir=asked["folder"], report_to="none", use_cpu=True, disable_tqdm=True, **asked["options"]
        ),
        train_dataset=Dataset.from_list(asked["rows"]),
        processing_class=AutoTokenizer.from_pretrained(asked["base"]),
        peft_config=LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[Steps()],
    )
    pace.tokens = lambda: int(trainer._total_train_tokens)
    trainer.train()
    adapter = Path(asked["folder"]) / "adapter"
    trainer.model.save_pretrained(adapter)
    return adapter


def evaluation_loss(base: Path, adapter: Path, rows: list[dict[str, list[int]]]) -> float:
    """Mean negative log-likelihood of the rows' labels under ``base`` with ``adapter``, in float32."""
    import torch
    from peft import PeftModel
    from torch.nn import functional
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, str(adapter)).eval()
    total, count = 0.0, 0
    with torch.inference_mode():
        for row in rows:
            labels = torch.tensor(row["labels"])[1:]
            logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1]
            total += float(functional.cross_entropy(logits, labels, reduction="sum"))
            count += int((labels != -100).sum())
    return total / count


if __name__ == "__main__":
    main()
