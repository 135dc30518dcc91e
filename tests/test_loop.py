"""The headless loop on the embedded model: few steps in ``make test``, all of them in ``make test-full``."""

from __future__ import annotations

import json
import os

import pytest

from studio.core import LOCAL_ADMIN, InvalidInput, Node, Settings
from studio.loop import LoopPlan, check_disjoint, run_loop
from studio.serving import Sampling
from studio.studio import open_studio
from studio.training import Stage

FULL = os.environ.get("STUDIO_TEST_FULL") == "1"


def _plan() -> LoopPlan:
    if FULL:
        return LoopPlan()
    few = {"log_every": 1, "eval_every": 0, "save_every": 1000}
    return LoopPlan(
        feedback_prompts=6,
        sampling=Sampling(temperature=0.7, max_tokens=64, seed=1),
        overrides={
            Stage.CPT: {"max_steps": 2, **few},
            Stage.SFT: {"max_steps": 10, **few},
            Stage.DPO: {"max_steps": 4, "batch_size": 2, **few},
        },
    )


@pytest.mark.embedded
@pytest.mark.timeout(1800)
def test_the_loop_closes_on_the_embedded_model(settings: Settings) -> None:
    studio = open_studio(settings)
    said: list[str] = []
    result = run_loop(studio, _plan(), said.append)
    line = json.loads(result.line())
    assert line["sft_eval_loss_after"] < line["sft_eval_loss_before"], said
    assert line["votes"] == (40 if FULL else 6)
    assert line["eval_pairs"] >= 40
    assert line["dpo_pairs"] >= 100
    assert 0.0 <= line["dpo_accuracy_after"] <= 1.0
    low, high = line["dpo_accuracy_interval_after"]
    assert low <= line["dpo_accuracy_after"] <= high
    if FULL:
        assert line["learnt"], said
    deployment = studio.serving.deployment(LOCAL_ADMIN, line["deployment"])
    dpo = next(v for v in deployment.variants if v.name == "dpo")
    kinds = {
        edge.parent.kind for edge in studio.lineage.ancestors(Node("model_version", dpo.model_version_id))
    }
    assert {"run", "dataset_version", "model_version"} <= kinds
    studio.close()


def test_a_prompt_on_two_sides_is_named() -> None:
    groups = {"training": frozenset({"a", "b"}), "evaluation": frozenset({"c"}), "feedback": frozenset({"b"})}
    with pytest.raises(InvalidInput) as caught:
        check_disjoint(groups)
    assert caught.value.details == ("'b' is in training and in feedback",)
