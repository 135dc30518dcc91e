"""Annotate: choose a queue of pairs or open one, then judge pair after pair on the card.

The address says which queue is being labelled (``queue``) or for which dataset one is to be opened
(``dataset``). While a queue is open the card stands alone; the script of the card hides the chooser.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.annotation_card import annotation_card
from pages.components.markup import SKELETON, address, button, empty, error_note, link, note, page_head
from pages.components.panels import panel_head
from pages.components.record_list import Column, Entry, record_list
from pages.components.visible import HIDDEN, when
from pages.components.visits import block, page_visit, query
from pages.components.wiring import listen
from pages.components.wording import ago, count
from studio.annotation import Queue
from studio.core import LOCAL_ADMIN, StudioError
from studio.datasets import DatasetVersion, SchemaKind
from studio.studio import Studio

TITLE = "Annotate"

_COLUMNS = (
    Column("Queue", "", "td-main", bare=True),
    Column("Labelled", "", "td-full", bare=True),
    Column("Set aside", "", "td-num"),
    Column("Opened", "", "td-num"),
    Column("", "", "td-num", bare=True),
)


def view(studio: Studio, request: gr.Request) -> tuple[Any, ...]:
    """The queues, and the form with the versions that a queue can be opened over."""
    asked = query(request)
    offered = pair_versions(studio)
    wanted = asked.get("dataset", "")
    opening = bool(offered) and (bool(wanted) or asked.get("new") == "queue")
    choices = [(f"{v.reference} ({count(v.total_rows, 'pair')})", v.reference) for v in offered]
    known = wanted in [version.reference for version in offered]
    picker = gr.update(choices=choices, value=wanted) if known else gr.update(choices=choices)
    return listing(studio, asked), gr.update(visible=when(opening)), picker


def pair_versions(studio: Studio) -> list[DatasetVersion]:
    """Every preference version with rows, newest first."""
    summaries = studio.datasets.list(LOCAL_ADMIN)
    pairs = [s for s in summaries if s.latest.kind is SchemaKind.PREFERENCE]
    versions = [v for s in pairs for v in studio.datasets.versions(LOCAL_ADMIN, s.name) if v.total_rows]
    return sorted(versions, key=lambda version: version.created_at, reverse=True)


def listing(studio: Studio, asked: Mapping[str, str]) -> Markup:
    """The queues with how far this person is in each, or the next step where there is none."""
    queues = studio.annotation.queues(LOCAL_ADMIN)
    if queues:
        return record_list("Queues", _COLUMNS, [_entry(studio, queue) for queue in queues], asked)
    if pair_versions(studio):
        return empty(
            "No queue yet.",
            "A queue offers the pairs of a preference dataset one after the other, its verdicts hidden.",
            button("Open a queue", address("annotate", new="queue")),
        )
    return empty(
        "Nothing to label yet.",
        "Labels are given to pairs of answers. Import some, or build them from votes.",
        button("Go to Data", address("data", new="import")),
    )


def _entry(studio: Studio, queue: Queue) -> Entry:
    done = studio.annotation.progress(LOCAL_ADMIN, queue.id)
    part = done.labelled / done.total if done.total else 0.0
    href = address("annotate", queue=queue.id)
    bar = Markup(
        '<div class="td-progress"><span>{:,} of {:,}</span>'
        '<div class="td-bar" style="--part: {:.4f}"></div></div>'
    ).format(done.labelled, done.total, part)
    action = "Label" if not done.labelled else "Go on" if done.left else "Look again"
    source = studio.datasets.version(LOCAL_ADMIN, queue.dataset_version_id).reference
    name = Markup('{}<span class="td-sub td-about">{}</span>').format(link(queue.name, href), source)
    return Entry(
        (name, bar, done.skipped, ago(queue.created_at), button(action, href, primary=done.left > 0))
    )


def open_queue(studio: Studio, *, dataset: str | None, name: str, guideline: str) -> Markup:
    """Open the queue, or find the one of that version and name, and offer to begin."""
    try:
        queue = studio.annotation.open_queue(LOCAL_ADMIN, dataset or "", name, guideline)
    except StudioError as error:
        return error_note(error)
    begin = button("Begin labelling", address("annotate", queue=queue.id))
    said = Markup("<strong>{} is open</strong> with {}.").format(queue.name, count(queue.items, "pair"))
    return note(said, "td-good") + Markup('<p class="td-begin">{}</p>').format(begin)


def render(studio: Studio) -> None:
    """Draw the page."""
    with gr.Column(elem_id="annotate-chooser"):
        purpose = (
            "Say which of two answers is better, one pair after the other, with the keyboard or by touch."
        )
        block(page_head("Annotate", purpose, button("Open a queue", address("annotate", new="queue"))))
        with gr.Column(visible=HIDDEN, elem_classes="td-narrow td-card td-form") as form:
            block(panel_head("Open a queue", address("annotate")))
            dataset = gr.Dropdown([], value=None, label="Pairs", info="A version of a preference dataset.")
            name = gr.Textbox("", label="Name", info="Left empty, it is called as the version is.")
            guideline = gr.Textbox(
                "",
                label="Guideline",
                lines=4,
                info="What makes an answer better. Annotators have it one key away.",
            )
            with gr.Row(elem_classes="td-actions"):
                go = gr.Button("Open the queue", variant="primary", size="md")
            result = block()
        queues = block(SKELETON)
    annotation_card()
    visit = page_visit("annotate")
    listen(visit.visit, view, studio, api_name="annotate", outputs=[queues, form, dataset], quiet=True)
    inputs = {"dataset": dataset, "name": name, "guideline": guideline}
    opened = listen(go.click, open_queue, studio, api_name="open_queue", inputs=inputs, outputs=[result])
    listen(opened.then, view, studio, api_name="annotate_opened", outputs=[queues, form, dataset], quiet=True)
