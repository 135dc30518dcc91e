"""The space of a sweep: what may vary, how it is written, and what is said of what may not."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from studio.core import InvalidInput
from studio.training import Stage, parse_recipe, recipe_text
from studio.training.recipes import CONFIGS, SWEEPS
from studio.training.sweeps.reading import read_plan
from studio.training.sweeps.records import Choices, FloatRange, IntRange, Objective
from studio.training.sweeps.space import applied, grid, offered, read_space, words

BASE = parse_recipe(Stage.SFT, "model: base\ndataset: rows\nlora: {r: 4, dropout: 0.1}\n")


def refused(
    space: dict[str, Any], objective: Objective = Objective.EVAL_LOSS, stage: Stage = Stage.SFT
) -> str:
    recipe = parse_recipe(stage, "model: base\ndataset: rows\n")
    with pytest.raises(InvalidInput) as caught:
        read_space(recipe, objective, space)
    return "\n".join(caught.value.details)


def test_a_space_is_written_as_lists_ranges_or_words() -> None:
    given = {
        "learning_rate": "1e-5 to 1e-3 log",
        "lora.r": "8, 16,32",
        "batch_size": {"low": 1, "high": 8, "step": 3},
        "epochs": [1, 2.5, 1.0],
        "scheduler": ["cosine", "linear"],
        "lora.dora": "true, false",
        "warmup_ratio": "0 to 0.2",
    }
    space = read_space(BASE, Objective.EVAL_LOSS, given)
    assert space == {
        "learning_rate": FloatRange(1e-5, 1e-3, log=True),
        "lora.r": Choices((8, 16, 32)),
        "batch_size": IntRange(1, 7, step=3),
        "epochs": Choices((1.0, 2.5)),
        "scheduler": Choices(("cosine", "linear")),
        "lora.dora": Choices((True, False)),
        "warmup_ratio": FloatRange(0.0, 0.2),
    }
    assert read_space(BASE, Objective.EVAL_LOSS, {path: words(span) for path, span in space.items()}) == space


def test_values_enter_the_recipe_and_leave_the_rest() -> None:
    made = parse_recipe(
        Stage.SFT, applied(BASE, {"lora.r": 32, "learning_rate": 1e-3, "scheduler": "linear"})
    )
    assert (made.lora.r, made.lora.dropout, made.learning_rate) == (32, 0.1, 1e-3)
    assert (made.scheduler, made.model) == ("linear", "base")
    assert BASE.lora.r == 4


@pytest.mark.parametrize("stage", Stage)
def test_what_is_offered_can_be_searched(stage: Stage) -> None:
    recipe = parse_recipe(stage, "model: base\ndataset: rows\n")
    space = read_space(recipe, Objective.REWARDS_ACCURACY, offered(stage))
    assert {"learning_rate", "lora.r"} <= set(space)


def test_every_error_is_said_at_once_and_by_its_field() -> None:
    found = refused(
        {
            "dataset": ["a", "b"],
            "max_length": [128, 256],
            "lr": [1e-3],
            "lora": [1],
            "epochs": [0, 1],
            "scheduler": {"low": 1, "high": 2},
            "lora.r": "8, many",
            "learning_rate": "0 to 1e-3 log",
            "batch_size": {"low": 4, "high": 2},
            "weight_decay": 3,
        }
    ).splitlines()
    assert len(found) == 10
    for start in (
        "space.dataset: This field is the same",
        "space.max_length: This field changes what",
        "space.lr: A recipe of this stage has no such field",
        "space.lora: A recipe of this stage has no such field",
        "space.epochs: 0 does not fit: epochs:",
        "space.scheduler: This field is no number",
        "space.lora.r: 'many' does not fit. Write whole numbers",
        "space.learning_rate: A logarithmic range",
        "space.batch_size: From 4 to 2",
        "space.weight_decay: These are no values",
    ):
        assert any(line.startswith(start) for line in found), start


def test_a_field_of_the_loss_is_only_searched_for_accuracy() -> None:
    space = {"beta": "0.01 to 0.5 log"}
    assert "part of the loss" in refused(space, stage=Stage.DPO)
    recipe = parse_recipe(Stage.DPO, "model: base\ndataset: rows\n")
    assert read_space(recipe, Objective.REWARDS_ACCURACY, space)["beta"] == FloatRange(0.01, 0.5, log=True)


def test_a_grid_has_every_combination_and_a_few_of_each_range() -> None:
    made = grid({"a": Choices((1, 2)), "b": IntRange(1, 3), "c": FloatRange(0.00123456, 0.123456, log=True)})
    assert len(made) == len({tuple(one.items()) for one in made}) == 2 * 3 * 5
    values = sorted({float(one["c"]) for one in made})
    assert (values[0], values[-1]) == (0.00123456, 0.123456)
    assert all(math.isclose(b / a, math.sqrt(10), rel_tol=0.01) for a, b in itertools.pairwise(values))
    assert [one["d"] for one in grid({"d": IntRange(0, 100)})] == [0, 25, 50, 75, 100]
    with pytest.raises(InvalidInput, match="combinations"):
        grid({str(n): Choices(tuple(range(11))) for n in range(3)})


def test_a_plan_that_contradicts_itself_is_refused() -> None:
    recipe = {"stage": "sft", "model": "base", "dataset": "rows"}
    with pytest.raises(InvalidInput) as caught:
        read_plan(
            {
                "recipe": recipe,
                "space": {"lora.r": [8], "epochs": [-1]},
                "objective": "eval/rewards_accuracy",
                "pruning": {"rule": "median"},
            }
        )
    assert [line.split(":")[0] for line in caught.value.details] == ["objective", "pruning", "space.epochs"]
    for wrong, said in (
        ({"space": {"lora.r": [8]}}, "recipe: is missing"),
        ({"recipe": recipe, "space": {}}, "space"),
        ({"recipe": recipe, "space": {"lora.r": [8]}, "trial": 3}, "trial: unknown key"),
        ({"recipe": recipe | {"lr": 1}, "space": {"lora.r": [8]}}, "recipe.lr: unknown key"),
    ):
        with pytest.raises(InvalidInput, match=said):
            read_plan(wrong)
    for text in ("[1", "- a", "a: " + "x" * 70_000):
        with pytest.raises(InvalidInput):
            read_plan(text)


@pytest.mark.parametrize("name", SWEEPS)
def test_each_config_of_a_sweep_is_good_and_opens_with_what_one_needs_to_know(name: str) -> None:
    text = (CONFIGS / f"{name}.yaml").read_text()
    opening = text.split("\n\n")[0]
    assert all(line.startswith("#") for line in opening.splitlines())
    assert "# Needs: " in opening
    assert f"python -m studio sweep configs/{name}.yaml" in opening
    found = read_plan(text)
    # Everything that can be set is shown, so that a reader never has to look for defaults.
    assert found.plan.model_fields_set == set(type(found.plan).model_fields)
    assert found.plan.pruning.model_fields_set == set(type(found.plan.pruning).model_fields)
    assert parse_recipe(found.recipe.STAGE, recipe_text(found.plan.recipe)) == found.recipe
