"""A form made from the recipe classes: one component a field, with the field's own words and limits.

There is one form for all stages: a field that several share is one component, and one that a stage lacks is
hidden there. Every field has a dotted path (``lora.r``) and a keyword under which its component reaches a
handler. What people change from run to run stands first; ``recipe_form_groups`` folds the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin

import gradio as gr
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pages.components.recipe_form_mix import mixed
from pages.components.visible import when
from studio.training import RECIPES, Recipe, Stage, parse_recipe, recipe_text

FORM, YAML = "Form", "YAML"
#: Fields that the page asks for in its own words, or that the stage decides.
ASKED_ELSEWHERE = ("stage", "model", "dataset", "output", "weight", "mix")
_LABELS = {
    "lora.r": "LoRA rank",
    "lora.alpha": "LoRA alpha",
    "lora.dropout": "LoRA dropout",
    "lora.targets": "LoRA layers",
    "lora.dora": "DoRA",
    "lora.plus_ratio": "LoRA+ ratio",
    "dtype": "Precision",
    "neftune_alpha": "NEFTune alpha",
    "eval_every": "Evaluate every",
    "eval_rows": "Rows to evaluate on",
}


@dataclass(frozen=True)
class Field:
    """A leaf of the recipe classes: its dotted path, what pydantic knows of it, and which stages have it."""

    path: str
    info: FieldInfo
    stages: tuple[Stage, ...]

    @property
    def label(self) -> str:
        """The field's name in words."""
        return _LABELS.get(self.path, self.path.replace("_", " ").capitalize())

    @property
    def key(self) -> str:
        """The keyword under which its component reaches a handler: ``recipe__lora__r``."""
        return f"recipe__{self.path.replace('.', '__')}"


def _collected() -> tuple[Field, ...]:
    found: dict[str, Field] = {}
    for stage, recipe in RECIPES.items():
        for path, info in _leaves(recipe):
            known = found.get(path, Field(path, info, ()))
            found[path] = replace(known, stages=(*known.stages, stage))
    return tuple(found.values())


def _leaves(recipe: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, info in recipe.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, f"{prefix}{name}.")
        elif prefix or name not in ASKED_ELSEWHERE:
            yield prefix + name, info


#: Every field of the form.
FIELDS = _collected()
_DEFAULTS = {stage: dict(_leaves(recipe)) for stage, recipe in RECIPES.items()}


def default(stage: Stage, path: str) -> Any:
    """What a recipe of ``stage`` has in a field that nobody filled in."""
    return _DEFAULTS[stage][path].get_default(call_default_factory=True)


def component(field: Field, stage: Stage) -> Any:
    """The component that fits a field's type, as ``stage`` shows it."""
    kind = field.info.annotation
    here = stage in field.stages
    value = default(stage if here else field.stages[0], field.path)
    common: dict[str, Any] = {
        "label": field.label,
        "info": field.info.description,
        "min_width": 220,
        "value": value,
        "visible": when(here),
    }
    if get_origin(kind) is Literal:
        return gr.Dropdown(choices=list(get_args(kind)), filterable=False, **common)
    if kind is bool:
        return gr.Checkbox(**common)
    if kind is int:
        return gr.Number(precision=0, **common)
    if kind is float:
        return gr.Number(step=_step(value), **common)
    return gr.Textbox(**common)


def _step(value: float) -> float:
    # The browser calls a number invalid that is no multiple of the step, so small ones need a small one.
    return 1e-7 if 0 < value < 0.01 else 0.01


def values(recipe: Recipe) -> dict[str, Any]:
    """The value of every field of ``recipe`` by its path."""
    return {f.path: _read(recipe, f.path) for f in FIELDS if recipe.STAGE in f.stages}


def _read(recipe: BaseModel, path: str) -> Any:
    found: Any = recipe
    for name in path.split("."):
        found = getattr(found, name)
    return found


def filled(found: Mapping[str, Any]) -> tuple[Any, ...]:
    """What puts values (by path) into the form, in the order of ``FIELDS``; other fields stay as they are."""
    return tuple(gr.update(value=found[f.path]) if f.path in found else gr.skip() for f in FIELDS)


def shown_for(stage: Stage, found: Mapping[str, Any]) -> tuple[Any, ...]:
    """As ``filled``, and every field shown that ``stage`` has and hidden that it lacks."""
    return tuple(
        gr.update(visible=when(stage in f.stages), **({"value": found[f.path]} if f.path in found else {}))
        for f in FIELDS
    )


def entered(stage: Stage, given: Mapping[str, Any]) -> dict[str, Any]:
    """What someone entered, as nested values.

    A field that was emptied or not touched is left out: what nobody asked for cannot contradict. So is the
    shape of an adapter where every weight is trained: the form cannot be without it.
    """
    nested: dict[str, Any] = {}
    whole_weights = given.get("recipe__method") == "full"
    for field in FIELDS:
        value = given.get(field.key)
        if stage not in field.stages or value in (None, "") or value == default(stage, field.path):
            continue
        if whole_weights and field.path.startswith("lora."):
            continue
        place = nested
        *outer, name = field.path.split(".")
        for part in outer:
            place = place.setdefault(part, {})
        place[name] = value
    return nested


def described(
    *,
    stage: str,
    mode: str,
    yaml: str,
    model: str | None,
    dataset: str | None,
    output: str,
    mix: Any = None,
    **given: Any,
) -> Recipe:
    """The recipe that the view in use describes: the YAML as it stands, or the form.

    Raises:
        InvalidInput: It is none; ``details`` name every field that is wrong.
    """
    chosen = Stage(stage)
    if mode == YAML:
        return parse_recipe(chosen, yaml or "")
    asked = {"model": model, "dataset": dataset, "output": (output or "").strip()}
    whole = {key: value for key, value in asked.items() if value}
    return parse_recipe(chosen, recipe_text(whole | entered(chosen, given) | mixed(mix)))


def fingerprint(given: Mapping[str, Any]) -> str:
    """A text that is another one once anything that was entered is."""
    return json.dumps(given, sort_keys=True, default=str)
