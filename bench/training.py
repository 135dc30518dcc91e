"""How fast the studio trains: our worker against TRL and LLaMA-Factory on the same rows, and against the
machine's own peak.

Every contender trains the embedded model with the same LoRA on the same rows, as many of them a step, in a
process of its own that stands still while the others have their turn. In each round each of them takes a
few steps; ratios are taken within a round, and the median of the rounds is told, because the speed of a
shared machine changes from minute to minute. At the end all are judged by the same evaluation. Run it as
``python -m bench.training``; ``--quick`` has fewer rounds, ``--only NAME ...`` fewer contenders.

Reckoning: a token costs 4N operations under LoRA: 2N forward, 2N backward for activations, nothing for the
frozen weights' gradients. N counts the weights of the linear layers; those of the head only for tokens
whose head is executed, which is where there is a label. Attention, norms and the adapters' own products
are work, but not counted. Executed tokens count once, whether or not they are recomputed; padding never.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report import Figure, report
from bench.training_contender import ALPHA, GEMM, RANK, WARM_UP
from bench.training_llamafactory import LlamaFactory, installed
from bench.training_processes import ddp_2_processes
from bench.training_rows import embedded_model, make_rows
from studio.training import Stage, parse_recipe
from studio.training.task import TrainTask

#: Rows in a step. TRL takes them as four times the eight that are its default.
BATCH, THEIRS = 32, 8
_RATE = 2e-4
_STEPS, _ROUNDS = 2, 6
#: Our worker, bare TRL, and TRL packed in bfloat16.
_CONTENDERS = ("studio", "trl", "trl_packed")
#: Our worker with attention as transformers has it; in a race of their own, because all at once need 24 GB.
_ATTENTIONS = ("studio_sdpa", "studio_eager")


@dataclass(frozen=True)
class Round:
    """What a contender did in one round; ``gemm`` are operations a second of the bare product beside it."""

    seconds: float
    tokens: int
    gemm: float
    own_seconds: float

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds


def main() -> None:
    """Measure and print ``training.*``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument(
        "--only", nargs="+", choices=(*_CONTENDERS, *_ATTENTIONS, "llamafactory"), help="these contenders"
    )
    asked = parser.parse_args()
    races = [asked.only] if asked.only else [_CONTENDERS, _ATTENTIONS]
    if asked.only is None and installed():
        races[0] = (*_CONTENDERS, "llamafactory")
    with tempfile.TemporaryDirectory() as folder:
        for number, names in enumerate(races):
            place = Path(folder) / f"race-{number}"
            place.mkdir()
            race = _Race(place, list(names), 2 if asked.quick else _ROUNDS)
            race.run()
            race.report()
        if not asked.only:
            alone = Path(folder) / "processes"
            alone.mkdir()
            report(ddp_2_processes(race.task, alone))


class _Race:
    def __init__(self, folder: Path, names: list[str], rounds: int) -> None:
        self._folder, self._names, self._rounds = folder, names, rounds
        self._base = embedded_model(folder)
        self._rows = make_rows(self._base, folder)
        self._found: dict[str, list[Round]] = {name: [] for name in names}
        self._losses: dict[str, float] = {}

    def run(self) -> None:
        """All rounds, the contenders by turns, each time in another order."""
        with ExitStack() as stack:
            contenders = {name: stack.enter_context(self._start(name)) for name in self._names}
            for number in range(self._rounds):
                turn = number % len(self._names)
                for name in self._names[turn:] + self._names[:turn]:
                    self._found[name].append(Round(**contenders[name].go(_STEPS)))
                    _show(number, name, self._found[name][-1])
            for name, contender in contenders.items():
                self._losses[name] = contender.end()

    def report(self) -> None:
        """Print the figures of those that took part."""
        print(self._terms(), flush=True)
        for name in self._names:
            if name != "studio":
                report(*self._against(name))
        if "studio" in self._names:
            report(*self._own())
        if set(_ATTENTIONS) <= set(self._names):
            report(self._sdpa())

    def _start(self, name: str) -> _Contender | LlamaFactory:
        folder = self._folder / name
        folder.mkdir()
        steps = WARM_UP + self._rounds * _STEPS
        if name == "llamafactory":
            return LlamaFactory(folder, self._base, self._rows, (THEIRS, BATCH // THEIRS), steps, _RATE)
        asked: dict[str, Any] = {"contender": name, "base": str(self._base), "folder": str(folder)}
        asked["eval_rows"] = self._rows.validation
        if name.startswith("studio"):
            asked["task"] = self.task(name, folder, steps).payload()
        else:
            asked |= {"rows": self._rows.train, "options": self._options(name, steps)}
        path = folder / "asked.json"
        path.write_text(json.dumps(asked))
        return _Contender(name, path)

    def task(self, name: str, folder: Path, steps: int) -> TrainTask:
        """Our worker's task; after an underscore ``name`` says which attention it takes."""
        attention = name.partition("_")[2] or "auto"
        recipe = {
            "model": "m",
            "dataset": "d",
            "lora": {"r": RANK, "alpha": ALPHA},
            "batch_size": BATCH,
            "learning_rate": _RATE,
            "scheduler": "linear",
            "warmup_ratio": 0.0,
            "max_steps": steps,
            "max_length": 1024,
            "save_every": 10_000,
            "attention": attention,
        }
        made = parse_recipe(Stage.SFT, json.dumps(recipe))
        return TrainTask(name, made, folder, self._base, None, self._rows.train_file, self._rows.no_file)

    def _options(self, name: str, steps: int) -> dict[str, Any]:
        same = {"learning_rate": _RATE, "lr_scheduler_type": "linear", "max_steps": steps, "seed": 0}
        same |= {"gradient_accumulation_steps": BATCH // THEIRS}
        if name == "trl":
            return same
        # As many tokens as in eight rows, in one sequence; and no recomputation, which would slow it.
        length = THEIRS * self._rows.mean_length
        return same | {
            "packing": True,
            "max_length": length,
            "per_device_train_batch_size": 1,
            "gradient_checkpointing": False,
            "model_init_kwargs": {"dtype": "bfloat16"},
        }

    def _against(self, name: str) -> Iterator[Figure]:
        goals = {"trl": ">= 3", "trl_packed": ">= 2", "llamafactory": ">= 1.5"}
        theirs = self._found[name]
        if "studio" not in self._names:
            return
        ours = self._found["studio"]
        ratio = statistics.median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True))
        gap = self._losses["studio"] / self._losses[name] - 1
        peer = (
            f"{name}, {_median(theirs):.0f} tokens/s where our worker has {_median(ours):.0f}; "
            f"evaluation loss {self._losses[name]:.4f}, ours {self._losses['studio']:.4f} ({gap:+.2%})"
        )
        yield Figure(f"training.vs_{name.removeprefix('studio_')}", ratio, "x", goals.get(name, ""), peer)
        if name in goals:
            what = f"training.loss_gap_{name}"
            yield Figure(what, abs(gap), "share", "<= 0.01", f"evaluation loss of {name}, same rows")

    def _own(self) -> Iterator[Figure]:
        ours = self._found["studio"]
        used = [self._flops(one) / one.seconds / one.gemm for one in ours]
        peer = f"a bare bf16 product of {GEMM}^3 in the same process, before and after each round: "
        peer += f"{statistics.median(one.gemm for one in ours) / 1e9:.0f} GFLOP/s, where our worker has "
        peer += f"{statistics.median(self._flops(one) / one.seconds for one in ours) / 1e9:.0f}"
        peer += f"; shares of the rounds {_span(used)}"
        yield Figure("training.mfu", statistics.median(used), "share", ">= 0.40", peer)
        own = statistics.median(one.own_seconds / one.seconds for one in ours)
        what = "time in callbacks, metrics, progress, TensorBoard and telemetry, of all time in steps"
        yield Figure("training.overhead", own, "share", "<= 0.01", what)

    def _sdpa(self) -> Figure:
        sdpa, eager = (self._found[name] for name in _ATTENTIONS)
        ratio = statistics.median(a.rate / b.rate for a, b in zip(sdpa, eager, strict=True))
        peer = f"our worker with attention: eager, {_median(eager):.0f} tokens/s"
        return Figure("training.sdpa_vs_eager", ratio, "x", "", peer)

    def _flops(self, one: Round) -> float:
        shape, executed = self._rows.shape, one.tokens - _STEPS * BATCH
        labels = one.tokens * self._rows.label_share
        return 4 * (shape.body * executed + shape.head * labels)

    def _terms(self) -> str:
        shape = self._rows.shape
        return (
            f"GEMM {GEMM} x {GEMM} x {GEMM} bf16; 4N operations a token, N = {shape.body:,} in the body for "
            f"every executed token (a row's last one is not executed) and {shape.head:,} in the head for "
            f"every label ({self._rows.label_share:.1%} of the tokens); {len(self._rows.train)} rows of "
            f"{self._rows.mean_length} tokens on average, {BATCH} a step, LoRA r={RANK} on linear layers; "
            f"{self._rounds} rounds of {_STEPS} steps, in the order {', '.join(self._names)}, turned by one "
            "each round"
        )


class _Contender:
    """A process of ``bench.training_contender``."""

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._log = (path.parent / "log.txt").open("w")
        command = [sys.executable, "-m", "bench.training_contender", str(path)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )

    def __enter__(self) -> _Contender:
        self._heard()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def go(self, steps: int) -> dict[str, Any]:
        """Let it take ``steps`` steps."""
        self._say(f"go {steps}")
        found = self._heard()
        return {**found, "gemm": statistics.mean(found["gemm"])}

    def end(self) -> float:
        """Let it finish; its evaluation loss."""
        self._say("end")
        return float(self._heard()["eval_loss"])

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _heard(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            log = Path(self._log.name).read_text()[-3000:]
            raise RuntimeError(f"{self._name} ended too early:\n{log}")
        found: dict[str, Any] = json.loads(line)
        return found


def _show(number: int, name: str, one: Round) -> None:
    said = f"round {number + 1}: {name} {one.rate:.0f} tokens/s, bare product {one.gemm / 1e9:.0f} GFLOP/s"
    print(said, file=sys.stderr, flush=True)


def _median(rounds: list[Round]) -> float:
    return statistics.median(one.rate for one in rounds)


def _span(values: list[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}"


if __name__ == "__main__":
    main()
