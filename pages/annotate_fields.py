"""The fields of the form for a new annotation project: what, of which items, by whom, how it is checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from pages.components.markup import address
from pages.components.panels import panel_head
from pages.components.project_words import BLINDNESS, ROLES, SOURCES, TASKS
from pages.components.visible import HIDDEN
from pages.components.visits import block
from studio.annotation import NewProject

_DEFAULTS = NewProject(name="")


@dataclass(frozen=True)
class Form:
    """The form's parts: what ``updates`` writes to, what ``wire`` connects."""

    outputs: list[Any]
    fields: dict[str, Any]
    fitted: list[Any]
    submit: Any
    answer: Any


def draw() -> Form:
    """The form, closed."""
    with gr.Column(visible=HIDDEN, elem_classes="td-narrow td-card td-form") as panel:
        block(panel_head("New project", address("annotate")))
        fields = _what() | _who()
        with gr.Accordion("Checks, suggestions and time", open=False):
            fields |= _checks()
        with gr.Row(elem_classes="td-actions"):
            submit = gr.Button("Open the project", variant="primary", size="md")
        answer = block()
    models = fields.pop("models")
    picked = [fields[key] for key in ("dataset", "first_model", "second_model", "suggestion_model", "gold")]
    return Form(
        [panel, *picked], fields, [fields["dataset"], models, fields["suggestion_model"]], submit, answer
    )


def _what() -> dict[str, Any]:
    tasks = [(words, task.value) for task, words in TASKS.items()]
    sources = [(words, source.value) for source, words in SOURCES.items()]
    name = gr.Textbox("", label="Name", info="Left empty, it is called as its dataset version is.")
    task = gr.Radio(tasks, value=_DEFAULTS.task.value, label="What people do")
    source = gr.Radio(sources, value=_DEFAULTS.source.value, label="Where the items come from")
    dataset = gr.Dropdown([], value=None, label="Items", info="A dataset version.")
    with gr.Row(visible=HIDDEN) as models:
        first = gr.Dropdown([], value=None, label="First model")
        second = gr.Dropdown([], value=None, label="Second model")
    guideline = gr.Textbox(
        "",
        label="Guideline",
        lines=5,
        info="What makes an answer good, in Markdown. One key away while labelling.",
    )
    return {
        "name": name,
        "task": task,
        "source": source,
        "dataset": dataset,
        "models": models,
        "first_model": first,
        "second_model": second,
        "guideline": guideline,
    }


def _who() -> dict[str, Any]:
    with gr.Row():
        overlap = gr.Number(
            1,
            precision=0,
            minimum=1,
            maximum=20,
            label="People an item",
            info="1 to 20; 2 or more show agreement.",
        )
        target = gr.Number(0, precision=0, minimum=0, label="Items", info="A sample of so many; 0 takes all.")
    with gr.Row():
        roles = gr.CheckboxGroup(
            ROLES,
            value=[role.value for role in _DEFAULTS.members.roles],
            label="Who may label",
            info=BLINDNESS,
        )
        people = gr.Textbox("", label="And by name", info="Account names, separated by commas.")
    return {"overlap": overlap, "target": target, "roles": roles, "people": people}


def _checks() -> dict[str, Any]:
    with gr.Row():
        gold = gr.Dropdown(
            [("None", "")], value="", label="Gold", info="Items whose verdict is known, mixed in unseen."
        )
        gold_every = gr.Number(_DEFAULTS.gold_every, precision=0, minimum=2, label="One in so many is gold")
    with gr.Row():
        suggestion = gr.Dropdown(
            [("None", "")],
            value="",
            label="Suggestions",
            info="A model whose opinion is shown, marked as a model's.",
        )
        repeat = gr.Number(
            0, precision=0, minimum=0, label="One in so many is an earlier one again", info="0 for none."
        )
    lease = gr.Number(
        _DEFAULTS.lease_seconds // 60,
        precision=0,
        minimum=1,
        maximum=1440,
        label="Minutes before an item goes to somebody else",
        info="Counted from the last sign of life.",
    )
    return {
        "gold": gold,
        "gold_every": gold_every,
        "suggestion_model": suggestion,
        "repeat_every": repeat,
        "lease_minutes": lease,
    }
