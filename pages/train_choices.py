"""What the Train page offers to choose: stages, models, datasets, runs to wait for, and GPUs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.markup import address, button, empty
from pages.components.recipe_form_mix import mixing
from pages.components.visible import when
from pages.components.wording import count
from studio.datasets import DatasetVersion, SchemaKind, Split
from studio.registry import ModelKind, ModelVersion
from studio.studio import Studio
from studio.training import Run, Stage


@dataclass(frozen=True)
class StageWords:
    """A stage in plain words: its button, what it does, and the rows that it learns from."""

    label: str
    meaning: str
    kind: SchemaKind
    rows: str


STAGES = {
    Stage.CPT: StageWords(
        "Read texts (CPT)",
        "The model reads your texts and learns their words and facts, not to answer: teach that afterwards.",
        SchemaKind.CORPUS,
        "texts",
    ),
    Stage.SFT: StageWords(
        "Answer instructions (SFT)",
        "The model learns to answer as your examples do. This is where most models begin.",
        SchemaKind.INSTRUCTION,
        "instructions and answers",
    ),
    Stage.DPO: StageWords(
        "Prefer better answers (DPO)",
        "The model moves towards the answers that people preferred, and away from those they did not. Begin "
        "with a model that already answers.",
        SchemaKind.PREFERENCE,
        "preference pairs",
    ),
    Stage.KTO: StageWords(
        "Learn from thumbs (KTO)",
        "As DPO, from single answers that were called good or bad: no pairs are needed. Begin with a model "
        "that already answers.",
        SchemaKind.UNPAIRED,
        "single answers judged good or bad",
    ),
    Stage.REWARD: StageWords(
        "Score answers (Reward)",
        "Makes a model that gives an answer a number, higher where people would prefer it. It cannot chat.",
        SchemaKind.PREFERENCE,
        "preference pairs",
    ),
}
#: These stages go on from what was taught last; the others begin with a base.
_AFTER_TEACHING = (Stage.DPO, Stage.KTO)


def stage_note(stage: Stage) -> Markup:
    """What a stage does and learns from."""
    words = STAGES[stage]
    return Markup('<p class="td-sub">{} It learns from {}.</p>').format(words.meaning, words.rows)


def offered(
    studio: Studio, stage: Stage, model: str | None, dataset: str | None, mix: Any
) -> tuple[Any, ...]:
    """What there is for a stage: the models, the datasets, those to mix in, and what is missing."""
    models = _trainable(studio, stage)
    model_names = [(f"{m.reference} ({m.kind.value})", m.reference) for m in models]
    data_names = dataset_choices(studio, stage)
    chosen = _kept(dataset, data_names) or _first(data_names)
    return (
        gr.update(choices=model_names, value=_kept(model, model_names) or _usual_model(stage, models)),
        gr.update(choices=data_names, value=chosen),
        mixing(data_names, chosen, mix),
        missing(stage, bool(models), bool(data_names)),
    )


def dataset_choices(studio: Studio, stage: Stage) -> list[tuple[str, str]]:
    """The newest versions that ``stage`` can learn from, as label and reference."""
    versions = [summary.latest for summary in studio.datasets.list(studio.actor)]
    fitting = [v for v in versions if v.kind is STAGES[stage].kind and v.rows.get(Split.TRAIN, 0)]
    fitting.sort(key=lambda version: version.created_at, reverse=True)
    return [(f"{v.reference} ({count(v.rows[Split.TRAIN], 'row')})", v.reference) for v in fitting]


def version_of(studio: Studio, dataset: str | None) -> DatasetVersion | None:
    """The version that a reference from the list of choices means."""
    found = (summary.latest for summary in studio.datasets.list(studio.actor))
    return next((version for version in found if dataset == version.reference), None)


def missing(stage: Stage, models: bool, datasets: bool) -> Markup:
    """What has to be there before a run can start, with the button that leads to it."""
    if not models:
        action = button("Register a base model", address("models", new="base"))
        return empty(
            "There is no model to train yet.", "Register one, or wait for the embedded model.", action
        )
    if not datasets:
        action = button("Go to Data", address("data"))
        advice = f"It learns from {STAGES[stage].rows}. Import some, or build them."
        return empty("No dataset fits this stage.", advice, action)
    return Markup()


def runs_to_wait_for(studio: Studio, chosen: Iterable[str]) -> Any:
    """The runs that have not ended, to come after; what was ``chosen`` and is still there stays."""
    runs = [run for run in studio.training.list(studio.actor) if not run.state.final]
    known = {run.id for run in runs}
    return gr.update(
        choices=[(_named(run), run.id) for run in runs], value=[key for key in chosen if key in known]
    )


def gpus(studio: Studio) -> Any:
    """The GPUs to choose among; nothing to choose on a machine without any."""
    names = {index: gpu.name for index, gpu in studio.devices.memory().items()}
    choices = [(f"GPU {one} {names.get(one, '')}".strip(), str(one)) for one in studio.devices.all()]
    return gr.update(choices=choices, visible=when(bool(choices)))


def _named(run: Run) -> str:
    return f"{run.name} ({run.state.value}, {run.id})"


def _kept(wanted: str | None, names: list[tuple[str, str]]) -> str | None:
    """``wanted`` if it can be chosen; a name without a number means its newest version."""
    references = [value for _, value in names]
    if wanted in references:
        return wanted
    return next((value for value in references if wanted and value.split("@")[0] == wanted), None)


def _first(names: list[tuple[str, str]]) -> str | None:
    return names[0][1] if names else None


def _trainable(studio: Studio, stage: Stage) -> tuple[ModelVersion, ...]:
    """Every model, but reward models only where the stage makes one: they have no words to teach."""
    models = studio.registry.list(studio.actor)
    return tuple(model for model in models if model.writes or stage is Stage.REWARD)


def _usual_model(stage: Stage, models: tuple[ModelVersion, ...]) -> str | None:
    adapter = stage in _AFTER_TEACHING
    fitting = [m.reference for m in models if (m.kind is ModelKind.ADAPTER) is adapter]
    return next(iter(fitting), None) or next((m.reference for m in models), None)
