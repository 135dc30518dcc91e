"""Import: choose a file, see what it is, say which column plays which part, and get an honest report.

A large file becomes a job: its progress is shown while someone looks, and it goes on when they leave.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.markup import address, error_note, link, note, progress_bar
from pages.components.panels import panel_head
from pages.components.visible import HIDDEN
from pages.components.visits import block
from pages.components.wiring import listen
from pages.components.wording import count
from pages.data_browse import rejected
from pages.data_look import (
    FORMAT_WORDS,
    MOST_PARTS,
    inspect,
    mapping_of,
    pick_format,
    source_of,
    uploaded_file,
)
from studio.core import StudioError
from studio.datasets import ImportRequest, ImportResult, SourceFormat, Split
from studio.studio import Studio

_POLL_SECONDS = 0.5


def run(
    studio: Studio,
    *,
    upload: str | None,
    path: str,
    dataset: str,
    format_: str | None,
    validation: float,
    seed: float | None,
    licence: str,
    first: str | None,
    second: str | None,
    third: str | None,
    fourth: str | None,
) -> Iterator[Markup]:
    """Import the file: progress while a large one is read, then the report or what went wrong."""
    try:
        request = ImportRequest(
            source=source_of(upload, path),
            dataset=dataset.strip(),
            format=SourceFormat(format_) if format_ else None,
            mapping=mapping_of(format_, (first, second, third, fourth)),
            validation_fraction=validation,
            seed=int(seed or 0),
            licence=licence.strip(),
        )
        yield progress_bar(None, "Reading the file")
        yield from _imported(studio, request)
    except StudioError as error:
        yield error_note(error)


def _imported(studio: Studio, request: ImportRequest) -> Iterator[Markup]:
    begun = studio.datasets.begin_import(studio.actor, request)
    if isinstance(begun, ImportResult):
        yield report(begun)
        return
    job = begun
    while not job.state.final:
        yield progress_bar(studio.jobs.progress(studio.actor, job.id), "Waiting for its turn")
        time.sleep(_POLL_SECONDS)
        job = studio.jobs.get(studio.actor, job.id)
    studio.datasets.settle((job,))
    result = studio.datasets.import_result(studio.actor, job.id)
    if result is None:
        yield note(
            Markup("<strong>The import ended {}.</strong> {}").format(job.state.value, job.reason), "td-bad"
        )
    else:
        yield report(result)


def report(result: ImportResult) -> Markup:
    """What an import made, and what it set aside."""
    version = result.version
    train, held_out = version.rows.get(Split.TRAIN, 0), version.rows.get(Split.VALIDATION, 0)
    sentence = Markup("<strong>{} is ready:</strong> {} for training, {:,} held out.").format(
        link(version.reference, address("data", version=version.id)), count(train, "row"), held_out
    )
    kind = "td-busy" if result.report.rejected_rows else "td-good"
    return note(sentence, kind) + rejected(result.report, version.id)


def render(studio: Studio) -> Any:
    """The import panel; returns its column."""
    with gr.Column(visible=HIDDEN, elem_classes="td-card td-form") as panel:
        block(panel_head("Import a file", address("data")))
        block('<p class="td-sub">JSONL, JSON, CSV, Parquet or plain text.</p>')
        with gr.Row():
            upload = gr.File(label="Upload", show_label=False, type="filepath", height=130, min_width=260)
            with gr.Column(min_width=260):
                path = gr.Textbox("", label="Or a path on this machine", placeholder="/data/questions.jsonl")
                with gr.Row(elem_classes="td-actions"):
                    looking = gr.Button("Look at the file", size="md")
        preview = block()
        columns = gr.State(())
        with gr.Column(visible=HIDDEN) as form:
            format_, parts, dataset, fields = _draw_form()
            with gr.Row(elem_classes="td-actions"):
                go = gr.Button("Import", variant="primary", size="md")
        result = block()
    source = {"upload": upload, "path": path}
    filled = [preview, form, columns, format_, dataset, result, *parts]
    uploaded = {"upload": upload}
    listen(
        upload.upload, uploaded_file, studio, api_name="look_upload", inputs=uploaded, outputs=[path, *filled]
    )
    for event, name in ((looking.click, "look_path"), (path.submit, "look_enter")):
        listen(event, inspect, studio, api_name=name, inputs=source, outputs=filled)
    picked: dict[str, Any] = {"inputs": {"chosen": format_, "columns": columns}, "outputs": parts}
    listen(format_.input, pick_format, studio, api_name="pick_format", quiet=True, **picked)
    listen(
        go.click, run, studio, api_name="import_file", inputs=source | fields, outputs=[result], quiet=True
    )
    return panel


def _draw_form() -> tuple[Any, list[Any], Any, dict[str, Any]]:
    """The format, the pickers of columns, the name, and every field by its keyword in ``run``."""
    formats = [(words, one.value) for one, words in FORMAT_WORDS.items()]
    format_ = gr.Dropdown(formats, value=None, label="Format")
    with gr.Row():
        parts = [gr.Dropdown([], label="Column", visible=HIDDEN, min_width=160) for _ in range(MOST_PARTS)]
    with gr.Row():
        dataset = gr.Textbox("", label="Dataset", info="A new name, or one that gets another version.")
        licence = gr.Textbox(
            "", label="Licence", placeholder="CC0-1.0", info="Under which the texts may be used."
        )
    with gr.Row():
        by_prompt = "Held out by prompt: none is on both sides."
        validation = gr.Slider(0.0, 1.0, 0.1, step=0.01, label="Validation share", info=by_prompt)
        seed = gr.Number(0, label="Seed", info="Of the split.", precision=0, minimum=0, maximum=2**31 - 1)
    fields = {
        "dataset": dataset,
        "format_": format_,
        "validation": validation,
        "seed": seed,
        "licence": licence,
    }
    fields |= dict(zip(("first", "second", "third", "fourth"), parts, strict=True))
    return format_, parts, dataset, fields
