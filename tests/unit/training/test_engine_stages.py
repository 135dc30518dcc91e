"""Every stage and method on the tiny model: that it learns, what it leaves, that a resume changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from studio.training import Stage, checkpoints
from tests.unit.training.plans import BAD, GOOD, Plan, Trained, prompt, say

LORA = "lora: {r: 8, alpha: 16, dropout: 0.1}\nlearning_rate: 1e-2\n"
MIX = "weight: 2\nmix: [{dataset: other, weight: 1}]\n"
ANSWERS = [[say("assistant", GOOD)], [say("assistant", BAD)]]
LEARNT = {"prompt": [say("user", "Test 3?")], "answer": [say("assistant", "Then a main is done.")]}


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("stages")
    plan = Plan(root, tiny_model)
    plan.add("kto", Stage.KTO, LORA + "beta: 0.5\n")
    plan.add("reward", Stage.REWARD, LORA)
    plan.add("judge", Stage.REWARD, "method: full\nlearning_rate: 1e-3\ncenter_rewards: 0.01\n")
    plan.probe(
        "scored",
        "scores",
        base=tiny_model,
        adapter=root / "reward/adapter",
        prompt=prompt(3),
        answers=ANSWERS,
    )
    plan.probe("judged", "scores", base=root / "judge/model", adapter=None, prompt=prompt(3), answers=ANSWERS)
    plan.add("robust", Stage.DPO, LORA + "loss: robust\nlabel_smoothing: 0.1\n")
    plan.add(
        "dora", Stage.SFT, LORA.replace("r: 8", "r: 8, dora: true, plus_ratio: 4") + "neftune_alpha: 1\n"
    )
    plan.add("qlora", Stage.SFT, "method: qlora\n" + LORA)
    plan.add("qlora-dpo", Stage.DPO, "method: qlora\n" + LORA, adapter=root / "qlora/adapter")
    for name, adapter in (("plain", None), ("served", root / "qlora/adapter")):
        plan.probe(name, "answer_loss", base=tiny_model, adapter=adapter, **LEARNT)
    for name, stage in (("mixed-sft", Stage.SFT), ("mixed-dpo", Stage.DPO), ("mixed-kto", Stage.KTO)):
        text = LORA + MIX + "max_steps: 20\nlog_every: 3\neval_every: 9\nsave_every: 7\n"
        plan.add(name, stage, text)
        plan.add(f"{name}-resumed", stage, text, stop=17, label=f"{name}-stopped")
        plan.add(f"{name}-resumed", stage, text)
    plan.add("again", Stage.SFT, LORA + "max_steps: 6\nsave_every: 2\nkeep_checkpoints: 9\n")
    plan.add(
        "again",
        Stage.SFT,
        LORA + "max_steps: 6\nsave_every: 2\nkeep_checkpoints: 9\n",
        resume_step=2,
        label="chosen",
    )
    plan.add("again", Stage.SFT, LORA, resume_step=3, label="no-such")
    plan.add("patient", Stage.SFT, WORSENS + "early_stop_patience: 3\nkeep_best: true\n")
    plan.probe("damaged", "damage", base=tiny_model, target=root / "nan")
    plan.add("diverged", Stage.SFT, LORA, base=root / "nan")
    plan.add("fp16", Stage.SFT, LORA + "dtype: fp16\n")
    plan.add("flash", Stage.SFT, LORA + "attention: flash\n")
    plan.add("fsdp", Stage.SFT, LORA + "parallel: fsdp\nprocesses: 2\n")
    plan.add("eager", Stage.SFT, LORA + "attention: eager\nrecompute: true\neval_rows: 2\n")
    return plan.run()


#: At such a rate the loss rises again after some steps.
WORSENS = (
    "lora: {r: 8}\nlearning_rate: 0.1\nscheduler: constant\nmax_steps: 60\n"
    "eval_every: 2\nkeep_checkpoints: 1\n"
)

LEARNERS = [
    "kto",
    "reward",
    "judge",
    "robust",
    "dora",
    "qlora",
    "qlora-dpo",
    "mixed-sft",
    "mixed-dpo",
    "eager",
]


@pytest.mark.parametrize("name", LEARNERS)
def test_the_held_out_loss_falls(trained: Trained, name: str) -> None:
    assert trained.outcomes[name] == {"finished": True}
    losses = trained.series(name, "eval/loss")
    assert losses[max(losses)] < losses[0]


def test_kto_starts_from_its_reference_and_tells_good_from_bad(trained: Trained) -> None:
    # 1 - sigmoid(0) for every row.
    assert trained.series("kto", "eval/loss")[0] == pytest.approx(0.5, abs=1e-4)
    assert trained.series("kto", "eval/rewards_margin")[8] > 0
    assert set(trained.columns("kto")) >= {"train/rewards_chosen", "train/rewards_rejected", "train/kl"}


def test_a_reward_model_prefers_what_people_preferred(trained: Trained) -> None:
    for name, probe in (("reward", "scored"), ("judge", "judged")):
        assert trained.result(name)["task"] == "reward"
        good, bad = trained.found(probe)
        assert good > bad
        assert trained.series(name, "eval/rewards_accuracy")[8] == 1.0
    config = json.loads((trained.root / "reward/adapter/adapter_config.json").read_text())
    assert config["task_type"] == "SEQ_CLS"
    assert trained.result("qlora")["task"] == "chat"


def test_an_adapter_over_packed_weights_is_served_on_the_plain_ones(trained: Trained) -> None:
    assert trained.found("served") < trained.found("plain") - 0.1
    # Every layer has learnt, the first one too: no evaluation has cut the gradients off.
    matrices = load_file(trained.root / "qlora/adapter/adapter_model.safetensors")
    assert all(matrix.any() for name, matrix in matrices.items() if "lora_B" in name)


def test_dora_learns_the_length_of_the_weights_too(trained: Trained) -> None:
    config = json.loads((trained.root / "dora/adapter/adapter_config.json").read_text())
    assert config["use_dora"]
    assert trained.result("dora")["parameters"] > trained.result("eager")["parameters"]


@pytest.mark.parametrize("metric", ["train/loss", "train/grad_norm", "train/learning_rate", "eval/loss"])
@pytest.mark.parametrize("name", ["mixed-sft", "mixed-dpo", "mixed-kto"])
def test_a_resumed_curve_is_the_uninterrupted_one(trained: Trained, name: str, metric: str) -> None:
    assert trained.outcomes[f"{name}-stopped"] == {"finished": False}
    whole, resumed = trained.series(name, metric), trained.series(f"{name}-resumed", metric)
    assert list(resumed) == list(whole)
    assert list(resumed.values()) == pytest.approx(list(whole.values()), abs=1e-5)


def test_a_run_goes_on_from_a_chosen_checkpoint(trained: Trained) -> None:
    assert trained.outcomes["chosen"] == {"finished": True}
    assert trained.columns("again")["train/loss"][-1][0] == 6
    assert "step 3 is gone or damaged" in trained.outcomes["no-such"]["error"]
    assert [
        checkpoints.step_of(path) for path in checkpoints.complete(trained.root / "again/checkpoints")
    ] == [2, 4]


def test_a_run_ends_early_and_gives_out_its_best_weights(trained: Trained) -> None:
    losses = trained.series("patient", "eval/loss")
    after = {step: loss for step, loss in losses.items() if step}
    best = min(after, key=lambda step: after[step])
    last = max(after)
    assert (last, last - best) < (60, 7)
    result = trained.result("patient")
    assert (result["steps"], result["step"]) == (last, best)
    kept = trained.root / "patient/checkpoints"
    assert checkpoints.step_of(checkpoints.best(kept)) == best
    given = (trained.root / "patient/adapter/adapter_model.safetensors").read_bytes()
    assert given == (checkpoints.best(kept) / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("diverged", "The loss is nan at step 1: training has diverged."),
        ("fp16", "dtype: fp16 needs a GPU"),
        ("flash", "attention: flash needs a GPU"),
        ("fsdp", "parallel: fsdp needs GPUs"),
    ],
)
def test_what_cannot_be_trained_is_said_in_words(trained: Trained, name: str, reason: str) -> None:
    assert reason in trained.outcomes[name]["error"]
