"""Presets: each is a recipe of its stage, within what is usual, and leaves nothing of another one behind."""

from __future__ import annotations

import pytest

from studio.training import Stage, parse_recipe
from studio.training.preflight.recipe_checks import _RATES
from studio.training.presets import PRESETS, fitted, presets, trade, usual
from studio.training.retry import patched


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(("rows", "held_out"), [(1, 1), (250, 28), (10**6, 10**4), (40, 0)])
def test_a_preset_is_a_recipe_of_its_stage(stage: Stage, name: str, rows: int, held_out: int) -> None:
    plain = parse_recipe(stage, "model: m\ndataset: d")
    values = fitted(presets(stage)[name], rows, held_out)
    recipe = patched(plain, values)
    low, high = _RATES[stage][0]
    assert low <= recipe.learning_rate <= high
    assert recipe.eval_every >= 0
    assert held_out or not (recipe.eval_every or recipe.keep_best or recipe.early_stop_patience)


@pytest.mark.parametrize("stage", Stage)
def test_presets_of_a_stage_set_the_same_fields_to_other_values(stage: Stage) -> None:
    made = presets(stage)
    assert tuple(made) == PRESETS
    assert usual() in made
    assert len({frozenset(values) for values in made.values()}) == 1
    assert len({values["learning_rate"] for values in made.values()}) == len(PRESETS)
    assert len({trade(stage, name) for name in PRESETS}) == len(PRESETS)


def test_evaluations_come_a_few_times_a_pass_however_many_rows_there_are() -> None:
    balanced = presets(Stage.SFT)["balanced"]
    assert fitted(balanced, 8, 2)["eval_every"] == 1
    assert fitted(balanced, 8_000, 100)["eval_every"] == 250
    assert presets(Stage.SFT)["balanced"] == balanced
