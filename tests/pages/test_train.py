"""Train: choices, the generated form, the way to YAML and back, and starting a run."""

from __future__ import annotations

from typing import Any

import pytest

from pages import train
from pages.components.recipe_form import (
    FORM,
    RECIPES,
    STAGES,
    YAML,
    component,
    described,
    field_keys,
    fields,
    keyword,
    values,
)
from pages.components.visible import HIDDEN
from studio.core import LOCAL_ADMIN, InvalidInput
from studio.datasets import DatasetVersion
from studio.registry import ModelVersion
from studio.studio import Studio
from studio.training import Stage, parse_recipe
from tests.pages.conftest import visiting

NOTHING: dict[str, Any] = {"stage": "sft", "model": None, "dataset": None}


def form(**changes: Any) -> dict[str, Any]:
    """What the browser sends from an untouched SFT form."""
    recipe = {stage: parse_recipe(stage, "model: m\ndataset: d") for stage in STAGES}
    sent: dict[str, Any] = {"stage": "sft", "mode": FORM, "yaml": "", "model": "tiny@1"}
    sent |= {"dataset": "numbers@1", "output": ""}
    for stage in STAGES:
        sent |= values(recipe[stage])
    return sent | changes


def test_an_empty_studio_names_what_is_missing(studio: Studio) -> None:
    lack = train.arrive(studio, visiting(tab="train"), **NOTHING)[-1]
    assert "no model to train" in lack
    assert "?tab=models&amp;new=base" in lack


def test_a_stage_without_data_leads_to_data(studio: Studio, base: ModelVersion) -> None:
    lack = train.choose(studio, stage="cpt", model=None, dataset=None)[-1]
    assert "No dataset fits" in lack
    assert "?tab=data" in lack


def test_an_address_proposes_model_and_data(
    studio: Studio, base: ModelVersion, instructions: DatasetVersion
) -> None:
    asked = visiting(tab="train", stage="sft", model=base.reference, dataset="numbers")
    stage, request_id, *groups, model, dataset, lack = train.arrive(studio, asked, **NOTHING)
    assert stage == "sft"
    assert request_id.startswith("request_")
    assert [group["visible"] for group in groups] == [HIDDEN, True, HIDDEN]
    assert model["value"] == base.reference
    assert dataset["value"] == instructions.reference
    assert lack == ""


def test_what_was_chosen_stays(studio: Studio, base: ModelVersion, instructions: DatasetVersion) -> None:
    *_, dataset, _ = train.choose(studio, stage="sft", model="gone@1", dataset=instructions.reference)
    assert dataset["value"] == instructions.reference
    again = train.look_again(studio, stage="sft", model=base.reference, dataset=instructions.reference)
    assert "choices" not in again


def test_every_field_of_every_recipe_has_a_component() -> None:
    for stage in STAGES:
        for field in fields(RECIPES[stage]):
            made = component(field)
            assert made.label == field.label
            assert made.info
    assert len(field_keys()) == len(set(field_keys()))
    assert keyword(Stage.SFT, "lora.r") in field_keys()


def test_an_untouched_form_is_the_default_recipe() -> None:
    assert described(**form()) == parse_recipe(Stage.SFT, "model: tiny@1\ndataset: numbers@1")


def test_form_and_yaml_carry_the_same_recipe() -> None:
    entered = form(sft__learning_rate=1e-05, sft__lora__r=8, sft__packing=True, output="mine")
    mode, _, _, written, answer, *_ = train.switch(None, **entered | {"mode": YAML})  # type: ignore[arg-type]
    assert (mode, answer) == (YAML, "")
    recipe = described(**form(mode=YAML, yaml=written))
    assert recipe == described(**entered)
    assert recipe.learning_rate == 1e-05
    back = train.switch(None, **form(mode=FORM, yaml=written))  # type: ignore[arg-type]
    assert back[5] == "mine"
    filled = dict(zip(field_keys(), back[6:], strict=True))
    assert filled["sft__lora__r"] == 8


def test_a_full_run_is_not_told_about_an_adapter_nobody_asked_for() -> None:
    assert described(**form(sft__method="full", sft__learning_rate=1e-5)).method == "full"


def test_yaml_that_is_no_recipe_stays_with_every_error() -> None:
    bad = "learning_rte: 1\nepochs: true\nmodel: a\ndataset: b\n"
    mode, as_form, as_yaml, _, answer, *_ = train.switch(None, **form(mode=FORM, yaml=bad))  # type: ignore[arg-type]
    assert mode == YAML
    assert (as_form["visible"], as_yaml["visible"]) == (HIDDEN, True)
    assert "learning_rte" in answer
    assert "epochs" in answer
    assert answer == train.check(None, **form(mode=YAML, yaml=bad))  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", STAGES)
def test_the_sample_recipe_is_complete(stage: Stage) -> None:
    text = train.sample(None, stage=stage.value, model="tiny@1", dataset="numbers@1")  # type: ignore[arg-type]
    assert parse_recipe(stage, text).model == "tiny@1"


def test_starting_says_where_to_watch(
    studio: Studio, base: ModelVersion, instructions: DatasetVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "toast", lambda *_: None)
    sent = form(model=base.reference, dataset=instructions.reference)
    answer, renewed = train.start(studio, name="<b>Mine</b>", request_id="request_1", **sent)
    [run] = studio.training.list(LOCAL_ADMIN)
    assert run.name == "<b>Mine</b>"
    assert "<b>" not in answer
    assert run.id in answer
    assert renewed != "request_1"
    train.start(studio, name="<b>Mine</b>", request_id="request_1", **sent)
    assert len(studio.training.list(LOCAL_ADMIN)) == 1


def test_a_start_that_fails_keeps_its_request(studio: Studio, instructions: DatasetVersion) -> None:
    answer, request_id = train.start(studio, name="", request_id="request_1", **form(model=None))
    assert "model" in answer
    assert request_id == "request_1"
    assert not studio.training.list(LOCAL_ADMIN)


def test_a_recipe_without_a_model_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        described(**form(model=None, dataset=None))
    assert len(caught.value.details) == 2
