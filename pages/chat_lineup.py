"""Who is compared: the pickers of the chat page, and how answers are drawn.

The pickers say which two, never which side: in a blind comparison the arena draws the sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from pages.chat_layout import PICKERS
from pages.components.visible import HIDDEN, when
from pages.components.visits import query
from studio.core import StudioError
from studio.registry import ModelKind, ModelVersion
from studio.serving import DeploymentState
from studio.studio import Studio

BLIND, NAMED = "Blind", "Named"
MODELS, VARIANTS = "Two models", "Variants of a deployment"


def arrive(
    studio: Studio, request: gr.Request, *, first: str | None, second: str | None, applied: str
) -> tuple[Any, ...]:
    """The pickers with what there is now. The address is applied once; after that people choose."""
    models = tuple(model for model in studio.registry.list(studio.actor) if model.writes)
    names = [model.reference for model in models]
    shared = comparable(studio)
    wanted, applied = _arrived(query(request), applied)
    variants = wanted.get("deployment", "") in shared
    mode = {"1": gr.update(value=BLIND), "0": gr.update(value=NAMED)}.get(wanted.get("blind", ""), gr.skip())
    a = _named(studio, wanted.get("a", "")) or first or _newest(models, ModelKind.ADAPTER)
    b = _named(studio, wanted.get("b", "")) or second or _newest(models, ModelKind.BASE, other_than=a)
    return (
        # Models that this person may not list can still stand behind a deployment.
        gr.update(visible=when(not (names or shared))),
        gr.update(visible=when(bool(names or shared))),
        mode,
        gr.update(visible=when(bool(shared)), value=VARIANTS)
        if variants
        else gr.update(visible=when(bool(shared))),
        gr.update(choices=names, value=a),
        gr.update(choices=names, value=b),
        gr.update(choices=shared, value=wanted["deployment"]) if variants else gr.update(choices=shared),
        applied,
    )


def arrive_arena(
    studio: Studio, request: gr.Request, *, first: str | None, second: str | None, applied: str
) -> tuple[Any, ...]:
    """The same where nobody needs to choose: what is in use now is compared, if two variants are."""
    shared = comparable(studio)
    *pickers, now = arrive(studio, request, first=first, second=second, applied=applied)
    if applied or now or not shared:
        return *pickers, now
    missing, page, mode, _source, *models, _deployment = pickers
    source = gr.update(visible=True, value=VARIANTS)
    return missing, page, mode, source, *models, gr.update(choices=shared, value=shared[0]), "in use"


def _arrived(asked: Mapping[str, str], applied: str) -> tuple[dict[str, str], str]:
    """What the address asks for, if that was not applied before."""
    wanted = {key: asked[key] for key in ("a", "b", "deployment", "blind") if asked.get(key)}
    now = repr(wanted)
    return (wanted, now) if wanted and now != applied else ({}, applied)


def comparable(studio: Studio) -> list[str]:
    """The live deployments with at least two variants."""
    found = studio.serving.deployments(studio.actor)
    return [d.name for d in found if len(d.variants) > 1 and d.state is DeploymentState.LIVE]


def _named(studio: Studio, reference: str) -> str | None:
    try:
        return studio.registry.version(studio.actor, reference).reference if reference else None
    except StudioError:
        return None


def _newest(models: Sequence[ModelVersion], kind: ModelKind, other_than: str | None = None) -> str | None:
    """The newest model of a kind, else the newest of any; another one than was taken, if there is one."""
    names = [m.reference for m in models if m.kind is kind] + [m.reference for m in models]
    return next((name for name in names if name != other_than), names[0] if names else None)


def pick_source(_studio: Studio, *, source: str) -> tuple[Any, ...]:
    """Show the pickers of two models, or the one of a deployment."""
    models = gr.update(visible=when(source == MODELS))
    return models, models, gr.update(visible=when(source == VARIANTS))


def draw_pickers(*, plain: bool = False) -> tuple[list[Any], dict[str, Any]]:
    """The pickers of the line-up in their order, and the settings of sampling by keyword.

    ``plain`` folds everything and leaves out what only people who train models have a use for.
    """
    if plain:
        with gr.Accordion("What is compared", open=False, elem_classes="td-form"):
            return _draw_line_up(plain=True), _draw_sampling(plain=True)
    pickers = _draw_line_up(plain=False)
    with gr.Accordion("How answers are drawn", open=False, elem_classes="td-form"):
        return pickers, _draw_sampling(plain=False)


def _draw_line_up(*, plain: bool) -> list[Any]:
    compare = [(MODELS, MODELS), ("What is in use now" if plain else VARIANTS, VARIANTS)]
    with gr.Row(elem_classes="td-form td-lineup"):
        mode = gr.Radio([BLIND, NAMED], value=BLIND, label="Names", min_width=180, scale=1)
        source = gr.Radio(compare, value=MODELS, label="Compare", visible=HIDDEN, min_width=220, scale=2)
        first = gr.Dropdown([], label="One model", min_width=200, scale=2)
        second = gr.Dropdown([], label="Other model", min_width=200, scale=2)
        name = "Assistant" if plain else "Deployment"
        deployment = gr.Dropdown([], label=name, visible=HIDDEN, min_width=200, scale=3)
    pickers = [mode, source, first, second, deployment]
    assert len(pickers) == PICKERS
    return pickers


def _draw_sampling(*, plain: bool) -> dict[str, Any]:
    temperature, zero = "Temperature", "0 is always the likeliest word."
    if plain:
        temperature, zero = "How inventive", "0 always gives the likeliest answer."
    with gr.Row():
        return {
            "temperature": gr.Slider(0.0, 2.0, 0.7, step=0.05, label=temperature, info=zero),
            "top_p": gr.Slider(0.05, 1.0, 0.95, step=0.05, label="Top p", visible=when(not plain)),
            "max_tokens": gr.Slider(
                16,
                1024,
                256,
                step=16,
                label="Longest answer",
                info="In pieces of words." if plain else "In tokens.",
            ),
            "repetition": gr.Slider(
                0.5, 2.0, 1.0, step=0.05, label="Repetition penalty", visible=when(not plain)
            ),
            "seed": gr.Textbox(
                "", label="Seed", info="Empty: drawn anew each time.", max_lines=1, visible=when(not plain)
            ),
        }
