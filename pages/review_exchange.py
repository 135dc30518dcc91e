"""What goes out of a project and into it: files to download, a dataset of preferences, labels from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.markup import address, button, error_note, link, note
from pages.components.visible import HIDDEN
from pages.components.visits import block, query
from pages.components.wiring import listen
from pages.components.wording import count
from studio.annotation import Project, Task
from studio.annotation.exchange_files import ExportFormat
from studio.annotation.exchange_rows import Export
from studio.annotation.review_records import ImportedLabels
from studio.core import InvalidInput, StudioError
from studio.studio import Studio

_WORDS = {
    Export.LABELS: "Every label that stands, with who gave it, when, and on which side the answers stood.",
    Export.CONSENSUS: "One row an item: what its labels come to, how sure that is, and what was adjudicated.",
    Export.PREFERENCES: "One row a pair that people agreed on: prompt, chosen, rejected. Ready for DPO. "
    "Protected prompts (of evaluations and gold) are left out.",
}
_FORMATS = {ExportFormat.JSONL: "JSONL", ExportFormat.PARQUET: "Parquet", ExportFormat.CSV: "CSV"}
_MOST_SHOWN = 50


def downloads(project: Project) -> Markup:
    """The files that can be downloaded, each in every format."""
    # Whether an answer is fit says nothing about which of two is better.
    offered = [what for what in Export if not (what is Export.PREFERENCES and project.task is Task.ACCEPT)]
    rows = Markup().join(_offer(project, what) for what in offered)
    return Markup('<h2 class="td-title">Download</h2><dl class="td-offers">{}</dl>').format(rows)


def _offer(project: Project, what: Export) -> Markup:
    kept = "&leave_out_protected=true" if what is Export.PREFERENCES else ""
    links = Markup().join(
        Markup(
            '<a class="td-button" href="../annotation/{}/export/{}?format={}{}" download '
            'aria-label="{} as {}">{}</a>'
        ).format(project.id, what.value, form.value, kept, what.value.capitalize(), words, words)
        for form, words in _FORMATS.items()
    )
    return Markup("<div><dt>{}</dt><dd>{}</dd><dd class='td-head-actions'>{}</dd></div>").format(
        what.value.capitalize(), _WORDS[what], links
    )


def make_dataset(studio: Studio, request: gr.Request, *, name: str, leave_out: bool) -> Markup:
    """Make a preference dataset version of the project that the address names."""
    try:
        project = _project_id(request)
        version = studio.exchange.preferences(
            studio.actor, project, name.strip(), leave_out_protected=leave_out
        )
    except StudioError as error:
        return error_note(error)
    made = Markup("<strong>{} is ready</strong> with {}.").format(
        link(version.reference, address("data", version=version.id)), count(version.total_rows, "pair")
    )
    train = button("Train on it", address("train", stage="dpo", dataset=version.reference))
    return note(made, "td-good") + Markup('<p class="td-begin">{}</p>').format(train)


def import_labels(studio: Studio, request: gr.Request, *, upload: str | None) -> Markup:
    """Add the labels of an uploaded file, and name every row that could not be one."""
    try:
        if not upload:
            raise InvalidInput("No file was chosen.", "Upload one: JSONL, JSON, CSV or Parquet.")
        found = studio.exchange.import_labels(studio.actor, _project_id(request), Path(upload))
    except StudioError as error:
        return error_note(error)
    return imported(found)


def imported(found: ImportedLabels) -> Markup:
    """What an import added, and what it did not, row by row."""
    kind = "td-good" if found.added and not found.rejected else "td-busy"
    words = Markup("<strong>{} added.</strong>").format(count(found.added, "label"))
    if found.ignored:
        words += Markup(" Columns that mean nothing here: {}.").format(", ".join(found.ignored))
    return note(words, kind) + _rejected(found)


def _rejected(found: ImportedLabels) -> Markup:
    if not found.rejected:
        return Markup()
    lines = Markup().join(
        Markup('<tr><td class="td-num">{:,}</td><td>{}</td><td>{}</td></tr>').format(
            row.row, row.field, row.why
        )
        for row in found.rejected[:_MOST_SHOWN]
    )
    more = len(found.rejected) - _MOST_SHOWN
    rest = Markup('<p class="td-sub">And {:,} more.</p>').format(more) if more > 0 else Markup()
    return Markup(
        '<details class="td-rejects" open><summary>{}</summary><table class="td-table"><thead><tr>'
        '<th class="td-num">Row</th><th>Field</th><th>Why</th></tr></thead><tbody>{}</tbody>'
        "</table>{}</details>"
    ).format(f"{count(len(found.rejected), 'row')} not taken", lines, rest)


def _project_id(request: gr.Request) -> str:
    return query(request).get("project", "")


def render(studio: Studio) -> tuple[Any, Any]:
    """Draw the panel; returns its column and the block of downloads that ``downloads`` fills."""
    with gr.Column(visible=HIDDEN, elem_classes="td-narrow") as panel:
        offers = block(elem_classes="td-card")
        with gr.Column(elem_classes="td-card td-form"):
            block('<h2 class="td-title">Make a preference dataset</h2>')
            with gr.Row():
                name = gr.Textbox("", label="Dataset", info="A new name, or one that gets another version.")
                leave_out = gr.Checkbox(
                    False,
                    label="Leave out protected prompts",
                    info="Prompts of evaluations and gold never enter training; else the builder names them.",
                )
            with gr.Row(elem_classes="td-actions"):
                go = gr.Button("Make the dataset", variant="primary", size="md")
            made = block()
        with gr.Column(elem_classes="td-card td-form"):
            block(
                '<h2 class="td-title">Import labels</h2><p class="td-sub">A file as it is exported here, or '
                "rows with <code>prompt</code>, <code>first</code> and <code>second</code> (or "
                "<code>chosen</code> and <code>rejected</code>), <code>standing</code> and "
                "<code>annotator</code>.</p>"
            )
            upload = gr.File(label="Labels", type="filepath", height=120)
            with gr.Row(elem_classes="td-actions"):
                take = gr.Button("Import the labels", size="md")
            report = block()
    fields = {"name": name, "leave_out": leave_out}
    listen(go.click, make_dataset, studio, api_name="review_dataset", inputs=fields, outputs=[made])
    listen(
        take.click,
        import_labels,
        studio,
        api_name="review_import",
        inputs={"upload": upload},
        outputs=[report],
    )
    return panel, offers
