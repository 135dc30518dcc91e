"""Annotate: the projects that somebody may label in, and the card on which they do it.

The address says which project is being labelled (``project``), whose guideline is read (``read``), whose
settings are open (``settings``), or that one is to be opened (``new``, or ``dataset`` with its items). While
somebody labels the card stands alone; its script hides the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages import annotate_change, annotate_fields, annotate_form
from pages.components.annotation_card import annotation_card
from pages.components.markup import SKELETON, address, button, chip, empty, link, page_head
from pages.components.panels import panel_head
from pages.components.project_words import SOURCES, STATES, TASKS
from pages.components.record_list import Column, Entry, record_list
from pages.components.visible import HIDDEN, when
from pages.components.visits import block, page_visit, query
from pages.components.wiring import listen
from pages.components.wording import ago, count
from studio.annotation import Project, ProjectState, leads, may_label
from studio.core import Role, StudioError
from studio.studio import Studio

TITLE = "Annotate"

_EVERY_SECONDS = 10.0
_COLUMNS = (
    Column("Project", "", "td-main", bare=True),
    Column("State", "", "", bare=True),
    Column("Your labels", "", "td-full", bare=True),
    Column("Whole", "", "td-num"),
    Column("Opened", "", "td-num"),
    Column("", "", "td-full", bare=True),
)
_PURPOSE = "Judge answers, one after the other, with the keyboard or by touch. What you say trains models."


def view(studio: Studio, request: gr.Request, *, holds: str) -> tuple[Any, ...]:
    """The head, the projects, a guideline if one is being read, and the two forms.

    ``holds`` is the project whose settings were shown last.
    """
    asked = query(request)
    if asked.get("project"):
        # The card stands alone; nothing behind it is looked up.
        return tuple(gr.skip() for _ in range(_PARTS))
    opens = studio.actor.role in (Role.ADMIN, Role.RESEARCHER)
    action = button("New project", address("annotate", new="project")) if opens else None
    return (
        page_head("Annotate", _PURPOSE, action),
        listing(studio, asked),
        *_reading(studio, asked),
        *annotate_form.updates(studio, asked),
        *annotate_change.updates(studio, asked, holds),
    )


def listing(studio: Studio, asked: Mapping[str, str]) -> Markup:
    """The projects with how far this person is in each, or the next step where there is none."""
    projects = studio.annotation.projects(studio.actor)
    if projects:
        ordered = sorted(projects, key=lambda project: project.state is not ProjectState.OPEN)
        return record_list("Projects", _COLUMNS, [_entry(studio, one, asked) for one in ordered], asked)
    if studio.actor.role not in (Role.ADMIN, Role.RESEARCHER):
        return empty("Nothing to label yet.", "A project appears here when somebody adds you to one.")
    if annotate_form.dataset_choices(studio):
        return empty(
            "No project yet.",
            "A project gives people items of a dataset, of the arena, or written by two models.",
            button("New project", address("annotate", new="project")),
        )
    return empty(
        "Nothing to label yet.",
        "Labels are given to answers. Import some, or build pairs from votes.",
        button("Go to Data", address("data", new="import")),
    )


def _entry(studio: Studio, project: Project, asked: Mapping[str, str]) -> Entry:
    progress = studio.annotation.progress(studio.actor, project.id)
    own = progress.labelled + progress.available
    part = progress.labelled / own if own else 0.0
    words = f"{progress.labelled:,} labelled, {progress.available:,} left for you"
    skipped = f", {progress.skipped:,} skipped" if progress.skipped else ""
    bar = Markup(
        '<div class="td-progress"><span>{}</span><div class="td-bar" style="--part: {:.4f}"></div></div>'
    ).format(words + skipped, part)
    whole = f"{100 * progress.done / progress.needed:.0f} %" if progress.needed else "no items yet"
    return Entry(
        (
            _name(project),
            chip(*STATES[project.state]),
            bar,
            whole,
            ago(project.created_at),
            _actions(studio, project, progress.available, started=progress.labelled > 0),
        ),
        current=project.id in (asked.get("settings"), asked.get("read")),
    )


def _name(project: Project) -> Markup:
    people = f", {count(project.overlap, 'person', 'people')} an item" if project.overlap > 1 else ""
    about = f"{TASKS[project.task]}, from {SOURCES[project.source].lower()}{people}"
    problem = Markup('<span class="td-sub td-about td-bad">{}</span>').format(project.problem)
    return Markup('{}<span class="td-sub td-about">{}</span>{}').format(
        link(project.name, address("annotate", project=project.id)),
        about,
        problem if project.state is ProjectState.FAILED else Markup(),
    )


def _actions(studio: Studio, project: Project, available: int, *, started: bool) -> Markup:
    links = []
    if project.state is ProjectState.OPEN and may_label(project, studio.actor):
        word = "Go on" if started and available else "Label" if available else "Look again"
        links.append(button(word, address("annotate", project=project.id), primary=available > 0))
    if project.guideline:
        links.append(_plain("Guideline", address("annotate", read=project.id)))
    if leads(project, studio.actor):
        links.append(_plain("Desk", address("review", project=project.id)))
        links.append(_plain("Settings", address("annotate", settings=project.id)))
    return Markup('<div class="td-project-actions">{}</div>').format(Markup().join(links))


def _plain(label: str, href: str) -> Markup:
    return Markup('<a class="td-plain" href="{}" data-go>{}</a>').format(href, label)


def _reading(studio: Studio, asked: Mapping[str, str]) -> tuple[Any, ...]:
    """The panel with a guideline, its head and its text."""
    wanted = asked.get("read", "")
    try:
        project = studio.annotation.project(studio.actor, wanted) if wanted else None
    except StudioError:
        project = None
    if project is None:
        return gr.update(visible=HIDDEN), "", ""
    title = f"Guideline of {project.name}, version {project.guideline_version}"
    return gr.update(visible=when(True)), panel_head(title, address("annotate")), project.guideline


_PARTS = 2 + 3 + annotate_form.PARTS + annotate_change.PARTS


def look_again(studio: Studio, request: gr.Request) -> Any:
    """The list as it is now; nothing while somebody labels."""
    asked = query(request)
    return gr.skip() if asked.get("project") else listing(studio, asked)


def render(studio: Studio) -> None:
    """Draw the page."""
    with gr.Column(elem_id="annotate-chooser"):
        head = block(page_head("Annotate", _PURPOSE))
        with gr.Column(visible=HIDDEN, elem_classes="td-narrow td-card") as reading:
            title = block()
            # Gradio's own Markdown is sanitised.
            guideline = gr.Markdown("", elem_classes="td-guideline")
        form = annotate_fields.draw()
        change = annotate_change.draw()
        projects = block(SKELETON)
    annotation_card()
    visit = page_visit("annotate", every=_EVERY_SECONDS)
    outputs = [head, projects, reading, title, guideline, *form.outputs, *change.outputs]
    held = {"holds": change.holds}
    listen(visit.visit, view, studio, api_name="annotate", inputs=held, outputs=outputs, quiet=True)
    listen(visit.tick, look_again, studio, api_name="annotate_tick", outputs=[projects], quiet=True)
    opened = annotate_form.wire(studio, form)
    listen(opened.then, look_again, studio, api_name="annotate_opened", outputs=[projects], quiet=True)
    for number, changed in enumerate(annotate_change.wire(studio, change)):
        name = f"annotate_changed_{number}"
        listen(changed.then, look_again, studio, api_name=name, outputs=[projects], quiet=True)
