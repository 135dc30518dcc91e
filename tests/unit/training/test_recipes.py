"""Recipes: what is refused, what is said about it, and that the shipped ones are good."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core import InvalidInput, NotFound
from studio.training import (
    CptRecipe,
    DpoRecipe,
    KtoRecipe,
    LoraSettings,
    MixSource,
    Recipe,
    RewardRecipe,
    SftRecipe,
    Stage,
    dump_recipe,
    field_help,
    load_config,
    parse_recipe,
    recipe_text,
    stage_of,
)
from studio.training.recipes import CONFIGS, RECIPES, SWEEPS

RECIPE_FILES = sorted(path for path in CONFIGS.glob("*.yaml") if path.stem not in SWEEPS)
LEAST = "model: base\ndataset: rows\n"


def errors(stage: Stage, text: str) -> tuple[str, ...]:
    with pytest.raises(InvalidInput) as caught:
        parse_recipe(stage, text)
    return caught.value.details


def test_numbers_are_read_as_yaml_1_2_reads_them() -> None:
    recipe = parse_recipe(Stage.SFT, LEAST + "learning_rate: 1e-5\noutput: no\nmax_steps: 010\n")
    assert recipe.learning_rate == 1e-5
    assert recipe.output == "no"
    assert recipe.max_steps == 10


def test_every_error_is_said_at_once() -> None:
    text = "model: ''\nlr: 1e-5\nepochs: -1\nbatch_size: true\nlora: {rank: 4, alpha: x}\nmax_length: 8\n"
    found = errors(Stage.DPO, text + "loss: ipo\nlabel_smoothing: 0.2\nbeta: .nan\n")
    fields = [line.split(":")[0] for line in found]
    wanted = [
        "model",
        "dataset",
        "lora.alpha",
        "lora.rank",
        "epochs",
        "batch_size",
        "max_length",
        "beta",
        "lr",
    ]
    assert sorted(fields) == sorted([*wanted, "label_smoothing"])
    assert "lr: unknown key; did you mean learning_rate?" in found
    assert "lora.rank: unknown key; did you mean r?" in found


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("learningrate", "learning_rate"),
        ("epoch", "epochs"),
        ("gradient_acumulation", "gradient_accumulation"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(key: str, near: str) -> None:
    assert errors(Stage.CPT, LEAST + f"{key}: 1\n") == (f"{key}: unknown key; did you mean {near}?",)


def test_a_key_of_another_stage_is_unknown() -> None:
    assert errors(Stage.CPT, LEAST + "assistant_only: true\n") == ("assistant_only: unknown key.",)


def test_a_key_given_twice_is_refused_with_the_other_errors() -> None:
    found = errors(Stage.SFT, LEAST + "seed: 1\nepochs: 0\nseed: 2\n")
    assert found[0] == "seed: given twice (again in line 5); keep one."
    assert found[1].startswith("epochs:")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("max_steps: 0", "max_steps"),
        ("method: full\nlora: {r: 8}\nlearning_rate: 1e-5", "lora"),
        ("method: full\nlearning_rate: 2e-3", "learning_rate"),
        ("scheduler: constant\nwarmup_ratio: 0.1", "warmup_ratio"),
        ("stage: cpt", "stage"),
        ("weight: 2", "weight"),
        ("mix: [{dataset: other}, {dataset: rows}]", "mix"),
        ("mix: [{dataset: other, weight: 0}]", "mix.0.weight"),
        ("mix: [{name: other}]", "mix.0.dataset mix.0.name"),
        ("early_stop_patience: 2", "early_stop_patience"),
        ("keep_best: true", "keep_best"),
        ("parallel: fsdp", "parallel"),
        ("parallel: fsdp\nprocesses: 2\nmethod: qlora", "parallel"),
        ("parallel: deepspeed\nkeep_best: true\neval_every: 5", "keep_best"),
        ("neftune_alpha: -1", "neftune_alpha"),
        ("lora: {plus_ratio: 0.5}", "lora.plus_ratio"),
    ],
)
def test_contradictions_are_refused(text: str, field: str) -> None:
    found = {line.split(":")[0] for line in errors(Stage.SFT, LEAST + text)}
    assert found == set(field.split())


@pytest.mark.parametrize(
    ("stage", "text", "field"),
    [
        (Stage.DPO, "loss: ipo\nlabel_smoothing: 0.1", "label_smoothing"),
        (Stage.DPO, "loss: robust", "label_smoothing"),
        (Stage.KTO, "batch_size: 1", "batch_size"),
        (Stage.KTO, "neftune_alpha: 5", "neftune_alpha"),
        (Stage.REWARD, "beta: 0.1", "beta"),
    ],
)
def test_what_a_stage_cannot_use_is_refused(stage: Stage, text: str, field: str) -> None:
    assert [line.split(":")[0] for line in errors(stage, LEAST + text)] == [field]


def test_every_field_has_help_in_plain_words() -> None:
    for kind in RECIPES.values():
        for name in kind.model_fields:
            if name != "stage":
                assert field_help(name).endswith((".", "GPU.")), name
    for settings, owner in ((LoraSettings, "lora"), (MixSource, "mix")):
        for name in settings.model_fields:
            assert field_help(f"{owner}.{name}"), name
    assert field_help("mix.0.weight") == field_help("mix.weight")
    assert field_help("lora.nothing") == field_help("nothing") == ""


def test_a_new_field_leaves_an_old_recipe_as_it_was() -> None:
    old = parse_recipe(Stage.SFT, LEAST)
    assert (old.engine, old.mix, old.weight, old.attention, old.processes) == ("trl", (), 1.0, "auto", 1)
    assert (old.early_stop_patience, old.keep_best, old.eval_rows) == (0, False, 0)
    assert (old.lora.dora, old.lora.plus_ratio, old.parallel) == (False, 1.0, "ddp")
    assert old.datasets == ("rows",)


@pytest.mark.parametrize(
    "text", ["- a\n- b", "just words", "a: [", "a: *nothing", "{" * 5000, "x" * 70_000, ""]
)
def test_what_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_recipe(Stage.SFT, text)


@given(st.text(max_size=60))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    try:
        parse_recipe(Stage.CPT, text)
    except InvalidInput:
        return


@pytest.mark.parametrize(
    "recipe",
    [
        CptRecipe(model="a", dataset="b", method="full", learning_rate=1e-5),
        SftRecipe(model="a", dataset="b@2", scheduler="constant", seed=7),
        DpoRecipe(model="a", dataset="b", beta=0.3, output="no"),
        KtoRecipe(model="a", dataset="b", mix=(MixSource(dataset="c", weight=0.5),), weight=2.0),
        RewardRecipe(model="a", dataset="b", method="qlora", lora=LoraSettings(dora=True)),
    ],
)
def test_a_recipe_survives_being_written(recipe: Recipe) -> None:
    text = dump_recipe(recipe)
    assert text.startswith(f"stage: {recipe.STAGE}\n")
    again = parse_recipe(recipe.STAGE, text)
    assert again.model_dump() == recipe.model_dump()
    assert dump_recipe(again) == text


def test_a_json_body_is_a_recipe() -> None:
    text = recipe_text({"model": "a", "dataset": "b", "learning_rate": 1e-5, "lora": {"r": 4}})
    assert parse_recipe(Stage.SFT, text).lora.r == 4


def test_a_recipe_names_its_stage() -> None:
    assert stage_of("stage: dpo\n" + LEAST) is Stage.DPO
    with pytest.raises(InvalidInput, match="does not name"):
        stage_of(LEAST)
    with pytest.raises(InvalidInput, match="'ppo'"):
        stage_of("stage: ppo")


@pytest.mark.parametrize("path", RECIPE_FILES, ids=lambda path: path.stem)
def test_each_config_is_good_and_opens_with_what_one_needs_to_know(path) -> None:
    text = load_config(path.stem)
    recipe = parse_recipe(stage_of(text), text)
    opening = text.split("\n\n")[0]
    assert all(line.startswith("#") for line in opening.splitlines())
    assert re.search(r"^# Needs: .*CPU.*memory", opening, re.MULTILINE)
    assert f"python -m studio train configs/{path.name}" in opening
    # Everything that can be set is shown, so that a reader never has to look for defaults.
    shown = set(re.findall(r"^(\w+):", text, re.MULTILINE))
    hidden = {"lora"} if recipe.method == "full" else set()
    assert shown | hidden == set(type(recipe).model_fields)
    if recipe.adapts:
        inner = set(re.findall(r"^  (\w+):", text, re.MULTILINE))
        assert inner == set(LoraSettings.model_fields)


def test_there_is_a_config_for_each_stage() -> None:
    assert {stage_of(path.read_text()) for path in RECIPE_FILES} == set(RECIPES)
    with pytest.raises(NotFound, match="nothing"):
        load_config("nothing")
