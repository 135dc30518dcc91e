"""Axolotl: its own schema takes every golden setting, and it trains the embedded model."""

from __future__ import annotations

import json
import subprocess

import pytest

from studio.core import LOCAL_ADMIN
from studio.jobs import JobState
from studio.registry import ModelKind
from studio.training import Stage
from tests.engines.conftest import Bench, use
from tests.unit.training.external_orders import GOLDEN

ADMIN = LOCAL_ADMIN
MODEL = "smollm2-135m-instruct"
_RECIPE = """
engine: axolotl
lora: {r: 8, alpha: 16}
batch_size: 2
max_steps: 8
save_every: 4
eval_every: 4
eval_rows: 8
max_length: 256
"""
# A GPU's abilities, as a machine would report them that has one: the schema asks for them by name.
_READ = """
import json, sys
from pathlib import Path
import yaml
from axolotl.utils.config import validate_config
from axolotl.utils.dict import DictDefault
from axolotl.utils.schemas.config import AxolotlInputConfig
from axolotl.utils.schemas.datasets import DPODataset, SFTDataset
able = {"bf16": True, "fp8": False, "tf32": True, "n_gpu": 1, "compute_capability": "sm_90"}
known = set(AxolotlInputConfig.model_fields)
for path in json.loads(sys.argv[1]):
    settings = yaml.safe_load(Path(path).read_text())
    strange = sorted(set(settings) - known)
    assert not strange, (path, strange)
    kind = DPODataset if settings.get("rl") else SFTDataset
    for one in settings["datasets"] + settings.get("test_datasets", []):
        strange = sorted(set(one) - set(kind.model_fields))
        assert not strange, (path, strange)
    validate_config(DictDefault(settings), capabilities=able, env_capabilities={"torch_version": "2.13.0"})
    print(path)
"""


@pytest.fixture(scope="session")
def axolotl(bench: Bench) -> Bench:
    use(bench, "axolotl")
    return bench


def test_its_own_schema_takes_every_golden_setting(axolotl: Bench) -> None:
    files = [str(path) for path in GOLDEN.glob("axolotl-*/settings.yaml")]
    python = use(axolotl, "axolotl").python
    said = subprocess.run(
        [python, "-c", _READ, json.dumps(files)], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr[-3000:]
    assert sum(line in files for line in said.stdout.splitlines()) == len(files)


def test_sft_is_read_back_and_registered(axolotl: Bench) -> None:
    recipe = f"model: {MODEL}\ndataset: studio-instructions\noutput: ax-sft\nlearning_rate: 1e-3{_RECIPE}"
    run = axolotl.done(axolotl.start(Stage.SFT, recipe))
    assert run.state is JobState.SUCCEEDED, (run.reason, axolotl.log(run))
    losses, held_out = axolotl.curve(run, "train/loss"), axolotl.curve(run, "eval/loss")
    print(f"Axolotl SFT: train {losses}, eval {held_out}, peak {run.peak_memory_bytes}")
    assert list(losses) == list(range(1, 9))
    assert list(held_out) == [0, 4, 8]
    assert held_out[8] < held_out[0]
    assert sorted(one.step for one in axolotl.studio.training.checkpoints(ADMIN, run.id)) == [4, 8]
    made = axolotl.studio.registry.version(ADMIN, "ax-sft")
    assert (made.kind, made.parameters) == (ModelKind.ADAPTER, 2_442_240)


def test_dpo_from_the_base(axolotl: Bench) -> None:
    recipe = f"model: {MODEL}\ndataset: studio-preferences\noutput: ax-dpo\nlearning_rate: 5e-4{_RECIPE}"
    run = axolotl.done(axolotl.start(Stage.DPO, recipe))
    assert run.state is JobState.SUCCEEDED, (run.reason, axolotl.log(run))
    losses = axolotl.curve(run, "train/loss")
    print(f"Axolotl DPO: train {losses}, accuracy {axolotl.curve(run, 'train/rewards_accuracy')}")
    assert losses[1] == pytest.approx(0.6931, abs=2e-2)
    assert list(losses) == list(range(1, 9))


@pytest.mark.parametrize(
    ("stage", "recipe"),
    [
        (Stage.CPT, "dataset: studio-corpus\npacking: false\nmax_length: 64"),
        (Stage.SFT, "dataset: studio-instructions\nmethod: full\nlearning_rate: 1e-5\nrecompute: true"),
        (Stage.SFT, "dataset: studio-instructions\nassistant_only: false\nlora: {dora: true, plus_ratio: 4}"),
    ],
    ids=["cpt", "full", "dora"],
)
def test_every_other_way_to_train_runs(axolotl: Bench, stage: Stage, recipe: str) -> None:
    common = f"model: {MODEL}\noutput: ax-other\nengine: axolotl\nbatch_size: 2\nmax_steps: 2\neval_rows: 2\n"
    run = axolotl.done(axolotl.start(stage, common + recipe))
    assert run.state is JobState.SUCCEEDED, (run.reason, axolotl.log(run)[-4000:])
    assert list(axolotl.curve(run, "train/loss")) == [1, 2]
    assert min(axolotl.curve(run, "eval/loss")) == 0
    made = axolotl.studio.registry.version(ADMIN, run.output_version_id or "")
    assert made.kind is (ModelKind.MERGED if "full" in recipe else ModelKind.ADAPTER)


def test_a_stopped_run_goes_on_where_it_was(axolotl: Bench) -> None:
    recipe = f"model: {MODEL}\ndataset: studio-instructions\noutput: ax-stopped\nlearning_rate: 1e-3{_RECIPE}"
    recipe = recipe.replace("max_steps: 8", "max_steps: 16").replace("save_every: 4", "save_every: 50")
    run = axolotl.start(Stage.SFT, recipe.replace("eval_every: 4", "eval_every: 16"))
    axolotl.until(run, lambda now: "train/loss" in now.summary)
    axolotl.studio.training.stop(ADMIN, run.id)
    stopped = axolotl.done(run)
    assert stopped.state is JobState.STOPPED, (stopped.reason, axolotl.log(run))
    [kept] = axolotl.studio.training.checkpoints(ADMIN, run.id)
    assert 0 < kept.step < 16
    axolotl.studio.training.resume(ADMIN, run.id)
    done = axolotl.done(run)
    assert done.state is JobState.SUCCEEDED, (done.reason, axolotl.log(run))
    assert list(axolotl.curve(run, "train/loss")) == list(range(1, 17))
