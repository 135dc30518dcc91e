"""The trainers on the tiny model: that they learn, what they write, and that a resume changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studio.training import Stage, checkpoints, parse_recipe
from studio.training.metrics import read_points
from studio.training.task import TrainTask

LORA = "method: lora\nlora: {r: 8, alpha: 16, dropout: 0.1}\nlearning_rate: 1e-2\n"
COMMON = "model: m\ndataset: d\nbatch_size: 2\nmax_steps: 8\nsave_every: 100\nseed: 5\n"


def _say(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def _rows(stage: Stage, count: int) -> list[dict[str, Any]]:
    if stage is Stage.CPT:
        return [
            {"text": f"Text {i} tells of a test that is read again and again. " * 3} for i in range(count)
        ]
    question = [_say("user", "What is a test?")]
    if stage is Stage.SFT:
        turns = [_say("assistant", "A test reads files."), _say("user", "And then?")]
        last = [_say("assistant", "Then the test is done.")]
        return [{"messages": [_say("user", f"Test {i}?"), *turns, *last]} for i in range(count)]
    return [
        {
            "prompt": [*question, _say("assistant", "Which?"), _say("user", f"Number {i}.")],
            "chosen": [_say("assistant", "The test reads a file.")],
            "rejected": [_say("assistant", "No, never, nobody knows.")],
        }
        for i in range(count)
    ]


def _parquet(directory: Path, stage: Stage) -> tuple[Path, Path]:
    paths = directory / f"{stage}-train.parquet", directory / f"{stage}-validation.parquet"
    for path, count in zip(paths, (20, 4), strict=True):
        pq.write_table(pa.Table.from_pylist(_rows(stage, count)), path)
    return paths


@dataclass(frozen=True)
class Trained:
    """The run directories and outcomes of the driver's trainings, by name."""

    root: Path
    outcomes: dict[str, dict[str, Any]]

    def directory(self, name: str) -> Path:
        return self.root / name

    def columns(self, name: str) -> dict[str, Any]:
        return read_points(self.directory(name) / "metrics.jsonl", name, 0, 0).columns

    def series(self, name: str, metric: str) -> dict[int, float]:
        return {step: value for step, value, _, _ in self.columns(name)[metric]}


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("engine")
    data = {stage: _parquet(root, stage) for stage in Stage}
    plan: list[dict[str, Any]] = []
    names: list[str] = []

    def add(
        name: str,
        stage: Stage,
        text: str,
        stop: int | None = None,
        adapter: Path | None = None,
        label: str = "",
        length: int = 128,
    ) -> None:
        (root / name).mkdir(exist_ok=True)
        recipe = parse_recipe(stage, f"{COMMON}{text}max_length: {length}\n")
        task = TrainTask(name, recipe, root / name, tiny_model, adapter, *data[stage])
        names.append(label or name)
        plan.append({"payload": task.payload(), "job": str(root / "jobs" / names[-1]), "stop_after": stop})

    window = LORA + "log_every: 3\neval_every: 4\n"
    add("sft", Stage.SFT, window)
    add("resumed", Stage.SFT, window, stop=5, label="stopped")
    add("resumed", Stage.SFT, window)
    add("cpt", Stage.CPT, "method: full\nlearning_rate: 1e-3\npacking: true\ngradient_accumulation: 2\n")
    add("loose", Stage.CPT, "method: full\nlearning_rate: 1e-3\npacking: false\n")
    add(
        "warm",
        Stage.SFT,
        LORA + "packing: true\nassistant_only: false\nrecompute: true\n",
        adapter=root / "sft" / "adapter",
    )
    add("dpo", Stage.DPO, LORA + "beta: 0.5\n", adapter=root / "sft" / "adapter")
    add("fresh-dpo", Stage.DPO, LORA + "beta: 0.5\nloss: ipo\n")
    add("early-sft", Stage.SFT, LORA, stop=0)
    add("early-dpo", Stage.DPO, LORA.replace("1e-2", "1e-3"), stop=0)
    add("too-long", Stage.DPO, LORA.replace("1e-2", "1e-3"), length=16)
    path = root / "plan.json"
    path.write_text(json.dumps(plan))
    subprocess.run([sys.executable, "-m", "tests.unit.training.drive", str(path)], check=True)
    outcomes = json.loads(path.with_suffix(".json.out").read_text())
    return Trained(root, dict(zip(names, outcomes, strict=True)))


@pytest.mark.parametrize("name", ["sft", "resumed", "cpt", "warm", "dpo", "fresh-dpo"])
def test_a_training_finishes_and_leaves_its_weights(trained: Trained, name: str) -> None:
    assert trained.outcomes[name] == {"finished": True}
    result = json.loads((trained.directory(name) / "result.json").read_text())
    folder = Path(result["path"])
    whole = name == "cpt"
    assert result["kind"] == ("merged" if whole else "adapter")
    assert (folder / ("model.safetensors" if whole else "adapter_model.safetensors")).exists()
    assert (folder / "tokenizer.json").exists() == whole
    # One adapter, whatever was beside it while it was trained.
    assert not [path for path in folder.iterdir() if path.is_dir()]
    assert result["parameters"] > 0
    assert json.loads((trained.directory(name) / "usage.json").read_text())["peak_memory_bytes"] > 1e7
    assert list((trained.directory(name) / "tensorboard").glob("events*"))


@pytest.mark.parametrize("name", ["sft", "cpt", "warm", "dpo", "fresh-dpo"])
def test_the_held_out_loss_falls(trained: Trained, name: str) -> None:
    losses = trained.series(name, "eval/loss")
    assert set(losses) >= {0, 8}
    assert losses[8] < losses[0]


def test_every_series_is_there_at_every_due_step(trained: Trained) -> None:
    columns = trained.columns("sft")
    for name in ("loss", "learning_rate", "grad_norm", "tokens_per_second", "epoch"):
        assert [point[0] for point in columns[f"train/{name}"]] == [3, 6, 8]
    assert [point[0] for point in columns["eval/loss"]] == [0, 4, 8]
    tokens = [point[3] for point in columns["train/loss"]]
    assert tokens == sorted(tokens)
    assert tokens[0] > 0


def test_a_stopped_run_says_so_and_leaves_a_complete_checkpoint(trained: Trained) -> None:
    assert trained.outcomes["stopped"] == {"finished": False}
    newest = checkpoints.newest(trained.directory("resumed") / "checkpoints")
    assert newest is not None
    assert checkpoints.counted(newest)["step"] == 5


def test_a_stop_before_the_first_step_is_obeyed(trained: Trained) -> None:
    assert trained.outcomes["early-sft"] == trained.outcomes["early-dpo"] == {"finished": False}
    # Its first evaluation is left; the loop looks again after the step that follows.
    assert set(trained.series("early-sft", "train/loss")) <= {1}
    assert "eval/loss" not in trained.columns("early-dpo")


@pytest.mark.parametrize("metric", ["train/loss", "train/grad_norm", "train/learning_rate", "eval/loss"])
def test_a_resumed_curve_is_the_uninterrupted_one(trained: Trained, metric: str) -> None:
    whole, resumed = trained.series("sft", metric), trained.series("resumed", metric)
    assert list(resumed) == list(whole)
    assert list(resumed.values()) == pytest.approx(list(whole.values()), abs=1e-5)
    points = read_points(trained.directory("resumed") / "metrics.jsonl", "", 0, 0)
    assert points.epoch == 1
    assert points.columns["train/loss"][-1][3] == trained.columns("sft")["train/loss"][-1][3]


def test_texts_that_are_packed_together_do_not_see_each_other(trained: Trained) -> None:
    # The held-out texts are of one length, so both ways to batch them have the same mean.
    packed, loose = trained.series("cpt", "eval/loss")[0], trained.series("loose", "eval/loss")[0]
    assert packed == pytest.approx(loose, abs=1e-5)


def test_dpo_starts_from_its_reference_and_learns_the_preference(trained: Trained) -> None:
    for name in ("dpo", "fresh-dpo"):
        margins = trained.series(name, "eval/rewards_margin")
        assert margins[0] == pytest.approx(0, abs=1e-4)
        assert margins[8] > 0
        assert trained.series(name, "eval/rewards_accuracy")[8] == 1.0
        assert set(trained.columns(name)) >= {"train/rewards_chosen", "train/rewards_rejected"}
    # -log sigmoid(0): the policy is a copy of the adapter that the reference was scored with.
    assert trained.series("dpo", "eval/loss")[0] == pytest.approx(0.6931, abs=1e-3)


def test_dpo_keeps_the_shape_of_the_adapter_it_goes_on_from(trained: Trained) -> None:
    config = json.loads((trained.directory("dpo") / "adapter" / "adapter_config.json").read_text())
    before = json.loads((trained.directory("sft") / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], sorted(config["target_modules"])) == (before["r"], sorted(before["target_modules"]))


def test_a_failure_is_said_in_words(trained: Trained) -> None:
    assert "None of the 20 rows fits into max_length: 16." in trained.outcomes["too-long"]["error"]
