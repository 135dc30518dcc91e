"""A project's settings, for its lead: guideline, overlap, members, time, and whether it is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.annotate_form import whole
from pages.components.markup import address, error_note, link, note
from pages.components.panels import panel_head
from pages.components.project_words import BLINDNESS, ROLES, STATES, people_of
from pages.components.visible import HIDDEN, when
from pages.components.visits import block, query
from pages.components.wiring import listen
from studio.annotation import Members, Project, ProjectChange, ProjectState, leads
from studio.core import NotFound, Role, StudioError
from studio.studio import Studio

_FIELDS = ("name", "guideline", "overlap", "roles", "people", "lease_minutes", "gold_every", "repeat_every")
#: How many outputs ``updates`` has: the panel, its head, the fields, two buttons, the answer, what it holds.
PARTS = 2 + len(_FIELDS) + 2 + 1 + 1


@dataclass(frozen=True)
class Panel:
    """The panel's parts: what ``updates`` writes to, what ``wire`` connects."""

    outputs: list[Any]
    fields: dict[str, Any]
    save: Any
    close: Any
    reopen: Any
    answer: Any
    holds: Any


def updates(studio: Studio, asked: Mapping[str, str], holds: str) -> tuple[Any, ...]:
    """The panel with the project that ``settings`` in the address names, filled as it is now.

    ``holds`` is the project that it was filled with: another visit must not undo what somebody types.
    """
    project = _led(studio, asked.get("settings", ""))
    if project is None:
        return gr.update(visible=HIDDEN), "", *(gr.skip() for _ in range(PARTS - 4)), "", ""
    if project.id == holds:
        return gr.update(visible=True), *(gr.skip() for _ in range(PARTS - 1))
    desk = link("Dashboard, disagreements and export", address("review", project=project.id))
    head = panel_head(f"Settings of {project.name}", address("annotate"))
    about = Markup('<p class="td-sub">It is {}. {}.</p>').format(STATES[project.state][0], desk)
    members = project.members
    return (
        gr.update(visible=True),
        head + about,
        project.name,
        project.guideline,
        project.overlap,
        [role.value for role in members.roles],
        ", ".join(members.people),
        project.lease_seconds / 60,
        project.gold_every,
        project.repeat_every,
        *_buttons(project),
        "",
        project.id,
    )


def _buttons(project: Project) -> tuple[Any, Any]:
    return (
        gr.update(visible=when(project.state is ProjectState.OPEN)),
        gr.update(visible=when(project.state is ProjectState.CLOSED)),
    )


def _led(studio: Studio, project_id: str) -> Project | None:
    if not project_id:
        return None
    try:
        project = studio.annotation.project(studio.actor, project_id)
    except StudioError:
        return None
    return project if leads(project, studio.actor) else None


def save(studio: Studio, request: gr.Request, **given: Any) -> Markup:
    """Store what was changed; a guideline that differs becomes its next version."""
    try:
        project = _asked(studio, request)
        changed = studio.annotation.change(studio.actor, project.id, _entered(given))
    except StudioError as error:
        return error_note(error)
    newer = changed.guideline_version > project.guideline_version
    lines = [f"The guideline is now version {changed.guideline_version}; people are told."] if newer else []
    return note(Markup("<strong>{}</strong> is changed.").format(changed.name), "td-good", lines)


def _entered(given: Mapping[str, Any]) -> ProjectChange:
    return ProjectChange(
        name=given["name"] or "",
        guideline=given["guideline"] or "",
        overlap=whole("The overlap", given["overlap"]),
        members=Members(tuple(Role(role) for role in given["roles"] or ()), people_of(given["people"] or "")),
        lease_seconds=round(60 * (given["lease_minutes"] or 0)),
        gold_every=whole("Gold", given["gold_every"]),
        repeat_every=whole("Repeats", given["repeat_every"] or 0),
    )


def close_project(studio: Studio, request: gr.Request) -> tuple[Any, ...]:
    """Take no more labels; what was given stays."""
    return _set(studio, request, ProjectState.CLOSED)


def reopen_project(studio: Studio, request: gr.Request) -> tuple[Any, ...]:
    """Take labels again."""
    return _set(studio, request, ProjectState.OPEN)


def _set(studio: Studio, request: gr.Request, state: ProjectState) -> tuple[Any, ...]:
    try:
        project = studio.annotation.change(
            studio.actor, _asked(studio, request).id, ProjectChange(state=state)
        )
    except StudioError as error:
        return error_note(error), gr.skip(), gr.skip()
    words = (
        "It takes labels again."
        if state is ProjectState.OPEN
        else "Its labels are kept; nobody can add to them."
    )
    said = Markup("<strong>{}</strong> is {}. {}").format(project.name, state.value, words)
    return note(said, "td-good"), *_buttons(project)


def _asked(studio: Studio, request: gr.Request) -> Project:
    """The project that the address names: what is changed is what is looked at."""
    wanted = query(request).get("settings", "")
    if not wanted:
        raise NotFound("No project is open here.", "Open its settings from the list.")
    return studio.annotation.project(studio.actor, wanted)


def draw() -> Panel:
    """The panel, closed."""
    with gr.Column(visible=HIDDEN, elem_classes="td-narrow td-card td-form") as panel:
        head = block()
        name = gr.Textbox("", label="Name")
        guideline = gr.Textbox("", label="Guideline", lines=8, info="Markdown. A change makes a new version.")
        with gr.Row():
            overlap = gr.Number(1, precision=0, minimum=1, maximum=20, label="People an item")
            lease = gr.Number(15, minimum=0.5, label="Minutes before an item goes to somebody else")
        with gr.Row():
            roles = gr.CheckboxGroup(ROLES, label="Who may label", info=BLINDNESS)
            people = gr.Textbox("", label="And by name", info="Account names, separated by commas.")
        with gr.Row():
            gold_every = gr.Number(10, precision=0, minimum=2, label="One in so many is gold")
            repeat = gr.Number(0, precision=0, minimum=0, label="One in so many is an earlier one again")
        with gr.Row(elem_classes="td-actions"):
            keep = gr.Button("Save", variant="primary", size="md")
            close = gr.Button("Close the project", size="md", visible=HIDDEN)
            reopen = gr.Button("Open it again", size="md", visible=HIDDEN)
        answer = block()
    made = (name, guideline, overlap, roles, people, lease, gold_every, repeat)
    fields = dict(zip(_FIELDS, made, strict=True))
    holds = gr.State("")
    outputs = [panel, head, *made, close, reopen, answer, holds]
    return Panel(outputs, fields, keep, close, reopen, answer, holds)


def wire(studio: Studio, panel: Panel) -> tuple[Any, ...]:
    """Connect the panel; gives what happens once something was changed."""
    states = [panel.answer, panel.close, panel.reopen]
    return (
        listen(
            panel.save.click,
            save,
            studio,
            api_name="change_project",
            inputs=panel.fields,
            outputs=[panel.answer],
        ),
        listen(panel.close.click, close_project, studio, api_name="close_project", outputs=states),
        listen(panel.reopen.click, reopen_project, studio, api_name="reopen_project", outputs=states),
    )
