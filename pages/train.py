"""Train: choose what to teach, to which model, from which data; see what it comes to; and start a run.

The form and the YAML are two views of one recipe. Switching carries the recipe over; a YAML that is no
recipe stays where it is with every error named. Whatever the view, a run starts from a recipe that its class
has accepted. What the recipe comes to (memory, command) follows it while it is changed; nothing that comes by
itself touches a field that somebody may be typing in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from zlib import adler32

import gradio as gr

from pages.components import preflight_panel
from pages.components.markup import note
from pages.components.recipe_form import FIELDS, described, fingerprint
from pages.components.visits import page_visit, query
from pages.components.wiring import listen
from pages.train_choices import gpus, offered, runs_to_wait_for, stage_note
from pages.train_fill import OWN_VALUES, PUT_IN, begin, fill, sample, switch
from pages.train_layout import (
    Outcome,
    Settings,
    Subject,
    Turn,
    draw_outcome,
    draw_settings,
    draw_subject,
    draw_turn,
)
from pages.train_memory import command_view, memory_panel, use_change
from pages.train_start import standing, start
from studio.core import StudioError, new_id
from studio.studio import Studio
from studio.training import Stage, dump_recipe

TITLE = "Train"

_EVERY_SECONDS = 3.0
_CHANGED = "The recipe has changed since it was checked. Check again to see what that means."
#: What ``begin`` gives: a preset, what it trades, and every field.
_FORM = 2 + len(FIELDS)


def arrive(
    studio: Studio, request: gr.Request, *, stage: str, begun: str, after: list[str] | None, **chosen: Any
) -> tuple[Any, ...]:
    """Choices as they are now, and what the address proposes over what was chosen before.

    The form is filled on the first visit (``begun`` is empty) and where the address names another stage; else
    what somebody typed in stays.
    """
    asked = query(request)
    proposed = asked.get("stage", "")
    stage = proposed if proposed in set(Stage) else stage
    wanted = {key: asked.get(key) or chosen[key] for key in ("model", "dataset")}
    now, about, *rest = choose(studio, stage=stage, **{**chosen, **wanted})
    if stage == begun:
        rest[:_FORM] = [gr.skip()] * _FORM
    return stage, new_id("request"), runs_to_wait_for(studio, after or ()), gpus(studio), now, about, *rest


def choose(
    studio: Studio, *, stage: str, preset: str | None, model: str | None, dataset: str | None, mix: Any
) -> tuple[Any, ...]:
    """The form of ``stage`` with a preset in it, and the models and datasets to choose from."""
    chosen = Stage(stage)
    there = offered(studio, chosen, model, dataset, mix)
    return stage, stage_note(chosen), *begin(studio, chosen, preset, there[1]["value"]), *there


def look(
    studio: Studio, *, seen: str, checked: str, waiting: bool, started: str, stood: int, **given: Any
) -> tuple[Any, ...]:
    """What changed since the last look: choices that came, what the recipe comes to, where a run stands.

    Args:
        studio: What it asks.
        seen: What was entered at the last look.
        checked: The recipe as it was when the pre-flight was asked for; empty while there was none.
        waiting: Whether the pre-flight goes on; the lengths that it finds make the estimate better.
        started: The run that was started last, and ``stood`` a checksum of where it was at the last look.
        stood: See there.
        given: Everything else that is entered.
    """
    there: tuple[Any, ...] = (gr.skip(),) * 4
    if not (given["model"] and given["dataset"]):
        subject = (given[key] for key in ("model", "dataset", "mix"))
        there = offered(studio, Stage(given["stage"]), *subject)
    where = standing(studio, started)
    stands = adler32(where.encode())
    moved = (where, stands) if stands != stood else (gr.skip(), gr.skip())
    now = fingerprint(given | {"waiting": waiting})
    if now == seen:
        return (*there, *moved, *(gr.skip(),) * 4)
    turn = {key: given.pop(key) for key in ("name", "priority", "after", "anyway", "devices")}
    stale = note(_CHANGED, "td-busy") if checked and checked != _text(given) else ""
    return *there, *moved, now, memory_panel(studio, **given), command_view(**turn, **given), stale


def remember(_studio: Studio, **given: Any) -> tuple[str, str]:
    """The recipe that is being checked, so that a later change of it can be told."""
    return _text(given), ""


def _text(given: Mapping[str, Any]) -> str:
    """The recipe that the page describes as text; where it describes none, something else each time."""
    try:
        return dump_recipe(described(**given))
    except StudioError:
        return fingerprint(given)


def render(studio: Studio) -> None:
    """Draw the page."""
    subject, settings, turn, outcome = draw_subject(), draw_settings(), draw_turn(), draw_outcome()
    visit = page_visit("train", every=_EVERY_SECONDS)
    whole = {
        "stage": subject.stage,
        "model": subject.model,
        "dataset": subject.dataset,
        "mix": subject.mix,
        "output": subject.output,
        "mode": settings.mode,
        "yaml": settings.yaml,
        **settings.fields,
    }
    arrived = _choosing(studio, visit, subject, settings, turn, outcome)
    _filling(studio, subject, settings, outcome, whole)
    _starting(studio, (visit.tick, arrived.then), subject, turn, outcome, whole)


def _choosing(
    studio: Studio, visit: Any, subject: Subject, settings: Settings, turn: Turn, outcome: Outcome
) -> Any:
    """Wire the choices of stage, model and data; returns the event of somebody's arrival."""
    data = {"model": subject.model, "dataset": subject.dataset, "mix": subject.mix}
    asked = {"stage": subject.stage, "preset": settings.preset, **data}
    form = [settings.preset, settings.preset_note, *settings.fields.values()]
    chosen = [subject.begun, subject.stage_note, *form, *data.values(), subject.lack]
    listen(
        subject.stage.input, choose, studio, api_name="choose_stage", inputs=asked, outputs=chosen, quiet=True
    )
    return listen(
        visit.visit,
        arrive,
        studio,
        api_name="train",
        inputs={**asked, "begun": subject.begun, "after": turn.after},
        outputs=[subject.stage, outcome.request_id, turn.after, turn.devices, *chosen],
        quiet=True,
    )


def _filling(
    studio: Studio, subject: Subject, settings: Settings, outcome: Outcome, whole: Mapping[str, Any]
) -> None:
    """Wire what fills the recipe in: presets, the other view, the sample, the change that makes it fit."""
    fields = list(settings.fields.values())
    asked = {"stage": subject.stage, "model": subject.model, "dataset": subject.dataset}
    preset = {"stage": subject.stage, "preset": settings.preset, "dataset": subject.dataset}
    named = [subject.output, subject.mix, *fields]
    for event, name in ((settings.preset.input, "fill_preset"), (subject.dataset.input, "choose_dataset")):
        listen(event, fill, studio, api_name=name, inputs=preset, outputs=settings.offer, quiet=True).success(
            fn=None,
            js=PUT_IN,
            inputs=[settings.offer, settings.preset, settings.preset_note, *fields],
            outputs=[settings.preset_note, *fields],
            api_name=f"{name}_in",
            api_visibility="private",
        )
    gr.on(
        [field.input for field in fields],
        fn=None,
        js=f"() => [null, {json.dumps(OWN_VALUES)}]",
        outputs=[settings.preset, settings.preset_note],
        api_name="own_values",
        api_visibility="private",
    )
    views = [settings.mode, settings.form, settings.written, settings.yaml, outcome.answer, *named]
    listen(
        settings.mode.input, switch, studio, api_name="switch_recipe", inputs=whole, outputs=views, quiet=True
    )
    listen(
        settings.load.click, sample, studio, api_name="sample_recipe", inputs=asked, outputs=[settings.yaml]
    )
    changed = [outcome.memory, settings.yaml, settings.preset, settings.preset_note, *named]
    listen(outcome.memory.act, use_change, studio, api_name="use_change", inputs=whole, outputs=changed)


def _starting(
    studio: Studio,
    looks: tuple[Any, Any],
    subject: Subject,
    turn: Turn,
    outcome: Outcome,
    whole: Mapping[str, Any],
) -> None:
    """Wire the check, the start, and what follows the recipe and the run that was started."""
    seen, checked, stood = gr.State(""), gr.State(""), gr.State(0)
    panel = outcome.preflight
    preflight_panel.connect(panel, studio, {**whole, "devices": turn.devices}, looks[0])
    listen(
        panel.button.click,
        remember,
        studio,
        api_name="preflight_asked",
        inputs=whole,
        outputs=[checked, outcome.stale],
        quiet=True,
    )
    entered = {**whole, **turn.asked, "name": subject.name}
    known = {"seen": seen, "checked": checked, "stood": stood}
    known |= {"waiting": panel.waiting, "started": outcome.started}
    offers = [subject.model, subject.dataset, subject.mix, subject.lack]
    follows = [outcome.standing, stood, seen, outcome.memory, outcome.command, outcome.stale]
    for event, name in zip(looks, ("train_tick", "train_look"), strict=True):
        listen(
            event,
            look,
            studio,
            api_name=name,
            inputs={**entered, **known},
            outputs=[*offers, *follows],
            quiet=True,
        )
    listen(
        outcome.go.click,
        start,
        studio,
        api_name="start_run",
        inputs={**entered, "request_id": outcome.request_id},
        outputs=[outcome.answer, outcome.request_id, outcome.started, outcome.standing, turn.after],
    )
