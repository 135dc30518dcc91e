"""Versions made of what is already here: preferences from votes and labels, and versions joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.markup import address, error_note, link, note
from pages.components.panels import panel_head
from pages.components.visible import HIDDEN
from pages.components.visits import block
from pages.components.wiring import listen
from pages.components.wording import count
from studio.core import StudioError
from studio.datasets import DatasetVersion, PreferenceReport, PreferenceSettings, SchemaKind, Split
from studio.studio import Studio


@dataclass(frozen=True)
class Choices:
    """Updates of the two pickers of versions."""

    preferences: Any
    versions: Any


def choices(studio: Studio) -> Choices:
    """The versions that can be joined, newest first."""
    versions = [
        v for s in studio.datasets.list(studio.actor) for v in studio.datasets.versions(studio.actor, s.name)
    ]
    versions.sort(key=lambda version: version.created_at, reverse=True)
    pairs = [version for version in versions if version.kind is SchemaKind.PREFERENCE]
    return Choices(gr.update(choices=_offered(pairs)), gr.update(choices=_offered(versions)))


def _offered(versions: list[DatasetVersion]) -> list[tuple[str, str]]:
    return [(f"{v.reference} ({v.kind.value}, {count(v.total_rows, 'row')})", v.reference) for v in versions]


def material(studio: Studio) -> Markup:
    """What a preference build has to work with."""
    votes = len(studio.arena.judgements(studio.actor))
    labels = len(studio.annotation.judgements(studio.actor))
    thumbs = len(studio.arena.opinions(studio.actor))
    found = Markup("There are {}, {} and {}.").format(
        count(votes, "vote"), count(labels, "label"), count(thumbs, "thumb")
    )
    if votes or labels:
        return note(found + " Each pair keeps the ids of the verdicts behind it.")
    return note(
        found
        + Markup(" Pairs need verdicts: {} or {}.").format(
            link("compare two models blind", address("chat", blind="1")),
            link("label a preference dataset", address("annotate")),
        ),
        "td-busy",
    )


def build(
    studio: Studio,
    *,
    dataset: str,
    joined: list[str] | None,
    agreement: float,
    validation: float,
    seed: float | None,
    better: bool,
    scripted: bool,
    leave_out: bool = False,
) -> Markup:
    """Build a preference version from every vote, label and thumb, and say what came of it."""
    settings = PreferenceSettings(
        validation_fraction=validation,
        seed=int(seed or 0),
        minimum_agreement=agreement,
        use_better_answers=better,
    )
    try:
        made = studio.build_preferences(
            studio.actor,
            dataset.strip(),
            settings,
            tuple(joined or ()),
            include_scripted=scripted,
            leave_out_protected=leave_out,
        )
    except StudioError as error:
        return error_note(error)
    unpaired = Markup()
    if made.unpaired is not None:
        unpaired = Markup(" Single answers that were judged are in {}.").format(_linked(made.unpaired))
    sentence = Markup("<strong>{} is ready:</strong> {}.{} {}").format(
        _linked(made.version),
        _sides(made.version),
        unpaired,
        link("Train on it", address("train", stage="dpo", dataset=made.version.reference)),
    )
    return note(sentence, "td-good", _left_out(made.report))


def _left_out(report: PreferenceReport) -> list[str]:
    made = f"{count(report.judgements, 'verdict')} looked at, {count(report.pairs, 'pair')} made"
    return [made, *(f"{count(one.count, 'verdict')} left out: {one.why}" for one in report.left_out)]


def join(
    studio: Studio, *, dataset: str, versions: list[str] | None, seed: float | None, leave_out: bool = False
) -> Markup:
    """Join versions of one kind into a new version, and say what came of it."""
    references = tuple(versions or ())
    try:
        made = studio.datasets.join(
            studio.actor, dataset.strip(), references, int(seed or 0), leave_out_protected=leave_out
        )
    except StudioError as error:
        return error_note(error)
    before = sum(studio.datasets.version(studio.actor, one).total_rows for one in versions or ())
    twice = before - made.total_rows
    protected = sum(int(step.get("protected_left_out", 0)) for step in made.steps)
    twice -= protected
    said = f"{count(twice, 'duplicate')} left out." if twice else "No duplicates were found."
    if protected:
        said += f" {count(protected, 'row')} with protected prompts left out."
    sentence = Markup("<strong>{} is ready:</strong> {}. {}").format(_linked(made), _sides(made), said)
    return note(sentence, "td-good")


def _linked(version: DatasetVersion) -> Markup:
    return link(version.reference, address("data", version=version.id))


def _sides(version: DatasetVersion) -> str:
    train, held_out = version.rows.get(Split.TRAIN, 0), version.rows.get(Split.VALIDATION, 0)
    return f"{count(train, 'row')} for training, {held_out:,} held out"


def render_preferences(studio: Studio) -> tuple[Any, Any, Any]:
    """The preference builder: its column, the block for ``material``, and the picker to fill."""
    with gr.Column(visible=HIDDEN, elem_classes="td-narrow td-card td-form") as panel:
        block(panel_head("Build preferences from votes and labels", address("data")))
        available = block()
        dataset = gr.Textbox(
            "preferences", label="Dataset", info="Its name; building again makes its next version."
        )
        joined = gr.Dropdown(
            [], multiselect=True, value=[], label="Join versions", info="Pairs that are added as they are."
        )
        with gr.Row():
            agreement = gr.Slider(
                0.5,
                1.0,
                0.5,
                step=0.05,
                label="Minimum agreement",
                info="Share of deciding votes that the winner needs.",
            )
            validation = gr.Slider(
                0.0, 0.5, 0.1, step=0.05, label="Validation share", info="Held out, by prompt."
            )
        with gr.Row():
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1)
            better = gr.Checkbox(True, label="Use better answers that voters wrote")
        scripted = gr.Checkbox(
            False, label="Count scripted votes", info="Those of the loop's scripted voter."
        )
        leave_out = _leave_out()
        with gr.Row(elem_classes="td-actions"):
            go = gr.Button("Build", variant="primary", size="md")
        result = block()
    inputs = {
        "dataset": dataset,
        "joined": joined,
        "agreement": agreement,
        "validation": validation,
        "seed": seed,
        "better": better,
        "scripted": scripted,
        "leave_out": leave_out,
    }
    listen(go.click, build, studio, api_name="build_preferences", inputs=inputs, outputs=[result])
    return panel, available, joined


def _leave_out() -> Any:
    return gr.Checkbox(
        False,
        label="Leave out protected prompts",
        info="Those that models are evaluated with, or people as gold. Without this the build refuses them.",
    )


def render_join(studio: Studio) -> tuple[Any, Any]:
    """The form that joins versions: its column and the picker to fill."""
    with gr.Column(visible=HIDDEN, elem_classes="td-narrow td-card td-form") as panel:
        block(panel_head("Join versions", address("data")))
        versions = gr.Dropdown(
            [],
            multiselect=True,
            value=[],
            label="Versions",
            info="All of one kind. A prompt that was held out stays so.",
        )
        dataset = gr.Textbox(
            "", label="Dataset", info="The name of a new dataset, or of one that gets another version."
        )
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1)
        leave_out = _leave_out()
        with gr.Row(elem_classes="td-actions"):
            go = gr.Button("Join", variant="primary", size="md")
        result = block()
    inputs = {"dataset": dataset, "versions": versions, "seed": seed, "leave_out": leave_out}
    listen(go.click, join, studio, api_name="join_versions", inputs=inputs, outputs=[result])
    return panel, versions
