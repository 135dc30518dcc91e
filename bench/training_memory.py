"""How well the studio predicts what a run needs: counted and calibrated against measured peaks.

Random models of several shapes are trained for two steps each, every one in a process of its own by the
real worker. Some runs fit the calibration as past runs of a machine would; the others are held out:
other hidden sizes, depths, vocabularies, batches, lengths and recipes. ``training.memory_error`` is the
mean over the held-out runs of |predicted - measured| / measured; the peer says the worst of them, and what
the counts alone (without calibration) are off by. Run it as ``python -m bench.training_memory``.

Two facts are printed beside it, measured on one shape: what LoRA needs of the memory of full fine-tuning, and
what recomputing activations saves. They have no goal that a machine could miss; theirs are what anybody would
expect.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.report import Figure, report
from studio.training import Stage, parse_recipe
from studio.training.memory import Calibration, Device, Observation, count, fit, read_shape, read_usage
from studio.training.task import TrainTask
from tests.tinymodel import CHATML, write_tokenizer

_SECONDS = 1800
_STEPS = 2
#: Enough that nothing is refused; only the counted parts matter here.
_CPU = Device("cpu", 1 << 50, 1 << 50)

_MODEL = """
import json, sys, torch
from transformers import LlamaConfig, LlamaForCausalLM
shape = json.loads(sys.argv[2])
torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(**shape, bos_token_id=1, eos_token_id=2, pad_token_id=0))
model.to(torch.bfloat16).save_pretrained(sys.argv[1])
"""


@dataclass(frozen=True)
class Case:
    """One run: a shape (hidden, layers, heads, kv heads, intermediate, vocabulary, tied), and a recipe."""

    name: str
    shape: tuple[int, int, int, int, int, int, bool]
    stage: Stage = Stage.CPT
    batch: int = 4
    length: int = 512
    recipe: dict[str, object] = field(default_factory=dict)

    def text(self) -> str:
        """The recipe as JSON, which is YAML."""
        values = {
            "model": "m",
            "dataset": "d",
            "batch_size": self.batch,
            "max_length": self.length,
            "max_steps": _STEPS,
            "learning_rate": 1e-4,
            **self.recipe,
        }
        return json.dumps(values)


@dataclass(frozen=True)
class Measured:
    """A case with its counted parts and its measured peak, in bytes."""

    case: Case
    counted: dict[str, int]
    peak: int

    @property
    def observation(self) -> Observation:
        """What the calibration learns from it."""
        return Observation(self.counted, self.peak)

    def error(self, calibration: Calibration) -> float:
        """How far the prediction is from the peak, as a share of the peak; negative where it is too low."""
        return calibration.total(self.counted) / self.peak - 1


_TINY = (64, 4, 4, 2, 192, 512, True)
_SMALL = (256, 8, 4, 4, 704, 8192, True)
_WIDE = (512, 6, 8, 2, 1408, 32000, False)
_LARGE = (576, 30, 9, 3, 1536, 49152, True)
_MIDDLE = (384, 12, 6, 2, 1024, 16000, True)
_DEEP = (448, 20, 7, 7, 1216, 24000, False)
_BROAD = (640, 16, 10, 2, 1728, 36000, True)
_PLAIN = (320, 14, 5, 5, 896, 20000, False)

FIT = (
    Case("tiny lora", _TINY, batch=2, length=128),
    Case("small lora", _SMALL, batch=8, length=512),
    Case("small full", _SMALL, recipe={"method": "full"}),
    Case("wide lora", _WIDE, batch=4, length=512),
    Case("wide full, recomputed", _WIDE, recipe={"method": "full", "recompute": True}),
    Case("large lora, short", _LARGE, batch=2, length=256),
    Case("large lora, recomputed", _LARGE, batch=4, length=512, recipe={"recompute": True}),
    Case("wide dpo", _WIDE, Stage.DPO, batch=2, length=384),
    Case("deep lora, attention only", _DEEP, batch=4, length=512, recipe={"lora": {"targets": "attention"}}),
)
HELD_OUT = (
    Case("middle lora", _MIDDLE, batch=4, length=768),
    Case("middle full", _MIDDLE, batch=2, length=512, recipe={"method": "full"}),
    Case(
        "middle lora, attention only", _MIDDLE, batch=6, length=512, recipe={"lora": {"targets": "attention"}}
    ),
    Case("deep lora, short rows", _DEEP, batch=12, length=192),
    Case("deep lora, recomputed", _DEEP, batch=8, length=512, recipe={"recompute": True}),
    Case("large sft", _LARGE, Stage.SFT, batch=4, length=384),
    Case("middle dpo", _MIDDLE, Stage.DPO, batch=4, length=512),
    Case("large full", _LARGE, batch=2, length=256, recipe={"method": "full"}),
    Case("broad lora", _BROAD, batch=3, length=640),
    Case(
        "broad lora, attention only", _BROAD, batch=4, length=512, recipe={"lora": {"targets": "attention"}}
    ),
    Case("broad qlora", _BROAD, batch=3, length=512, recipe={"method": "qlora"}),
    Case("plain full, accumulated", _PLAIN, batch=2, recipe={"method": "full", "gradient_accumulation": 2}),
    Case("plain lora, dropout", _PLAIN, batch=4, length=512, recipe={"lora": {"dropout": 0.1}}),
    Case(
        "plain sft, torch's attention", _PLAIN, Stage.SFT, batch=4, length=512, recipe={"attention": "sdpa"}
    ),
)
_FACT = Case("fact", _LARGE, batch=4, length=512)


def main() -> None:
    """Measure and print the error and the two facts; ``measured`` lines tell each run."""
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder))
        taught = [bench.run(case) for case in FIT]
        held_out = [bench.run(case) for case in HELD_OUT]
        calibration = fit([one.observation for one in taught])
        for one in (*taught, *held_out):
            print(_told(one, calibration), file=sys.stderr, flush=True)
        report(_error(held_out, calibration), *_facts(bench))


def _error(held_out: list[Measured], calibration: Calibration) -> Figure:
    errors = [abs(one.error(calibration)) for one in held_out]
    plain = statistics.mean(abs(one.error(Calibration())) for one in held_out)
    worst = max(held_out, key=lambda one: abs(one.error(calibration)))
    peer = (
        f"measured peak of {len(held_out)} held-out runs, calibrated on {calibration.observed} others; worst "
        f"{worst.error(calibration):+.0%} ({worst.case.name}); counted without calibration {plain:.0%}"
    )
    return Figure("training.memory_error", statistics.mean(errors), "share", "<= 0.10", peer)


def _facts(bench: _Bench) -> tuple[Figure, Figure]:
    lora = bench.run(_FACT).peak
    full = bench.run(replace(_FACT, recipe={"method": "full"})).peak
    again = bench.run(replace(_FACT, recipe={"recompute": True})).peak
    shape = f"135M shape, 4 rows of {_FACT.length} tokens"
    return (
        Figure(
            "training.memory_lora_vs_full",
            lora / full,
            "x",
            "<= 1",
            f"full fine-tuning of the {shape}: {full / 1e9:.2f} GB; LoRA {lora / 1e9:.2f} GB",
        ),
        Figure(
            "training.memory_recompute_saving",
            1 - again / lora,
            "share",
            ">= 0",
            f"LoRA on the {shape} without recomputing: {lora / 1e9:.2f} GB; with it {again / 1e9:.2f} GB",
        ),
    )


def _told(one: Measured, calibration: Calibration) -> str:
    return json.dumps(
        {
            "measured": one.case.name,
            "peak_mb": round(one.peak / 1e6),
            "error": round(one.error(calibration), 3),
            "uncalibrated": round(one.error(Calibration()), 3),
            "counted_mb": {name: round(size / 1e6) for name, size in one.counted.items()},
        }
    )


class _Bench:
    """Makes models and rows, and runs workers; ``folder`` is where all of it goes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._known: dict[tuple[object, ...], Measured] = {}

    def run(self, case: Case) -> Measured:
        """Train ``case`` in a process of its own; one that was trained already is not again."""
        key = (case.shape, case.stage, case.length, case.text())
        if key not in self._known:
            self._known[key] = self._run(case)
        return self._known[key]

    def _run(self, case: Case) -> Measured:
        self._count += 1
        directory = self._folder / f"run-{self._count}"
        job = self._folder / f"job-{self._count}"
        directory.mkdir()
        job.mkdir()
        base = self._model(case.shape)
        train, validation = self._rows(case, base)
        recipe = parse_recipe(case.stage, case.text())
        task = TrainTask(f"run-{self._count}", recipe, directory, base, None, train, validation)
        (job / "payload.json").write_text(json.dumps(task.payload()))
        _work(job)
        usage = read_usage(task.usage)
        assert usage is not None
        parts = count(read_shape(base), recipe, case.length, _CPU)
        return Measured(case, {part.name: part.bytes for part in parts}, usage.peak_memory_bytes)

    def _model(self, shape: tuple[int, int, int, int, int, int, bool]) -> Path:
        path = self._folder / f"model-{'-'.join(str(int(side)) for side in shape)}"
        if path.exists():
            return path
        path.mkdir()
        write_tokenizer(path)
        names = (
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "intermediate_size",
            "vocab_size",
            "tie_word_embeddings",
        )
        values = {**dict(zip(names, shape, strict=True)), "max_position_embeddings": 4096}
        subprocess.run([sys.executable, "-c", _MODEL, str(path), json.dumps(values)], check=True)
        assert (path / "chat_template.jinja").read_text() == CHATML
        return path

    def _rows(self, case: Case, base: Path) -> tuple[Path, Path]:
        """Rows that fill the recipe's length; as many as its steps need, and one batch to evaluate on."""
        count = case.batch * (_STEPS + 1)
        if case.stage is Stage.CPT:
            # One text that is cut into pieces of full length, the last one too.
            rows = [_row(case.stage, _words(base, count * case.length - 1))]
            held = [_row(case.stage, _words(base, case.batch * case.length - 1))]
        else:
            # A pair must fit whole; a conversation is cut at its end.
            rows = [
                _row(case.stage, _words(base, case.length - (40 if case.stage is Stage.DPO else 0)))
            ] * count
            held = rows[: case.batch]
        paths = self._folder / f"train-{self._count}.parquet", self._folder / f"held-{self._count}.parquet"
        for path, kept in zip(paths, (rows, held), strict=True):
            pq.write_table(pa.Table.from_pylist(kept), path)
        return paths


def _row(stage: Stage, text: str) -> dict[str, object]:
    if stage is Stage.CPT:
        return {"text": text}
    question = [{"role": "user", "content": "Tell it."}]
    answer = [{"role": "assistant", "content": text}]
    if stage is Stage.SFT:
        return {"messages": question + answer}
    return {"prompt": question, "chosen": answer, "rejected": answer}


def _words(base: Path, tokens: int) -> str:
    """A text of just ``tokens`` tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    text = " ".join(f"word{number}" for number in range(tokens // 8))
    # One token each.
    text += " a" * (tokens - len(tokenizer.encode(text).ids))
    assert len(tokenizer.encode(text).ids) == tokens
    return text


def _work(job: Path) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "GOMP_SPINCOUNT": "3000"}
    with (job / "log.txt").open("w") as log:
        done = subprocess.run(
            [sys.executable, "-m", "studio.training.worker", str(job)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            timeout=_SECONDS,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(
            f"The worker ended with {done.returncode}:\n{(job / 'log.txt').read_text()[-3000:]}"
        )


if __name__ == "__main__":
    main()
