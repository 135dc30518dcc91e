"""Runs: every training run, its curve first, and what can be done about it.

The address says which run is open (``run``), which others lie over its curve (``with``), and how the list and
the comparison are searched and sorted. The curve, the telemetry and the log fetch their own news; this page
renders what changes slowly, and sends a part only where it changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from zlib import adler32

import gradio as gr
from markupsafe import Markup

from pages.components.acts import acts, offered, said
from pages.components.live_plot import Curve, live_plot, plotted
from pages.components.log_tail import log_tail
from pages.components.markup import SKELETON, address, button, error_note, page_head
from pages.components.record_list import search_box
from pages.components.run_checkpoints import checkpoint_panel
from pages.components.run_compare import comparison_panel
from pages.components.run_detail import command_panel, run_facts, told
from pages.components.run_head import run_head
from pages.components.run_queue import queue_panel
from pages.components.telemetry_panel import telemetry_panel
from pages.components.visible import HIDDEN
from pages.components.visits import block, page_visit, query
from pages.components.wiring import listen
from pages.runs_acts import carry_out, last_pressed
from pages.runs_list import LISTED, listing, ticked
from studio.core import StudioError
from studio.jobs import JobState
from studio.studio import Studio
from studio.training import QueuedRun, Run
from studio.training.telemetry import Sample

TITLE = "Runs"

_EVERY_SECONDS = 2.0
_SAMPLES = 240
_NOTHING = offered(Markup())


def view(studio: Studio, request: gr.Request) -> tuple[Any, ...]:
    """Everything on the page that the address and the runs decide, in the order of ``render``'s outputs."""
    asked = query(request)
    runs = studio.training.list(studio.actor, LISTED)
    waiting = studio.training.queue(studio.actor)
    queue = offered(queue_panel(waiting))
    opened = _opened(studio, runs, asked)
    if isinstance(opened, StudioError):
        said_why = offered(error_note(opened))
        return (queue, listing(runs, asked, None), gr.update(visible=True), said_why, *_closed())
    if opened is None:
        return (queue, listing(runs, asked, None), gr.update(visible=HIDDEN), _NOTHING, *_closed())
    together = _together(runs, opened, asked)
    return (
        queue,
        listing(runs, asked, opened.id),
        gr.update(visible=True),
        offered(_head(studio, opened, waiting)),
        plotted([Curve(run.id, run.name) for run in together]),
        _comparison(studio, together, asked),
        run_facts(studio, opened),
        *_files(studio, opened),
    )


def tick(studio: Studio, request: gr.Request, *, before: tuple[int, ...]) -> tuple[Any, ...]:
    """What ``view`` gives; a part that is as it was ``before`` does not travel again.

    Nothing travels where a button was pressed meanwhile: it would put back what the button changed.
    """
    pressed = last_pressed()
    parts = view(studio, request)
    if last_pressed() != pressed:
        return before, *(gr.skip() for _ in parts)
    now = tuple(adler32(repr(part).encode()) for part in parts)
    known = before if len(before) == len(parts) else (-1,) * len(parts)
    fresh = (part if new != old else gr.skip() for part, new, old in zip(parts, now, known, strict=True))
    return now, *fresh


def act(studio: Studio, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
    """Carry out what a button says; the answer is the page as it stands then."""
    carry_out(studio, said(event))
    return view(studio, request)


def _closed() -> tuple[Any, ...]:
    return plotted(()), Markup(), Markup(), Markup(), _NOTHING, Markup(), Markup(), "", ""


def _files(studio: Studio, run: Run) -> tuple[Any, ...]:
    """Telemetry, checkpoints, the recipe in words, the command, the recipe as YAML, and the log."""
    model = ""
    with suppress(StudioError):
        model = studio.registry.version(studio.actor, run.model_version_id).name
    found = studio.training.checkpoints(studio.actor, run.id)
    return (
        telemetry_panel(_samples(studio, run.id)),
        offered(checkpoint_panel(run, found, f"{model}-{run.stage.value}".strip("-"))),
        told(run),
        _command(studio, run),
        run.recipe,
        run.id,
    )


def _samples(studio: Studio, run_id: str) -> list[Sample]:
    """How the machine stood, thinned piece by piece: one call reads only so much of a long file."""
    found: list[Sample] = []
    cursor = 0
    while True:
        chunk = studio.training.telemetry(studio.actor, run_id, cursor, _SAMPLES)
        found.extend(chunk.samples)
        if chunk.cursor <= cursor:
            return found
        cursor = chunk.cursor


def _head(studio: Studio, run: Run, waiting: Sequence[QueuedRun]) -> Markup:
    card = None
    if run.state in (JobState.FAILED, JobState.LOST):
        card = studio.training.failure(studio.actor, run.id)
    waits_for = next((one.waits_for for one in waiting if one.run.id == run.id), "")
    return run_head(run, card, waits_for)


def _command(studio: Studio, run: Run) -> Markup:
    try:
        return command_panel(studio.training.command(studio.actor, run.id))
    except StudioError:
        # What it was started with is gone; the recipe as it was is still there to read.
        return Markup()


def _comparison(studio: Studio, runs: Sequence[Run], asked: Mapping[str, str]) -> Markup:
    if len(runs) < 2:
        return Markup()
    try:
        found = studio.training.compare(studio.actor, [run.id for run in runs])
    except StudioError as error:
        return error_note(error)
    return comparison_panel(found, asked)


def _opened(studio: Studio, runs: Sequence[Run], asked: Mapping[str, str]) -> Run | StudioError | None:
    """The run that the address names, or else the first that is ticked."""
    wanted = asked.get("run") or next(iter(ticked(asked)), "")
    if not wanted:
        return None
    try:
        return next((run for run in runs if run.id == wanted), None) or studio.training.get(
            studio.actor, wanted
        )
    except StudioError as error:
        return error


def _together(runs: Sequence[Run], opened: Run, asked: Mapping[str, str]) -> list[Run]:
    by_id = {run.id: run for run in runs}
    return [opened, *(by_id[name] for name in ticked(asked) if name in by_id and name != opened.id)]


def render(studio: Studio) -> None:
    """Draw the page."""
    purpose = "Every training run with its curve. Tick several to lay their curves over each other."
    block(page_head("Runs", purpose, button("New run", address("train"))))
    queue = acts("run-queue")
    with gr.Row(elem_classes="td-split"):
        with gr.Column(scale=1, min_width=280, elem_classes="td-side"):
            block(search_box("Search runs"))
            rows = block(SKELETON)
        with gr.Column(visible=HIDDEN, scale=3, min_width=320) as detail:
            head = acts("run-head")
            plot = live_plot("run-plot")
            comparison = block()
            about = block()
            kept = _details()
    visit = page_visit("runs", every=_EVERY_SECONDS)
    outputs = [queue, rows, detail, head, plot, comparison, about, *kept]
    listen(visit.visit, view, studio, api_name="runs", outputs=outputs, quiet=True)
    before = gr.State(())
    listen(
        visit.tick,
        tick,
        studio,
        api_name="runs_tick",
        inputs={"before": before},
        outputs=[before, *outputs],
        quiet=True,
    )
    for name, panel in (("act_on_queue", queue), ("act_on_run", head), ("act_on_checkpoint", kept[1])):
        listen(panel.act, act, studio, api_name=name, outputs=outputs)


def _details() -> list[Any]:
    """What stands below the curve, in the order of ``_files``."""
    with gr.Accordion("Machine while it trained", open=False):
        telemetry = block()
    with gr.Accordion("Checkpoints", open=False):
        checkpoints = acts("run-checkpoints")
    sentences = block()
    with gr.Accordion("Recipe as YAML", open=False):
        recipe = gr.Code(language="yaml", interactive=False, show_label=False, elem_classes="td-yaml")
    with gr.Accordion("The command that reproduces this run", open=False):
        command = block()
    return [telemetry, checkpoints, sentences, command, recipe, log_tail("run-log")]
