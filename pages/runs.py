"""Runs: every training run, its curve first, and what can be done about it.

The address says which run is open (``run``), which others lie over its curve (``with``), and how the list is
searched and sorted. The curve and the log fetch their own news; this page renders what changes slowly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from zlib import adler32

import gradio as gr
from markupsafe import Markup

from pages.components.live_plot import MOST_RUNS, Curve, live_plot, plotted, run_colour
from pages.components.log_tail import log_tail
from pages.components.markup import (
    SKELETON,
    address,
    button,
    empty,
    error_note,
    link,
    page_head,
    state_chip,
    tag,
)
from pages.components.record_list import Column, Entry, matches, no_match, record_list, search_box, tick_box
from pages.components.run_detail import headline, run_facts, told
from pages.components.visible import HIDDEN, switch, when
from pages.components.visits import block, page_visit, query
from pages.components.wiring import listen, toast
from pages.components.wording import ago, significant
from studio.core import StudioError
from studio.jobs import JobState
from studio.studio import Studio
from studio.training import Run, Stage

TITLE = "Runs"

_EVERY_SECONDS = 2.0
#: Runs that are searched, and rows that are shown of what was found.
_LISTED, _SHOWN = 2000, 200
_COLUMNS = (
    Column("Run", "name", "td-main", bare=True),
    Column("State", "state", bare=True),
    Column("Stage", "stage", bare=True),
    Column("Train loss", "loss", "td-num"),
    Column("Held-out", "held_out", "td-num"),
    Column("Started", "when", "td-num"),
)
_SORTS = {
    "name": lambda run: run.name.casefold(),
    "state": lambda run: run.state.value,
    "stage": lambda run: run.stage.value,
    "loss": lambda run: run.summary.get("train/loss", float("inf")),
    "held_out": lambda run: _held_out(run) or 0.0,
    "when": lambda run: run.created_at,
}
_CAN_RESUME = (JobState.STOPPED, JobState.FAILED, JobState.LOST)
_CAN_STOP = (JobState.QUEUED, JobState.STARTING, JobState.RUNNING)


def view(studio: Studio, request: gr.Request) -> tuple[Any, ...]:
    """Everything on the page that the address and the runs decide."""
    asked = query(request)
    runs = studio.training.list(studio.actor, _LISTED)
    opened = _opened(studio, runs, asked)
    if isinstance(opened, StudioError):
        return (listing(runs, asked, None), gr.update(visible=True), error_note(opened), *_closed())
    if opened is None:
        return (listing(runs, asked, None), gr.update(visible=HIDDEN), "", *_closed())
    curves = [Curve(run.id, run.name) for run in _overlaid(runs, opened, asked)]
    return (
        listing(runs, asked, opened.id),
        gr.update(visible=True),
        headline(opened),
        plotted(curves),
        gr.update(visible=when(opened.state in _CAN_STOP)),
        gr.update(visible=when(opened.state in _CAN_RESUME)),
        run_facts(studio, opened),
        told(opened),
        opened.recipe,
        opened.id,
    )


def tick(studio: Studio, request: gr.Request, *, before: str) -> tuple[Any, ...]:
    """What ``view`` gives; a list that is as it was ``before`` does not travel again."""
    rows, *rest = view(studio, request)
    now = str(adler32(rows.encode()))
    return now, gr.skip() if now == before else rows, *rest


def _closed() -> tuple[Any, ...]:
    hidden = gr.update(visible=HIDDEN)
    return plotted(()), hidden, hidden, "", "", "", ""


def listing(runs: Sequence[Run], asked: Mapping[str, str], opened: str | None) -> Markup:
    """The list, searched and sorted as the address asks; an empty state where there is no run at all."""
    if not runs:
        return empty(
            "No runs yet.",
            "Fine-tune the sample assistant: a few minutes on this machine, and the curve grows here.",
            button("Set up a run", address("train", stage="sft")),
        )
    found = [run for run in runs if matches(asked.get("q", ""), run.name, run.stage, run.state, run.id)]
    if not found:
        return no_match("No run matches. Search for a name, a stage, a state or an id.")
    wanted = asked.get("sort", "")
    if wanted.lstrip("-") in _SORTS:
        found.sort(key=_SORTS[wanted.lstrip("-")], reverse=wanted.startswith("-"))
    ticked = _ticked(asked)
    places = {identity: place for place, identity in enumerate(([opened] if opened else []) + ticked)}
    entries = [_entry(run, asked, opened, places) for run in found[:_SHOWN]]
    drawn = record_list("Runs", _COLUMNS, entries, asked, compact=opened is not None)
    if len(found) <= _SHOWN:
        return drawn
    more = f"{_SHOWN} of {len(found):,} runs. Search for a name, a stage or a state to find others."
    return Markup('{}<p class="td-sub">{}</p>').format(drawn, more)


def _entry(run: Run, asked: Mapping[str, str], opened: str | None, places: Mapping[str, int]) -> Entry:
    here = run.id == opened
    tick = (
        Markup()
        if asked.get("run") == run.id
        else tick_box("with", run.id, f"Add the curve of {run.name}", run.id in places)
    )
    swatch = Markup()
    if run.id in places and opened and places[run.id] < MOST_RUNS:
        colour = run_colour(places[run.id])
        swatch = Markup('<span class="td-swatch" style="background: {}"></span>').format(colour)
    others = {key: asked[key] for key in ("q", "sort", "with") if key in asked}
    name = Markup("{}{}{}").format(tick, swatch, link(run.name, address("runs", run=run.id, **others)))
    loss = run.summary.get("train/loss")
    held_out = _held_out(run)
    cells = (
        name,
        state_chip(run.state),
        tag(run.stage.value.upper()),
        "–" if loss is None else significant(loss),
        _held_out_words(run, held_out),
        ago(run.created_at),
    )
    return Entry(cells, here)


def _held_out(run: Run) -> float | None:
    """The number that judges a run: held-out accuracy of a DPO run, held-out loss of any other."""
    name = "eval/rewards_accuracy" if run.stage is Stage.DPO else "eval/loss"
    return run.summary.get(name)


def _held_out_words(run: Run, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0%} right" if run.stage is Stage.DPO else significant(value)


def _ticked(asked: Mapping[str, str]) -> list[str]:
    return [name for name in asked.get("with", "").split(",") if name and name != asked.get("run")]


def _opened(studio: Studio, runs: Sequence[Run], asked: Mapping[str, str]) -> Run | StudioError | None:
    """The run that the address names, or else the first that is ticked."""
    wanted = asked.get("run") or next(iter(_ticked(asked)), "")
    if not wanted:
        return None
    try:
        return next((run for run in runs if run.id == wanted), None) or studio.training.get(
            studio.actor, wanted
        )
    except StudioError as error:
        return error


def _overlaid(runs: Sequence[Run], opened: Run, asked: Mapping[str, str]) -> list[Run]:
    by_id = {run.id: run for run in runs}
    return [opened, *(by_id[name] for name in _ticked(asked) if name in by_id and name != opened.id)]


def stop(studio: Studio, *, run_id: str) -> Any:
    """Ask the open run to save and stop."""
    run = studio.training.stop(studio.actor, run_id)
    toast(f"“{run.name}” saves a checkpoint and stops.")
    return gr.update(visible=HIDDEN)


def resume(studio: Studio, *, run_id: str) -> None:
    """Go on from the newest complete checkpoint of the open run."""
    run = studio.training.resume(studio.actor, run_id)
    toast(f"“{run.name}” goes on from its newest checkpoint.")


def render(studio: Studio) -> None:
    """Draw the page."""
    purpose = "Every training run with its curve. Tick several to lay their curves over each other."
    block(page_head("Runs", purpose, button("New run", address("train"))))
    with gr.Row(elem_classes="td-split"):
        with gr.Column(scale=1, min_width=280, elem_classes="td-side"):
            block(search_box("Search runs"))
            rows = block(SKELETON)
        with gr.Column(visible=HIDDEN, scale=3, min_width=320) as detail:
            head = block()
            plot = live_plot("run-plot")
            stopping, resuming, sure, stop_now, keep = _buttons()
            about = block()
            sentences = block()
            with gr.Accordion("Recipe as YAML", open=False):
                recipe = gr.Code(language="yaml", interactive=False, show_label=False, elem_classes="td-yaml")
            log = log_tail("run-log")
    visit = page_visit("runs", every=_EVERY_SECONDS)
    outputs = [rows, detail, head, plot, stopping, resuming, about, sentences, recipe, log]
    listen(visit.visit, view, studio, api_name="runs", outputs=outputs, quiet=True)
    before = gr.State("")
    listen(
        visit.tick,
        tick,
        studio,
        api_name="runs_tick",
        inputs={"before": before},
        outputs=[before, *outputs],
        quiet=True,
    )
    _offer_to_stop(studio, stopping, sure, stop_now, keep, log)
    listen(resuming.click, resume, studio, api_name="resume_run", inputs={"run_id": log})


def _buttons() -> tuple[Any, ...]:
    """Stop and resume, and the question that a stop asks first."""
    with gr.Row(elem_classes="td-actions"):
        stopping = gr.Button("Stop", size="md", visible=HIDDEN)
        resuming = gr.Button("Resume", size="md", visible=HIDDEN, variant="primary")
    with gr.Column(visible=HIDDEN, elem_classes=["td-note", "td-busy"]) as sure:
        block("<p>The run saves a checkpoint after its current step and stops. You can resume it later.</p>")
        with gr.Row(elem_classes="td-actions"):
            stop_now = gr.Button("Stop this run", variant="stop", size="md")
            keep = gr.Button("Keep it running", size="md")
    return stopping, resuming, sure, stop_now, keep


def _offer_to_stop(studio: Studio, stopping: Any, sure: Any, stop_now: Any, keep: Any, log: Any) -> None:
    """A stop asks first; opening and closing the question needs no server."""
    quiet: dict[str, Any] = {"fn": None, "outputs": [sure], "api_visibility": "private"}
    stopping.click(**quiet, js=switch(sure, shown=True), api_name="ask_stop_run")
    keep.click(**quiet, js=switch(sure, shown=False), api_name="keep_run")
    listen(stop_now.click, stop, studio, api_name="stop_run", inputs={"run_id": log}, outputs=[sure])
