"""A form made from a recipe class: one component a field, with the field's own words and limits.

``draw`` makes the components in two groups, the few that people change and the rest. Every field has a
dotted path (``lora.r``); ``keyword(stage, path)`` is the handler keyword that its component arrives under.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import gradio as gr
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from studio.training import CptRecipe, DpoRecipe, Recipe, SftRecipe, Stage, parse_recipe

FORM, YAML = "Form", "YAML"
#: The stages in the order of their forms.
STAGES = (Stage.CPT, Stage.SFT, Stage.DPO)
RECIPES: dict[Stage, type[Recipe]] = {Stage.CPT: CptRecipe, Stage.SFT: SftRecipe, Stage.DPO: DpoRecipe}
#: Fields that the page asks for in its own words, or that the stage decides.
ASKED_ELSEWHERE = ("stage", "model", "dataset", "output")
#: What people change from run to run; everything else is in the second group.
_USUAL = ("learning_rate", "epochs", "max_steps", "batch_size", "max_length", "beta", "method", "lora.r")
_LABELS = {
    "lora.r": "LoRA rank",
    "lora.alpha": "LoRA alpha",
    "lora.dropout": "LoRA dropout",
    "lora.targets": "LoRA layers",
    "dtype": "Precision",
}


@dataclass(frozen=True)
class Field:
    """A leaf of a recipe class: its dotted path and what pydantic knows of it."""

    path: str
    info: FieldInfo

    @property
    def label(self) -> str:
        """The field's name in words."""
        return _LABELS.get(self.path, self.path.replace("_", " ").capitalize())


def fields(recipe: type[BaseModel], prefix: str = "") -> Iterator[Field]:
    """The leaves of a recipe class in their order, those of nested settings with dotted paths."""
    for name, info in recipe.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind, f"{prefix}{name}.")
        elif name not in ASKED_ELSEWHERE:
            yield Field(prefix + name, info)


def keyword(stage: Stage, path: str) -> str:
    """The handler keyword of a field: ``sft__lora__r``."""
    return f"{stage.value}__{path.replace('.', '__')}"


def field_keys() -> list[str]:
    """The keywords of every field of every stage, in the order of their forms."""
    return [keyword(stage, field.path) for stage in STAGES for field in fields(RECIPES[stage])]


def draw(stage: Stage) -> dict[str, Any]:
    """Make the components of a stage's form; returns them by keyword."""
    every = list(fields(RECIPES[stage]))
    usual = sorted((f for f in every if f.path in _USUAL), key=lambda field: _USUAL.index(field.path))
    rest = [field for field in every if field.path not in _USUAL]
    made = _group(stage, usual)
    with gr.Accordion("More settings", open=False):
        made |= _group(stage, rest)
    return made


def _group(stage: Stage, group: list[Field]) -> dict[str, Any]:
    with gr.Row(elem_classes="td-grid"):
        return {keyword(stage, field.path): component(field) for field in group}


def component(field: Field) -> Any:
    """The component that fits a field's type."""
    kind, info = field.info.annotation, field.info
    common: dict[str, Any] = {"label": field.label, "info": info.description, "min_width": 220}
    value = info.get_default(call_default_factory=True)
    if get_origin(kind) is Literal:
        return gr.Dropdown(choices=list(get_args(kind)), value=value, filterable=False, **common)
    if kind is bool:
        return gr.Checkbox(value=value, **common)
    if kind is int:
        return gr.Number(value=value, precision=0, **common)
    if kind is float:
        return gr.Number(value=value, step=_step(value), **common)
    return gr.Textbox(value=value, **common)


def _step(value: float) -> float:
    # The browser calls a number invalid that is no multiple of the step, so small ones need a small one.
    return 1e-7 if 0 < value < 0.01 else 0.01


def values(recipe: Recipe) -> dict[str, Any]:
    """The value of every field of ``recipe`` by keyword."""
    return {keyword(recipe.STAGE, f.path): _read(recipe, f.path) for f in fields(type(recipe))}


def _read(recipe: BaseModel, path: str) -> Any:
    found: Any = recipe
    for name in path.split("."):
        found = getattr(found, name)
    return found


def entered(stage: Stage, given: Mapping[str, Any]) -> dict[str, Any]:
    """What someone entered, as nested values.

    A field that was emptied or not touched is left out: what nobody asked for cannot contradict.
    """
    nested: dict[str, Any] = {}
    for field in fields(RECIPES[stage]):
        value = given.get(keyword(stage, field.path))
        if value in (None, "") or value == field.info.get_default(call_default_factory=True):
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
    whole = {key: value for key, value in asked.items() if value} | entered(chosen, given)
    return parse_recipe(chosen, json.dumps(whole))  # JSON is YAML
