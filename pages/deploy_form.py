"""The form that creates or changes a deployment: a name and up to four weighted variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.markup import address, error_note, link, note
from pages.components.panels import panel_head
from pages.components.visible import HIDDEN, when
from pages.components.visits import block
from pages.deploy_views import share_words, variant_models
from studio.core import StudioError
from studio.serving import Deployment, VariantSpec
from studio.studio import Studio

MOST_VARIANTS = 4
_FIELDS = ("variant", "model", "weight", "prompt")
_NAMES = ("main", "candidate", "third", "fourth")


@dataclass(frozen=True)
class _Filled:
    """What the form is filled with when it is opened."""

    name: str
    models: list[str]
    variants: tuple[VariantSpec, ...] = ()


def form_updates(
    studio: Studio, asked: Mapping[str, str], deployment: Deployment | None, applied: str
) -> tuple[Any, ...]:
    """The form: whether it is open, filled once for each address, its pickers always up to date.

    ``applied`` is the address that it was filled for; the last of the updates is what it is now filled for.
    """
    changing = deployment is not None and asked.get("change") == "1"
    open_ = changing or bool(asked.get("new") or asked.get("model"))
    now = repr((changing and asked.get("deployment"), asked.get("new"), asked.get("model"))) if open_ else ""
    choices = [model.reference for model in studio.registry.list(studio.actor) if model.writes]
    if not open_ or now == applied:
        kept = (gr.skip(), gr.update(choices=choices), gr.skip(), gr.skip())
        return (
            gr.update(visible=when(open_)),
            gr.skip(),
            gr.skip(),
            *kept * MOST_VARIANTS,
            *_hidden_rows(None),
            now,
        )
    filled = _filling(studio, asked, deployment if changing else None)
    number = max(len(filled.models), 1)
    rows = [cell for place in range(MOST_VARIANTS) for cell in _row_update(filled, place, choices)]
    return (gr.update(visible=True), filled.name, number, *rows, *_hidden_rows(number), now)


def _filling(studio: Studio, asked: Mapping[str, str], deployment: Deployment | None) -> _Filled:
    if deployment is not None:
        return _Filled(
            deployment.name, list(variant_models(studio, deployment))[:MOST_VARIANTS], deployment.variants
        )
    wanted = asked.get("model", "")
    try:
        return _Filled("", [studio.registry.version(studio.actor, wanted).reference] if wanted else [])
    except StudioError:
        return _Filled("", [])


def _row_update(filled: _Filled, place: int, choices: list[str]) -> tuple[Any, ...]:
    model = filled.models[place] if place < len(filled.models) else None
    if place < len(filled.variants):
        spec = filled.variants[place]
        return (spec.name, gr.update(choices=choices, value=model), spec.weight, spec.system_prompt)
    return (_NAMES[place], gr.update(choices=choices, value=model), 1, "")


def _hidden_rows(number: int | None) -> list[Any]:
    if number is None:
        return [gr.skip()] * MOST_VARIANTS
    return [gr.update(visible=when(place < number)) for place in range(MOST_VARIANTS)]


def pick_number(_studio: Studio, *, number: float) -> list[Any]:
    """Show as many variant rows as were asked for."""
    return _hidden_rows(int(number))


def deploy(studio: Studio, *, name: str, number: float, **given: Any) -> Markup:
    """Create or change a deployment; says what is live now, or every fault."""
    try:
        variants = tuple(_variant(studio, given, place) for place in range(int(number)))
        made = studio.serving.deploy(studio.actor, name.strip(), variants)
    except StudioError as error:
        return error_note(error)
    open_it = link("Open it", address("deploy", deployment=made.name))
    said = Markup("<strong>{} is live</strong> as revision {}: {}. {}").format(
        made.name, made.revision, share_words(made), open_it
    )
    return note(said, "td-good")


def _variant(studio: Studio, given: Mapping[str, Any], place: int) -> VariantSpec:
    name, model, weight, prompt = (given[f"{field}_{place}"] for field in _FIELDS)
    reference = str(model or "")
    known = studio.registry.version(studio.actor, reference).id if reference else ""
    return VariantSpec(str(name or "").strip(), known, float(weight or 0), str(prompt or "").strip())


def draw_form() -> tuple[Any, dict[str, Any], list[Any], Any, Any]:
    """The form of a deployment: its column, its fields in order, the variant rows, the answer, the button."""
    fields: dict[str, Any] = {}
    rows: list[Any] = []
    with gr.Column(visible=HIDDEN, elem_classes="td-card td-form") as form:
        block(panel_head("Create or change a deployment", address("deploy")))
        with gr.Row():
            fields["name"] = gr.Textbox(
                "", label="Name", info="Lower-case letters, digits, dots and dashes.", scale=2
            )
            fields["number"] = gr.Radio(
                [1, 2, 3, 4], value=1, label="Variants", info="With two or more, votes compare them."
            )
        for place in range(MOST_VARIANTS):
            with gr.Row(visible=when(place == 0), elem_classes="td-variant-row") as row:
                fields[f"variant_{place}"] = gr.Textbox(_NAMES[place], label="Variant", min_width=120)
                fields[f"model_{place}"] = gr.Dropdown([], label="Model", min_width=220, scale=2)
                fields[f"weight_{place}"] = gr.Number(1, label="Weight", minimum=0, min_width=90)
                fields[f"prompt_{place}"] = gr.Textbox(
                    "", label="System prompt (optional)", min_width=220, scale=3, max_lines=6
                )
            rows.append(row)
        with gr.Row(elem_classes="td-actions"):
            go = gr.Button("Deploy", variant="primary", size="md")
        answer = block()
    return form, fields, rows, answer, go
