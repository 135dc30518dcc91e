"""That what makes training fast changes nothing: losses, gradients and weights are TRL's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from studio.training import Stage
from tests.unit.training.plans import Plan, Trained

LORA = "lora: {r: 8, alpha: 16}\nlearning_rate: 1e-3\nmax_steps: 3\nbatch_size: 4\n"
FULL = "method: full\nlearning_rate: 1e-4\nmax_steps: 3\nbatch_size: 4\n"
#: Every stage, and what takes another way through the model.
RUNS = {
    "cpt": (Stage.CPT, LORA + "packing: false\n"),
    "cpt-packed": (Stage.CPT, LORA + "packing: true\n"),
    "sft": (Stage.SFT, LORA),
    "sft-full": (Stage.SFT, FULL),
    "sft-recomputed": (Stage.SFT, LORA + "recompute: true\ngradient_accumulation: 2\n"),
    "dpo": (Stage.DPO, LORA),
    "kto": (Stage.KTO, LORA),
    "reward": (Stage.REWARD, LORA),
}
LONG = LORA.replace("max_steps: 3", "max_steps: 8")
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    plan = Plan(tmp_path_factory.mktemp("speed"), tiny_model)
    for name, (stage, text) in RUNS.items():
        plan.add(name, stage, text)
    plan.add("whole", Stage.SFT, LONG)
    plan.add("resumed", Stage.SFT, LONG, stop=5, label="stopped")
    plan.add("resumed", Stage.SFT, LONG)
    plan.probe("off", "leave_it_to_trl")
    for name, (stage, text) in RUNS.items():
        plan.add(f"{name}-trl", stage, text)
    return plan.run()


@pytest.fixture(scope="module")
def found() -> dict[str, float]:
    command = [sys.executable, "-m", "tests.unit.training.speed_probes"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return values


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("metric", ["train/loss", "train/grad_norm", "eval/loss"])
def test_every_stage_has_trls_losses_and_gradients(trained: Trained, name: str, metric: str) -> None:
    ours, theirs = trained.series(name, metric), trained.series(f"{name}-trl", metric)
    assert list(ours) == list(theirs)
    assert list(ours.values()) == pytest.approx(list(theirs.values()), rel=2e-5, abs=2e-6)


@pytest.mark.parametrize("name", RUNS)
def test_every_stage_comes_to_trls_weights(trained: Trained, name: str) -> None:
    ours, theirs = (load_file(_weights(trained.root / run)) for run in (name, f"{name}-trl"))
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        # Adam divides by the gradient's size: where that is next to nothing, rounding decides its direction.
        assert float(np.abs(value - theirs[key]).mean()) < 2e-5, key


def _weights(folder: Path) -> Path:
    adapter = folder / "adapter" / "adapter_model.safetensors"
    return adapter if adapter.exists() else folder / "model" / "model.safetensors"


def test_as_many_tokens_are_counted_as_trl_counts(trained: Trained) -> None:
    for name in RUNS:
        counts = [trained.columns(run)["train/loss"][-1][3] for run in (name, f"{name}-trl")]
        assert counts[0] == counts[1] > 0


def test_a_resumed_run_is_the_uninterrupted_one(trained: Trained) -> None:
    for metric in ("train/loss", "train/grad_norm", "eval/loss"):
        whole, resumed = trained.series("whole", metric), trained.series("resumed", metric)
        assert list(resumed.items()) == [
            (step, pytest.approx(value, abs=1e-5)) for step, value in whole.items()
        ]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_log_probabilities_and_gradients_are_those_of_trls_head(
    found: dict[str, float], family: str, method: str
) -> None:
    assert found[f"{family}-{method}"] < 1e-5


@pytest.mark.parametrize("way", ["recomputed", "packed", "switched off"])
def test_special_ways_through_the_model_agree_too(found: dict[str, float], way: str) -> None:
    assert found[way] < 1e-5


def test_rows_are_shared_out_among_the_threads_where_that_pays(found: dict[str, float]) -> None:
    # The comparisons above went through two threads.
    assert found["parts"] == 2.0
    assert found["parts of one row"] == found["uneven parts"] == 1.0


def test_bfloat16_is_as_exact_as_trls(found: dict[str, float]) -> None:
    assert 0 < found["low-trl"] < 0.05
    for name in ("low-ours", "low-torch"):
        assert found[name] < 1.2 * found["low-trl"]


def test_models_that_are_not_known_keep_their_own_way(found: dict[str, float]) -> None:
    assert found["gpt2"] == found["windowed"] == found["dropped"] == 1.0
