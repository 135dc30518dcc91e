"""Recipes as YAML files: read, explained where they are wrong, and written.

The classes are in ``recipe_fields``. A recipe is read as YAML 1.2, so ``1e-5`` is a number and ``no`` is
a word. Whatever is wrong with it is said at once: unknown keys with the nearest known one, keys given
twice, values out of range, and fields that contradict each other. Nothing here knows whether a model or
a dataset exists.
"""

from __future__ import annotations

import difflib
import json
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from studio.core import InvalidInput, NotFound
from studio.training.recipe_fields import (
    RECIPES,
    CptRecipe,
    DpoRecipe,
    KtoRecipe,
    LoraSettings,
    MixSource,
    Recipe,
    RewardRecipe,
    SftRecipe,
    field_help,
    field_of,
    nested,
)
from studio.training.records import Stage

__all__ = [
    "CONFIGS",
    "RECIPES",
    "CptRecipe",
    "DpoRecipe",
    "KtoRecipe",
    "LoraSettings",
    "MixSource",
    "Recipe",
    "RewardRecipe",
    "SftRecipe",
    "dump_recipe",
    "field_help",
    "load_config",
    "parse_recipe",
    "recipe_text",
    "stage_of",
]

#: Larger texts are no recipes.
_LONGEST_RECIPE = 64 * 1024
#: What stands in for a field that has an error of its own while the other checks are made.
_STAND_INS = {"model": "-", "dataset": "-"}

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
#: Files in ``configs/`` that hold a sweep of a recipe and not a recipe.
SWEEPS = ("sweep",)


def parse_recipe(stage: Stage, yaml_text: str) -> Recipe:
    """The recipe that a YAML text describes.

    Raises:
        InvalidInput: The text is no recipe; ``details`` name every field that is wrong and why.
    """
    data, errors = _load(yaml_text)
    recipe: Recipe | None = None
    try:
        recipe = RECIPES[stage].model_validate(data)
    except ValidationError as error:
        errors += _explain(RECIPES[stage], data, error)
    if errors or recipe is None:
        raise InvalidInput(
            f"This {stage.value.upper()} recipe has {len(errors)} error{'s'[: len(errors) != 1]}.",
            "Mend the fields below and start again; nothing was started.",
            tuple(errors),
        )
    return recipe


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML with every default written out; reading it back gives the same recipe."""
    values = recipe.model_dump(mode="json")
    if recipe.method == "full":
        del values["lora"]
    if recipe.scheduler == "constant":
        del values["warmup_ratio"]
    out = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.representer.sort_base_mapping_type_on_output = False
    yaml.dump({"stage": values.pop("stage"), **values}, out)
    return out.getvalue()


def recipe_text(values: dict[str, Any]) -> str:
    """The text of a recipe that came as values (a JSON body); whether it is any good, parsing says.

    Raises:
        InvalidInput: The values are nested too deeply to be written.
    """
    try:
        return json.dumps(values)  # JSON is YAML
    except (RecursionError, ValueError, TypeError) as error:
        raise InvalidInput("The recipe cannot be read.", "Give one mapping of fields to values.") from error


def stage_of(yaml_text: str) -> Stage:
    """The stage that a recipe names in its field ``stage``.

    Raises:
        InvalidInput: It names none, or none that there is.
    """
    named = _load(yaml_text)[0].get("stage")
    if named not in [stage.value for stage in Stage]:
        raise InvalidInput(
            f"The recipe's stage is {named!r}." if named else "The recipe does not name its stage.",
            f"Put one of these in it: {', '.join(f'stage: {stage.value}' for stage in Stage)}.",
        )
    return Stage(named)


def load_config(name: str) -> str:
    """The text of ``configs/<name>.yaml`` as it came with the project.

    Raises:
        NotFound: There is no such file.
    """
    known = {path.stem: path for path in sorted(CONFIGS.glob("*.yaml")) if path.stem not in SWEEPS}
    if name not in known:
        raise NotFound(f"There is no configs/{name}.yaml.", f"Take one of: {', '.join(known)}.")
    return known[name].read_text(encoding="utf-8")


def _load(text: str) -> tuple[dict[str, Any], list[str]]:
    """The mapping in ``text``, and which keys were given twice (the first value is then kept)."""
    if len(text) > _LONGEST_RECIPE:
        raise InvalidInput("This is too long for a recipe.", f"Keep it below {_LONGEST_RECIPE // 1024} KiB.")
    errors: list[str] = []
    try:
        data = _reader().load(text)
    except DuplicateKeyError as error:
        errors.append(_twice(error))
        data = _reader(allow_duplicates=True).load(text)
    except (YAMLError, RecursionError, ValueError) as error:
        raise InvalidInput("The recipe is not YAML.", _where(error)) from error
    if not isinstance(data, dict):
        raise InvalidInput("A recipe is a list of `field: value` lines.", "Start from a file in configs/.")
    return {str(key): value for key, value in data.items()}, errors


def _reader(*, allow_duplicates: bool = False) -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = allow_duplicates
    return yaml


def _twice(error: DuplicateKeyError) -> str:
    line = error.problem_mark.line + 1 if error.problem_mark else "?"
    key = str(error.problem).split('"')[1] if '"' in str(error.problem) else "a key"
    return f"{key}: given twice (again in line {line}); keep one."


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "It is nested too deeply or holds an impossible value"
    return f"{problem}, line {mark.line + 1}." if mark else f"{problem}."


def _explain(kind: type[Recipe], data: dict[str, Any], error: ValidationError) -> list[str]:
    """Every error as a line that opens with the field's name, contradictions included."""
    lines = [line for item in error.errors() for line in _lines(kind, item)]
    wrong = {str(item["loc"][0]) for item in error.errors() if item["loc"]}
    if not wrong:
        return lines
    # Fields with errors of their own are left out, so that contradictions among the others show too.
    rest = {**_STAND_INS, **{key: value for key, value in data.items() if key not in wrong}}
    try:
        kind.model_validate(rest)
    except ValidationError as second:
        lines += [line for item in second.errors() if not item["loc"] for line in _lines(kind, item)]
    return lines


def _lines(kind: type[Recipe], item: Any) -> list[str]:
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return [_unknown(kind, path)]
    if item["type"] == "missing":
        return [f"{path}: is missing; {_description(kind, path)}"]
    message = item["msg"].removeprefix("Value error, ")
    if not path:
        return message.splitlines()  # type: ignore[no-any-return]
    return [f"{path}: {message[0].lower() + message[1:]}, not {item['input']!r}."]


def _unknown(kind: type[Recipe], path: str) -> str:
    *outer, key = path.split(".")
    owner = nested(kind, outer[0]) if outer else kind
    known = list(owner.model_fields) if owner else []
    spoken = {"lr": "learning_rate", "batch": "batch_size", "num_epochs": "epochs", "rank": "r"}
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    guess = spoken.get(key) if spoken.get(key) in known else (near[0] if near else None)
    return f"{path}: unknown key" + (f"; did you mean {guess}?" if guess else ".")


def _description(kind: type[Recipe], path: str) -> str:
    field = field_of(kind, path)
    return str(field.description or "") if field else ""
