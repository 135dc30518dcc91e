"""Sweeps as YAML files: read, and everything that is wrong with one said at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from studio.core import InvalidInput
from studio.training.recipes import Recipe, parse_recipe, recipe_text, stage_of
from studio.training.sweeps.records import CheckedPlan, Objective, SweepPlan
from studio.training.sweeps.space import JUDGED_BY_ACCURACY, read_space

_LONGEST = 64 * 1024


def read_plan(given: str | Mapping[str, Any]) -> CheckedPlan:
    """The sweep that a YAML text or values describe; whether its model and data exist is not asked.

    Raises:
        InvalidInput: It is none; ``details`` name every field that is wrong and why.
    """
    values = loaded(given) if isinstance(given, str) else dict(given)
    try:
        plan = SweepPlan.model_validate(values)
    except ValidationError as error:
        raise _refused(_lines(error)) from error
    return checked(plan)


def checked(plan: SweepPlan) -> CheckedPlan:
    """The plan with its recipe and space read.

    Raises:
        InvalidInput: One of them is wrong, or they do not fit each other.
    """
    text = recipe_text(plan.recipe)
    stage = stage_of(text)
    errors: list[str] = []
    try:
        recipe = parse_recipe(stage, text)
    except InvalidInput as error:
        raise _refused([f"recipe.{line}" for line in error.details] or [str(error)]) from error
    errors += _contradictions(plan, recipe)
    try:
        space = read_space(recipe, plan.objective, plan.space)
    except InvalidInput as error:
        raise _refused([*errors, *error.details]) from error
    if errors:
        raise _refused(errors)
    return CheckedPlan(plan, recipe, space)


def _contradictions(plan: SweepPlan, recipe: Recipe) -> Iterator[str]:
    if plan.objective is Objective.REWARDS_ACCURACY and recipe.STAGE not in JUDGED_BY_ACCURACY:
        yield f"objective: {recipe.STAGE.value.upper()} measures no eval/rewards_accuracy; take eval/loss."
    if plan.pruning.rule != "off" and not recipe.eval_every:
        yield "pruning: needs evaluations on the way; give recipe.eval_every."


def loaded(text: str) -> dict[str, Any]:
    """The fields in a YAML text.

    Raises:
        InvalidInput: It is no YAML, or no list of fields.
    """
    if len(text) > _LONGEST:
        raise InvalidInput("This is too long for a sweep.", f"Keep it below {_LONGEST // 1024} KiB.")
    try:
        data = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, RecursionError, ValueError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f"{problem}, line {mark.line + 1}." if mark and problem else "Look at configs/sweep.yaml."
        raise InvalidInput("The sweep is not YAML.", where) from error
    if not isinstance(data, dict):
        raise InvalidInput("A sweep is a list of `field: value` lines.", "Start from configs/sweep.yaml.")
    return {str(key): value for key, value in data.items()}


def _lines(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors():
        path = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"{path}: unknown key.")
        elif item["type"] == "missing":
            lines.append(f"{path}: is missing; {SweepPlan.model_fields[path].description}")
        else:
            lines.append(f"{path}: {item['msg'][0].lower() + item['msg'][1:]}.")
    return lines


def _refused(lines: list[str]) -> InvalidInput:
    return InvalidInput(
        f"This sweep has {len(lines)} error{'s'[: len(lines) != 1]}.",
        "Mend the fields below and start again; nothing was started.",
        tuple(lines),
    )
