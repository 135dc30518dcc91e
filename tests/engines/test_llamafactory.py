"""LLaMA-Factory on the embedded model: real runs, read back, registered, served, stopped and resumed."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from studio.core import LOCAL_ADMIN
from studio.datasets import NewVersion, SchemaKind, Split
from studio.jobs import JobState
from studio.registry import ModelKind
from studio.serving import ChatMessage, RowRequest, Sampling
from studio.training import Stage, parse_recipe
from studio.training.tokens import tokenise_row
from tests.engines.conftest import Bench, use
from tests.unit.training.external_orders import GOLDEN

ADMIN = LOCAL_ADMIN
MODEL = "smollm2-135m-instruct"
_RECIPE = """
engine: llamafactory
max_length: 256
lora: {r: 8, alpha: 16}
batch_size: 2
max_steps: 8
save_every: 4
eval_every: 4
eval_rows: 8
"""
_SFT = f"model: {MODEL}\ndataset: studio-instructions\noutput: lf-sft\nlearning_rate: 1e-3{_RECIPE}"
_READ = """
import json, sys
from pathlib import Path
from llamafactory.hparams.parser import _parse_train_args
import yaml
for path in json.loads(sys.argv[1]):
    settings = yaml.safe_load(Path(path).read_text())
    settings.pop("resume_from_checkpoint", None)
    _parse_train_args(settings)
    print(path)
"""


@pytest.fixture(scope="session")
def lf(bench: Bench) -> Bench:
    use(bench, "llamafactory")
    return bench


def test_its_own_argument_classes_take_every_golden_setting(lf: Bench) -> None:
    files = [str(path) for path in GOLDEN.glob("llamafactory-*/settings.yaml") if "qlora" not in str(path)]
    python = use(lf, "llamafactory").python
    said = subprocess.run(
        [python, "-c", _READ, json.dumps(files)], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr[-3000:]
    assert len(said.stdout.split()) >= len(files)


def test_sft_is_read_back_registered_and_served(lf: Bench) -> None:
    run = lf.done(lf.start(Stage.SFT, _SFT))
    assert run.state is JobState.SUCCEEDED, (run.reason, lf.log(run))
    losses, held_out = lf.curve(run, "train/loss"), lf.curve(run, "eval/loss")
    print(f"LLaMA-Factory SFT: train {losses}, eval {held_out}, peak {run.peak_memory_bytes}")
    assert list(losses) == list(range(1, 9))
    assert list(held_out) == [0, 4, 8]
    assert held_out[8] < held_out[0]
    assert lf.curve(run, "train/grad_norm")[8] > 0
    assert lf.curve(run, "train/learning_rate")[8] < 1e-3
    assert lf.curve(run, "train/tokens_per_second")[8] > 0
    assert run.peak_memory_bytes is not None and run.peak_memory_bytes > 300e6
    assert run.packages["llamafactory"] == "0.9.5"
    steps = [one.step for one in lf.studio.training.checkpoints(ADMIN, run.id)]
    assert sorted(steps) == [4, 8]
    made = lf.studio.registry.version(ADMIN, "lf-sft")
    assert (made.kind, made.id) == (ModelKind.ADAPTER, run.output_version_id)
    assert made.parameters == 2_442_240
    _answers(lf, made.id)
    _tokens_are_the_studios(lf, lf.log(run))


def _answers(lf: Bench, version: str) -> None:
    asked = RowRequest(
        version,
        (ChatMessage(role="user", content="How do I import a CSV?"),),
        Sampling(temperature=0.0, max_tokens=12),
    )
    said = lf.studio.serving.complete(ADMIN, asked, user="u", source="predict")
    assert not said.error
    assert said.text


def _tokens_are_the_studios(lf: Bench, log: str) -> None:
    """The first row that it prints is the studio's own, but for the line end after each answer."""
    from transformers import AutoTokenizer

    found = re.search(r"training example:\ninput_ids:\n(\[.*?\])\n", log)
    assert found is not None, log[-2000:]
    theirs = json.loads(found.group(1))
    base = lf.studio.registry.version(ADMIN, MODEL)
    tokenizer = AutoTokenizer.from_pretrained(base.path)
    line = Path("data/instructions.jsonl").read_text().splitlines()
    recipe = parse_recipe(Stage.SFT, _SFT)
    ours = [tokenise_row(tokenizer, json.loads(row), recipe).ids for row in line]
    newline = tokenizer("\n", add_special_tokens=False)["input_ids"]
    assert theirs in ours or [*theirs[: -len(newline)]] in ours


def test_dpo_goes_on_from_an_adapter(lf: Bench) -> None:
    recipe = f"model: lf-sft\ndataset: studio-preferences\noutput: lf-dpo\nlearning_rate: 5e-4{_RECIPE}"
    run = lf.done(lf.start(Stage.DPO, recipe))
    assert run.state is JobState.SUCCEEDED, (run.reason, lf.log(run))
    losses, accuracy = lf.curve(run, "train/loss"), lf.curve(run, "train/rewards_accuracy")
    print(f"LLaMA-Factory DPO: train {losses}, accuracy {accuracy}, eval {lf.curve(run, 'eval/loss')}")
    # Nothing is learnt yet: policy and reference are the same adapter, so the loss is log 2.
    assert losses[1] == pytest.approx(0.6931, abs=2e-2)
    assert list(losses) == list(range(1, 9))
    assert lf.curve(run, "eval/loss")[8] < 0.69
    made = lf.studio.registry.version(ADMIN, "lf-dpo")
    assert made.parent_id == lf.studio.registry.version(ADMIN, "lf-sft").id
    _answers(lf, made.id)


@pytest.mark.parametrize(
    ("stage", "recipe"),
    [
        (Stage.CPT, "dataset: studio-corpus\nmax_length: 64"),
        (Stage.SFT, "dataset: studio-instructions\npacking: true\nmax_length: 256"),
        (Stage.SFT, "dataset: studio-instructions\nmethod: qlora\nlora: {plus_ratio: 4}"),
        (Stage.SFT, "dataset: studio-instructions\nlora: {dora: true, targets: attention}"),
        (Stage.SFT, "dataset: studio-instructions\nmethod: full\nlearning_rate: 1e-5\nrecompute: true"),
        (Stage.SFT, "dataset: studio-instructions\nprocesses: 2\nmix: [{dataset: more}]"),
        (Stage.KTO, "dataset: judged\nlearning_rate: 1e-4"),
    ],
    ids=["cpt", "packed", "qlora", "dora", "full", "two-processes", "kto"],
)
def test_every_other_way_to_train_runs(lf: Bench, stage: Stage, recipe: str) -> None:
    if stage is Stage.KTO:
        _judged(lf)
    if "more" in recipe:
        _more(lf)
    common = (
        f"model: {MODEL}\noutput: lf-other\nengine: llamafactory\nbatch_size: 2\nmax_steps: 2\neval_rows: 2\n"
    )
    run = lf.done(lf.start(stage, common + recipe))
    assert run.state is JobState.SUCCEEDED, (run.reason, lf.log(run)[-4000:])
    assert list(lf.curve(run, "train/loss")) == [1, 2]
    assert list(lf.curve(run, "eval/loss")) == [0, 2]
    made = lf.studio.registry.version(ADMIN, run.output_version_id or "")
    assert made.kind is (ModelKind.MERGED if "full" in recipe else ModelKind.ADAPTER)


def _more(lf: Bench) -> None:
    """A second dataset to learn from."""
    lines = Path("data/instructions.jsonl").read_text().splitlines()[:12]
    sides = {Split.TRAIN: [json.loads(line) for line in lines]}
    lf.studio.datasets.create(ADMIN, NewVersion("more", SchemaKind.INSTRUCTION, sides, ()))


def _judged(lf: Bench) -> None:
    """A dataset of single answers, made of the sample pairs."""
    lines = Path("data/preferences.jsonl").read_text().splitlines()[:20]
    pairs = [json.loads(line) for line in lines]
    rows = [
        {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
        for pair in pairs
        for side in ("chosen", "rejected")
    ]
    sides = {Split.TRAIN: rows[:32], Split.VALIDATION: rows[32:]}
    lf.studio.datasets.create(ADMIN, NewVersion("judged", SchemaKind.UNPAIRED, sides, ()))


def test_a_stopped_run_goes_on_where_it_was_and_ends_as_one_that_was_not(lf: Bench) -> None:
    recipe = _SFT.replace("lf-sft", "lf-stopped").replace("max_steps: 8", "max_steps: 20")
    recipe = recipe.replace("save_every: 4", "save_every: 50").replace("eval_every: 4", "eval_every: 20")
    whole = lf.done(lf.start(Stage.SFT, recipe))
    run = lf.start(Stage.SFT, recipe)
    lf.until(run, lambda now: "train/loss" in now.summary)
    lf.studio.training.stop(ADMIN, run.id)
    stopped = lf.done(run)
    assert stopped.state is JobState.STOPPED, (stopped.reason, lf.log(run))
    [kept] = lf.studio.training.checkpoints(ADMIN, run.id)
    assert 0 < kept.step < 20
    lf.studio.training.resume(ADMIN, run.id)
    done = lf.done(run)
    assert done.state is JobState.SUCCEEDED, (done.reason, lf.log(run))
    assert f"resuming from step {kept.step}" in lf.log(run)
    there, here = lf.curve(whole, "train/loss"), lf.curve(run, "train/loss")
    print(f"stopped at {kept.step}: {here} against {there}")
    assert list(here) == list(there) == list(range(1, 21))
    assert list(here.values()) == pytest.approx(list(there.values()), rel=0.02)
    tokens = [point[3] for point in lf.studio.training.points(ADMIN, run.id).columns["train/loss"]]
    assert tokens == sorted(tokens)
