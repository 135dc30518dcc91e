"""What the form for a new annotation project offers, and what becomes of what somebody entered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.annotate_fields import Form
from pages.components.markup import address, button, error_note, note
from pages.components.project_words import people_of
from pages.components.visible import HIDDEN, when
from pages.components.wiring import listen
from pages.components.wording import count
from studio.annotation import Members, NewProject, ProjectState, Source, Task, may_label
from studio.core import InvalidInput, Role, StudioError
from studio.datasets import SchemaKind
from studio.studio import Studio

#: How many outputs ``updates`` has.
PARTS = 6

_SINGLES = (SchemaKind.INSTRUCTION, SchemaKind.UNPAIRED)
_ROWS = (SchemaKind.PREFERENCE, *_SINGLES)


def updates(studio: Studio, asked: Mapping[str, str]) -> tuple[Any, ...]:
    """Whether the form is open, and what can be chosen in it now; ``dataset`` in the address is chosen."""
    opens = studio.actor.role in (Role.ADMIN, Role.RESEARCHER)
    if not opens or not (asked.get("new") or asked.get("dataset")):
        return gr.update(visible=HIDDEN), *(gr.skip() for _ in range(PARTS - 1))
    choices = dataset_choices(studio)
    models = model_choices(studio)
    wanted = asked.get("dataset", "")
    picked = {"value": wanted} if wanted in [reference for _, reference in choices] else {}
    golds = [("None", ""), *dataset_choices(studio, (SchemaKind.PREFERENCE, SchemaKind.UNPAIRED))]
    return (
        gr.update(visible=True),
        gr.update(choices=choices, **picked),
        gr.update(choices=models),
        gr.update(choices=models),
        gr.update(choices=[("None", ""), *models]),
        gr.update(choices=golds),
    )


def dataset_choices(studio: Studio, kinds: tuple[SchemaKind, ...] = _ROWS) -> list[tuple[str, str]]:
    """Every dataset version with rows of these kinds, the newest first, as label and reference."""
    summaries = [one for one in studio.datasets.list(studio.actor) if one.latest.kind in kinds]
    versions = [v for s in summaries for v in studio.datasets.versions(studio.actor, s.name) if v.total_rows]
    versions.sort(key=lambda version: version.created_at, reverse=True)
    return [(f"{v.reference} ({count(v.total_rows, 'row')}, {v.kind.value})", v.reference) for v in versions]


def model_choices(studio: Studio) -> list[tuple[str, str]]:
    """Every model version that writes, as label and reference."""
    models = [model for model in studio.registry.list(studio.actor) if model.writes]
    return [(f"{m.reference} ({m.kind.value})", m.reference) for m in models]


def fit(studio: Studio, *, task: str, source: str) -> tuple[Any, ...]:
    """Show the fields that belong to a task and a source, with the datasets that fit them."""
    pairs = source == Source.DATASET and task == Task.PREFERENCE
    kinds = (SchemaKind.PREFERENCE,) if pairs else _ROWS
    choices = dataset_choices(studio, kinds)
    label = "Prompts" if source == Source.CANDIDATES else "Items"
    return (
        gr.update(choices=choices, label=label, visible=when(source != Source.ARENA)),
        gr.update(visible=when(source == Source.CANDIDATES)),
        gr.update(visible=when(source != Source.ARENA)),
    )


def open_project(studio: Studio, **given: Any) -> Markup:
    """Open the project and offer what comes next; says what went wrong beside the form."""
    try:
        project = studio.annotation.open_project(studio.actor, entered(given))
    except StudioError as error:
        return error_note(error)
    if project.state is ProjectState.PREPARING:
        return note(
            Markup("<strong>{}</strong> is being prepared: its models are writing.").format(project.name),
            "td-busy",
            ("It opens by itself, and stands in the list with its state.",),
        )
    said = Markup("<strong>{}</strong> is open with {}.").format(project.name, count(project.items, "item"))
    if may_label(project, studio.actor):
        begin = button("Begin labelling", address("annotate", project=project.id))
    else:
        begin = button("See how it goes", address("review", project=project.id))
    return note(said, "td-good") + Markup('<p class="td-begin">{}</p>').format(begin)


def entered(given: Mapping[str, Any]) -> NewProject:
    """The project that somebody entered.

    Raises:
        InvalidInput: A number is missing, or there are not two models to write.
    """
    source = Source(given["source"])
    models = tuple(name for name in (given["first_model"], given["second_model"]) if name)
    if source is Source.CANDIDATES and len(models) < 2:
        raise InvalidInput("Two models have to write.", "Choose both, or take the answers from a dataset.")
    return NewProject(
        name=(given["name"] or "").strip(),
        task=Task(given["task"]),
        source=source,
        dataset="" if source is Source.ARENA else given["dataset"] or "",
        guideline=given["guideline"] or "",
        overlap=whole("The overlap", given["overlap"]),
        target=whole("The target", given["target"]) if given["target"] else None,
        members=Members(tuple(Role(role) for role in given["roles"] or ()), people_of(given["people"] or "")),
        models=models if source is Source.CANDIDATES else (),
        suggestion_model="" if source is Source.ARENA else given["suggestion_model"] or "",
        gold=given["gold"] or "",
        gold_every=whole("Gold", given["gold_every"]),
        repeat_every=whole("Repeats", given["repeat_every"] or 0),
        lease_seconds=60 * whole("The lease", given["lease_minutes"]),
    )


def whole(name: str, value: float | None) -> int:
    """A whole number that was entered.

    Raises:
        InvalidInput: There is none.
    """
    if value is None or value != int(value):
        raise InvalidInput(f"{name} is no whole number.", "Enter one.")
    return int(value)


def wire(studio: Studio, form: Form) -> Any:
    """Connect the form; gives what happens once it was sent."""
    chosen = {"task": form.fields["task"], "source": form.fields["source"]}
    for name, field in chosen.items():
        listen(
            field.change,
            fit,
            studio,
            api_name=f"project_{name}",
            inputs=chosen,
            outputs=form.fitted,
            quiet=True,
        )
    return listen(
        form.submit.click,
        open_project,
        studio,
        api_name="open_project",
        inputs=form.fields,
        outputs=[form.answer],
    )
