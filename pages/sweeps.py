"""Sweeps: short runs of one recipe with other values, what they tell, and the best of them trained in full.

The address says which sweep is open (``sweep``), whether the form is (``new``), and how the list and the
trials are sorted. Trials are runs: each has its page under Runs.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any
from zlib import adler32

import gradio as gr
from markupsafe import Markup

from pages.components.acts import acts, offered, said
from pages.components.chart import chart, drawn
from pages.components.markup import SKELETON, address, button, error_note, link, page_head
from pages.components.record_list import search_box
from pages.components.sweep_charts import panels
from pages.components.sweep_detail import sweep_facts, sweep_head, trial_table
from pages.components.visible import HIDDEN, when
from pages.components.visits import block, page_visit, query
from pages.components.wiring import listen, toast
from pages.sweeps_form import PATHS, Form, choices, draw, for_stage
from pages.sweeps_list import listing
from pages.sweeps_recipe import described, foretold
from studio.core import InvalidInput, StudioError, new_id
from studio.studio import Studio
from studio.training import Stage

TITLE = "Sweeps"

_PURPOSE = "Try many values of a recipe in short runs, see what matters, and train the best in full."
_EVERY_SECONDS = 2.0


def view(studio: Studio, request: gr.Request) -> tuple[Any, ...]:
    """Everything that the address and the sweeps decide, in the order of ``render``'s outputs."""
    asked = query(request)
    found = studio.sweeps.list(studio.actor, 200)
    opened = asked.get("sweep", "")
    rows = listing(studio, found, asked)
    form = gr.update(visible=when(bool(asked.get("new")) and not opened))
    if not opened:
        return (rows, form, gr.update(visible=HIDDEN), *_closed(Markup()))
    try:
        return (rows, form, gr.update(visible=True), *_opened(studio, opened, asked))
    except StudioError as error:
        return (rows, form, gr.update(visible=True), *_closed(error_note(error)))


def tick(studio: Studio, request: gr.Request, *, before: tuple[int, ...]) -> tuple[Any, ...]:
    """What ``view`` gives; a part that is as it was ``before`` does not travel again."""
    parts = view(studio, request)
    now = tuple(adler32(repr(part).encode()) for part in parts)
    known = before if len(before) == len(parts) else (-1,) * len(parts)
    fresh = (part if new != old else gr.skip() for part, new, old in zip(parts, now, known, strict=True))
    return now, *fresh


def act(studio: Studio, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
    """Carry out what a button says; the answer is the page as it stands then."""
    carry_out(studio, said(event))
    return view(studio, request)


def carry_out(studio: Studio, words: Mapping[str, str]) -> None:
    """Stop or resume a sweep, or train its best.

    Raises:
        StudioError: It cannot be done, or the button says nothing that is known.
    """
    sweep_id, what = words.get("sweep", ""), words.get("do", "")
    if what == "stop":
        toast(f"“{studio.sweeps.stop(studio.actor, sweep_id).name}” starts no more trials.")
    elif what == "resume":
        toast(f"“{studio.sweeps.resume(studio.actor, sweep_id).name}” goes on.")
    elif what == "train_best":
        run = studio.sweeps.train_best(studio.actor, sweep_id, _epochs(words.get("epochs", "")))
        toast(Markup("It is on its way: {}").format(link(run.name, address("runs", run=run.id))))
    else:
        raise InvalidInput("This button is of another version of the page.", "Load the page again.")


def arrive(
    studio: Studio, request: gr.Request, *, stage: str, begun: str, model: str | None, dataset: str | None
) -> tuple[Any, ...]:
    """The form on a visit: filled the first time, afterwards only its choices are as they are now."""
    if not query(request).get("new"):
        return (gr.skip(),) * (2 + 5 + 2 * len(PATHS))
    fill = choices if begun == stage else for_stage
    return new_id("request"), stage, *fill(studio, Stage(stage), model, dataset)


def choose(studio: Studio, *, stage: str, model: str | None, dataset: str | None) -> tuple[Any, ...]:
    """The form of another stage."""
    return stage, *for_stage(studio, Stage(stage), model, dataset)


def foretell(studio: Studio, **given: Any) -> Markup:
    """How long the sweep that the form describes takes; what is wrong with it is said when it is started."""
    try:
        found = studio.sweeps.outlook(studio.actor, described(given))
    except StudioError:
        return Markup()
    return foretold(found)


def start(studio: Studio, *, request_id: str, **given: Any) -> tuple[Any, ...]:
    """Begin a sweep; says where it stands, or everything that keeps it from starting."""
    try:
        sweep = studio.sweeps.start(studio.actor, described(given), request_id)
    except StudioError as error:
        return error_note(error), request_id
    there = link("Watch its trials", address("sweeps", sweep=sweep.id))
    toast(Markup("“{}” is on its way. {}.").format(sweep.name, there))
    done = Markup('<p class="td-note td-good" role="status">“{}” is on its way. {}.</p>')
    return done.format(sweep.name, there), new_id("request")


def render(studio: Studio) -> None:
    """Draw the page."""
    block(page_head(TITLE, _PURPOSE, button("New sweep", address("sweeps", new="1"))))
    form = draw()
    with gr.Row(elem_classes="td-split"):
        with gr.Column(scale=1, min_width=280, elem_classes="td-side"):
            block(search_box("Search sweeps"))
            rows = block(SKELETON)
        with gr.Column(visible=HIDDEN, scale=3, min_width=320) as detail:
            head = acts("sweep-head")
            charts = chart("sweep-charts")
            trials, about = block(), block()
    visit = page_visit("sweeps", every=_EVERY_SECONDS)
    outputs = [rows, form.column, detail, head, charts, trials, about]
    listen(visit.visit, view, studio, api_name="sweeps", outputs=outputs, quiet=True)
    before = gr.State(())
    inputs = {"before": before}
    followed = [before, *outputs]
    listen(visit.tick, tick, studio, api_name="sweeps_tick", inputs=inputs, outputs=followed, quiet=True)
    listen(head.act, act, studio, api_name="act_on_sweep", outputs=outputs)
    _wire(studio, form, visit)


def _wire(studio: Studio, form: Form, visit: Any) -> None:
    """Wire the form: its choices, how long it takes, and the start."""
    request_id, begun = gr.State(""), gr.State("")
    subject = {"stage": form.stage, "model": form.model, "dataset": form.dataset}
    arrived = listen(
        visit.visit,
        arrive,
        studio,
        api_name="sweep_form",
        inputs={**subject, "begun": begun},
        outputs=[request_id, begun, *form.by_stage],
        quiet=True,
    )
    chosen = listen(
        form.stage.input,
        choose,
        studio,
        api_name="sweep_stage",
        inputs=subject,
        outputs=[begun, *form.by_stage],
        quiet=True,
    )
    inputs = [
        one.change if one is form.recipe else one.input
        for one in form.asked.values()
        if one is not form.stage
    ]
    looks = {
        "sweep_outlook": functools.partial(gr.on, inputs),
        "sweep_outlook_arrived": arrived.then,
        "sweep_outlook_stage": chosen.then,
    }
    for name, event in looks.items():
        outputs = [form.outlook]
        listen(event, foretell, studio, api_name=name, inputs=form.asked, outputs=outputs, quiet=True)
    listen(
        form.go.click,
        start,
        studio,
        api_name="start_sweep",
        inputs={**form.asked, "request_id": request_id},
        outputs=[form.answer, request_id],
    )


def _closed(head: Markup) -> tuple[Any, ...]:
    return offered(head), drawn(()), Markup(), Markup()


def _opened(studio: Studio, sweep_id: str, asked: Mapping[str, str]) -> tuple[Any, ...]:
    sweep = studio.sweeps.get(studio.actor, sweep_id)
    trials = studio.sweeps.trials(studio.actor, sweep_id)
    insight = studio.sweeps.insight(studio.actor, sweep_id)
    model = studio.registry.version(studio.actor, sweep.model_version_id).reference
    datasets = [studio.datasets.version(studio.actor, one).reference for one in sweep.dataset_version_ids]
    return (
        offered(sweep_head(sweep, trials)),
        drawn(panels(sweep, trials, insight) if trials else ()),
        trial_table(sweep, trials, asked),
        sweep_facts(sweep, datasets, model),
    )


def _epochs(text: str) -> float | None:
    if not text.strip():
        return None
    try:
        return float(text.strip()[:20])
    except ValueError as error:
        raise InvalidInput(f"{text[:20]!r} is no number of epochs.", "Write a number such as 3.") from error
