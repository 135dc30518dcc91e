"""The components of the Train page, in the order in which a person meets them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from pages.components import token_browser
from pages.components.acts import acts
from pages.components.markup import address, button, page_head
from pages.components.preflight_panel import PreflightPanel
from pages.components.recipe_form import FORM, YAML
from pages.components.recipe_form_groups import draw as draw_form
from pages.components.recipe_form_mix import draw_mix
from pages.components.visible import HIDDEN
from pages.components.visits import block
from pages.train_choices import STAGES, stage_note
from pages.train_fill import PRESET_LABELS, preset_note
from studio.training import Stage
from studio.training.presets import usual

_FIRST = Stage.SFT
_PURPOSE = "Teach a model: choose the stage, the model and the data. Everything else has a sensible default."


@dataclass(frozen=True)
class Subject:
    """What is taught to which model from which data, under which names.

    ``begun`` holds the stage that the form was filled for.
    """

    stage: Any
    stage_note: Any
    lack: Any
    model: Any
    dataset: Any
    mix: Any
    output: Any
    name: Any
    begun: Any


@dataclass(frozen=True)
class Settings:
    """The recipe in its two views, and the presets that fill it; ``offer`` holds what is to be put in."""

    preset: Any
    preset_note: Any
    offer: Any
    mode: Any
    form: Any
    fields: dict[str, Any]
    written: Any
    yaml: Any
    load: Any


@dataclass(frozen=True)
class Turn:
    """When and on what it runs."""

    priority: Any
    after: Any
    anyway: Any
    devices: Any

    @property
    def asked(self) -> dict[str, Any]:
        """Its components by the keywords of the handlers."""
        return {
            "priority": self.priority,
            "after": self.after,
            "anyway": self.anyway,
            "devices": self.devices,
        }


@dataclass(frozen=True)
class Outcome:
    """The buttons, what they answer, and what the recipe comes to.

    ``request_id`` makes a second click harmless; ``started`` holds the run that was started last.
    """

    go: Any
    request_id: Any
    started: Any
    answer: Any
    standing: Any
    stale: Any
    memory: Any
    command: Any
    preflight: PreflightPanel


def draw_subject() -> Subject:
    """Make the head of the page and the choices of stage, model and data."""
    block(page_head("Train", _PURPOSE, button("See all runs", address("runs"), primary=False)))
    stages = [(words.label, stage.value) for stage, words in STAGES.items()]
    stage = gr.Radio(stages, value=_FIRST.value, label="What it learns", elem_classes="td-choice")
    about = block(stage_note(_FIRST))
    lack = block()
    with gr.Row():
        model = gr.Dropdown([], label="Model to go on from", min_width=260)
        dataset = gr.Dropdown([], label="Dataset to learn from", min_width=260)
        output = gr.Textbox(label="Name of the model it makes", placeholder="model-stage", min_width=200)
        name = gr.Textbox(label="Name of the run", placeholder="after its model and stage", min_width=200)
    with gr.Accordion("Learn from several datasets", open=False):
        block(
            '<p class="td-sub">Each takes its share of the rows by its weight, and every row of the dataset '
            "above comes once a pass.</p>"
        )
        mix = draw_mix()
    return Subject(stage, about, lack, model, dataset, mix, output, name, gr.State(""))


def draw_settings() -> Settings:
    """Make the presets and the two views of the recipe."""
    preset = gr.Radio(PRESET_LABELS, value=usual(), label="Start from", elem_classes="td-choice")
    traded = block(preset_note(_FIRST, usual()))
    offer = gr.Textbox(visible=HIDDEN)
    mode = gr.Radio([FORM, YAML], value=FORM, label="Settings as", elem_classes="td-choice")
    with gr.Column() as form:
        fields = draw_form(_FIRST)
    with gr.Column(visible=HIDDEN) as written:
        yaml = gr.Code(language="yaml", label="Recipe", lines=24, interactive=True, elem_classes="td-yaml")
        load = gr.Button("Load the sample recipe", size="md", elem_classes="td-own-width")
    return Settings(preset, traded, offer, mode, form, fields, written, yaml, load)


def draw_turn() -> Turn:
    """Make the choices of when it runs; GPUs are shown where the machine has any."""
    with gr.Accordion("When it runs", open=False):
        with gr.Row(elem_classes="td-grid"):
            priority = gr.Number(
                0, label="Priority", info="Higher ones go first, from -1000 to 1000.", precision=0
            )
            after = gr.Dropdown(
                [], multiselect=True, label="After these runs", info="It waits until they have succeeded."
            )
            anyway = gr.Checkbox(
                label="Continue on error", info="Wait only until those runs have ended, however they end."
            )
        devices = gr.CheckboxGroup(
            [],
            label="GPUs",
            info="Exactly these, one for each process; none: any that are free.",
            visible=HIDDEN,
        )
    return Turn(priority, after, anyway, devices)


def draw_outcome() -> Outcome:
    """Make the buttons, and below them what the recipe comes to."""
    with gr.Row(elem_classes="td-actions"):
        go = gr.Button("Start the run", variant="primary", size="lg")
        check = gr.Button("Check before training", size="lg")
    answer, standing, stale = block(), block(), block()
    memory = acts("train-memory")
    found = block()
    panel = PreflightPanel(check, found, gr.State(""), gr.State(False), token_browser.draw())
    with gr.Accordion("Run it from a terminal", open=False):
        command = block()
    return Outcome(go, gr.State(""), gr.State(""), answer, standing, stale, memory, command, panel)
