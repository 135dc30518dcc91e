"""Train: choices, the generated form, the way to YAML and back, and what the recipe comes to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pages import train, train_fill
from pages.components.recipe_form import (
    FIELDS,
    FORM,
    YAML,
    Field,
    component,
    default,
    described,
    values,
)
from pages.components.recipe_form_groups import grouped
from pages.components.recipe_form_mix import MOST, mixed, mixing
from pages.components.visible import HIDDEN
from pages.train_choices import STAGES
from studio.core import InvalidInput
from studio.datasets import DatasetVersion
from studio.registry import ModelVersion
from studio.studio import Studio
from studio.training import RECIPES, Stage, dump_recipe, parse_recipe
from studio.training.presets import PRESETS, presets
from tests.pages.conftest import visiting

NOTHING: dict[str, Any] = {
    "stage": "sft",
    "preset": "balanced",
    "model": None,
    "dataset": None,
    "mix": None,
    "begun": "",
    "after": [],
}
KEYS = {field.path: field.key for field in FIELDS}


def form(stage: Stage = Stage.SFT, **changes: Any) -> dict[str, Any]:
    """What the browser sends from an untouched form; ``changes`` by keyword, recipe fields by their path."""
    sent: dict[str, Any] = {"stage": stage.value, "mode": FORM, "yaml": "", "model": "tiny@1"}
    sent |= {"dataset": "numbers@1", "output": "", "mix": mixing([], "numbers@1")}
    for field in FIELDS:
        sent[field.key] = default(stage if stage in field.stages else field.stages[0], field.path)
    return sent | {KEYS.get(key.replace("__", "."), key): value for key, value in changes.items()}


def by_path(updates: Any) -> dict[str, Any]:
    return dict(zip(KEYS, updates, strict=True))


def test_an_empty_studio_names_what_is_missing(studio: Studio) -> None:
    lack = train.arrive(studio, visiting(tab="train"), **NOTHING)[-1]
    assert "no model to train" in lack
    assert "?tab=models&amp;new=base" in lack


def test_a_stage_without_data_leads_to_data(studio: Studio, base: ModelVersion) -> None:
    lack = train.choose(studio, stage="kto", preset=None, model=None, dataset=None, mix=None)[-1]
    assert "No dataset fits" in lack
    assert "judged good or bad" in lack
    assert "?tab=data" in lack


def test_an_address_proposes_model_and_data(
    studio: Studio, base: ModelVersion, instructions: DatasetVersion
) -> None:
    asked = visiting(tab="train", stage="sft", model=base.reference, dataset="numbers")
    stage, request_id, after, gpus, begun, about, preset, _, *rest = train.arrive(studio, asked, **NOTHING)
    *fields, model, dataset, mix, lack = rest
    assert (stage, begun, preset) == ("sft", "sft", "balanced")
    assert request_id.startswith("request_")
    assert (after["choices"], gpus["visible"]) == ([], HIDDEN)
    assert "instructions and answers" in about
    assert by_path(fields)["epochs"]["value"] == 2.0
    assert model["value"] == base.reference
    assert dataset["value"] == instructions.reference
    assert (mix["choices"], lack) == ([], "")


def test_a_second_visit_leaves_what_was_typed_in(
    studio: Studio, base: ModelVersion, instructions: DatasetVersion
) -> None:
    here = {**NOTHING, "model": base.reference, "dataset": instructions.reference, "preset": None}
    first, second = (train.arrive(studio, visiting(), **{**here, "begun": b}) for b in ("", "sft"))
    assert first[6] == "balanced"
    assert "value" in first[9]
    assert second[6:-4] == train.arrive(studio, visiting(), **{**here, "begun": "sft"})[6:-4]
    assert all("value" not in one for one in second[6:-4])
    other = train.arrive(studio, visiting(stage="dpo"), **{**here, "begun": "sft"})
    assert (other[0], other[4]) == ("dpo", "dpo")
    assert "value" in by_path(other[8:-4])["learning_rate"]


@pytest.mark.parametrize("stage", Stage)
def test_the_form_of_a_stage_shows_its_fields_and_no_others(studio: Studio, stage: Stage) -> None:
    made = train.choose(studio, stage=stage.value, preset="fast", model=None, dataset=None, mix=None)
    assert len(made[1]) > 40
    shown = by_path(made[4:-4])
    assert {path for path, update in shown.items() if update["visible"] is True} == set(
        values(parse_recipe(stage, "model: m\ndataset: d"))
    )
    rate = presets(stage)["fast"]["learning_rate"]
    assert shown["learning_rate"]["value"] == rate
    assert STAGES[stage].rows in made[1]


def test_every_field_has_a_component_and_one_group() -> None:
    members = [field.path for group in grouped().values() for field in group]
    assert sorted(members) == sorted(KEYS)
    assert len(set(KEYS.values())) == len(FIELDS)
    for field in FIELDS:
        made = component(field, Stage.SFT)
        assert made.label == field.label
        assert made.info
        assert made.visible == (True if Stage.SFT in field.stages else HIDDEN)
    assert set(grouped()) >= {"", "Adapter", "Evaluation and checkpoints"}


def test_a_field_that_no_group_names_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    new = Field("brand_new", FIELDS[0].info, (Stage.SFT,))
    monkeypatch.setattr("pages.components.recipe_form_groups.FIELDS", (*FIELDS, new))
    assert grouped()["Other settings"] == (new,)


@pytest.mark.parametrize("stage", Stage)
def test_an_untouched_form_is_the_default_recipe(stage: Stage) -> None:
    assert described(**form(stage)) == parse_recipe(stage, "model: tiny@1\ndataset: numbers@1")


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_the_form_with_its_values(
    studio: Studio, instructions: DatasetVersion, stage: Stage, name: str
) -> None:
    offer = train_fill.fill(studio, stage=stage.value, preset=name, dataset=instructions.reference)
    about, found = _offered(offer)
    assert "Change any of its values" in about
    assert set(found) == set(presets(stage)[name])
    recipe = described(**form(stage, **{path.replace(".", "__"): value for path, value in found.items()}))
    assert values(recipe) | found == values(recipe)


def test_a_dataset_without_held_out_rows_gets_no_evaluation(studio: Studio) -> None:
    about, found = _offered(train_fill.fill(studio, stage="sft", preset="best", dataset="gone@1"))
    assert "no held-out rows" in about
    assert found["keep_best"] is False
    assert train_fill.fill(studio, stage="sft", preset=None, dataset="gone@1") == ""


def _offered(offer: str) -> tuple[str, dict[str, Any]]:
    """The note and the values by path that are put into the form."""
    parsed = json.loads(offer)
    fields = zip(FIELDS, parsed["fields"], strict=True)
    return parsed["note"], {field.path: value for field, value in fields if value is not None}


def test_form_and_yaml_carry_the_same_recipe() -> None:
    mix = mixing([("more", "more@1"), ("rest", "rest@2")], "numbers@1", {"rows": [["more@1", 0.5]]})
    sent = form(learning_rate=1e-05, lora__r=8, packing=True, output="mine", mix={**mix, "weight": 2})
    mode, _, _, written, answer, *_ = train_fill.switch(None, **sent | {"mode": YAML})  # type: ignore[arg-type]
    assert (mode, answer) == (YAML, "")
    recipe = described(**form(mode=YAML, yaml=written))
    assert dump_recipe(recipe) == dump_recipe(described(**sent))
    assert (recipe.learning_rate, recipe.weight, recipe.mix[0].dataset) == (1e-05, 2, "more@1")
    back = train_fill.switch(None, **form(mode=FORM, yaml=written, mix=mix))  # type: ignore[arg-type]
    assert back[5] == "mine"
    assert (back[6]["rows"], back[6]["weight"], len(back[6]["choices"])) == ([["more@1", 0.5]], 2, 2)
    assert by_path(back[7:])["lora.r"]["value"] == 8


def test_a_full_run_is_not_told_about_an_adapter_nobody_asked_for() -> None:
    assert described(**form(method="full", learning_rate=1e-5, lora__r=64)).method == "full"


def test_yaml_that_is_no_recipe_stays_with_every_error() -> None:
    bad = "learning_rte: 1\nepochs: true\nmodel: a\ndataset: b\n"
    found = train_fill.switch(None, **form(mode=FORM, yaml=bad))  # type: ignore[arg-type]
    mode, as_form, as_yaml, _, answer, *_ = found
    assert mode == YAML
    assert (as_form["visible"], as_yaml["visible"]) == (HIDDEN, True)
    assert "learning_rte" in answer
    assert "epochs" in answer


@pytest.mark.parametrize("stage", Stage)
def test_the_sample_recipe_is_complete(stage: Stage) -> None:
    text = train_fill.sample(None, stage=stage.value, model="tiny@1", dataset="numbers@1")  # type: ignore[arg-type]
    assert parse_recipe(stage, text).model == "tiny@1"


def test_a_recipe_without_a_model_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        described(**form(model=None, dataset=None))
    assert len(caught.value.details) == 2


def test_datasets_are_mixed_in_as_they_were_sent_and_nothing_else() -> None:
    choices = [("a", "a@1"), ("b", "b@1")]
    sent = {"weight": 3, "rows": [["b@1", 2], ["gone@1", 1], "x", ["a"], [7]]}
    assert mixing(choices, "a@1", sent) == {"choices": [["b", "b@1"]], "weight": 3, "rows": [["b@1", 2]]}
    assert mixing(choices, "b@1", sent)["weight"] == 1.0
    assert mixed({"rows": []}) == mixed(None) == mixed("x") == mixed({"rows": 4}) == {}
    assert mixed({"rows": [["b@1", None]]})["mix"] == [{"dataset": "b@1", "weight": None}]
    with pytest.raises(InvalidInput, match="error"):
        described(**form(mix={"rows": [["b@1", None]]}))
    many = [[f"d{n}@1", 1] for n in range(40)]
    with pytest.raises(InvalidInput):
        described(**form(mix={"rows": many}))
    assert len(described(**form(mix={"rows": many[:MOST]})).mix) == MOST


def test_every_stage_has_its_words_and_its_recipe() -> None:
    assert set(STAGES) == set(RECIPES) == set(Stage)
