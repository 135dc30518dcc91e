"""Review: what a project's lead looks after: progress, people, disagreements, results.

The address says which project is open (``project``) and what of it (``view``: dashboard, inbox, consensus
or export). Who only labels has no business here; the services check that again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages import review_exchange, review_inbox
from pages.components import review_consensus as consensus_words
from pages.components import review_dashboard as words
from pages.components.chart import chart, drawn
from pages.components.markup import (
    SKELETON,
    address,
    button,
    chip,
    empty,
    error_note,
    link,
    note,
    page_head,
    progress_bar,
    tag,
)
from pages.components.record_list import Column, Entry, record_list
from pages.components.review_charts import panels
from pages.components.review_inbox import closed, inbox_card
from pages.components.visible import when
from pages.components.visits import block, page_visit, query
from pages.components.wiring import listen
from pages.components.wording import ago
from studio.annotation import Project, ProjectState, leads
from studio.core import NotFound, StudioError
from studio.studio import Studio

TITLE = "Review"

VIEWS = {"dashboard": "Dashboard", "inbox": "Inbox", "consensus": "Consensus", "export": "Export and import"}
_STATES = {
    ProjectState.PREPARING: ("preparing", "td-busy"),
    ProjectState.OPEN: ("open", "td-good"),
    ProjectState.CLOSED: ("closed", "td-idle"),
    ProjectState.FAILED: ("failed", "td-bad"),
}
_COLUMNS = (
    Column("Project", "", "td-main", bare=True),
    Column("State", "", "", bare=True),
    Column("Labels", "", "td-full", bare=True),
    Column("People per item", "", "td-num"),
    Column("Opened", "", "td-num"),
)


def view(studio: Studio, request: gr.Request) -> tuple[Any, ...]:
    """Everything that the address decides: the list, or one project and what of it."""
    asked = query(request)
    try:
        project = opened(studio, asked)
        return _listed(studio) if project is None else _shown(studio, project, asked)
    except StudioError as error:
        return _page(head=error_note(error) + _back())


def refreshed(studio: Studio, request: gr.Request) -> tuple[Any, ...]:
    """The list or the dashboard anew; what somebody works in stays as it is."""
    if query(request).get("view", "dashboard") != "dashboard":
        return (gr.skip(),) * 3
    return view(studio, request)[:3]


def opened(studio: Studio, asked: Mapping[str, str]) -> Project | None:
    """The project that the address names; None where it names none.

    Raises:
        NotFound: There is no such project among those that this person leads.
    """
    if not asked.get("project"):
        return None
    project = studio.annotation.project(studio.actor, asked["project"])
    if not leads(project, studio.actor):
        raise NotFound(f"You do not lead a project {asked['project']}.", "Choose one from the list.")
    return project


def _listed(studio: Studio) -> tuple[Any, ...]:
    projects = [one for one in studio.annotation.projects(studio.actor) if leads(one, studio.actor)]
    if not projects:
        advice = "A project offers pairs of answers to people; here you see how they do."
        opening = button("Open a project", address("annotate", new="project"))
        return _page(head=empty("No project yet.", advice, opening))
    return _page(head=record_list("Projects", _COLUMNS, [_entry(studio, one) for one in projects], {}))


def _entry(studio: Studio, project: Project) -> Entry:
    done = studio.annotation.progress(studio.actor, project.id)
    part = min(done.done / done.needed, 1.0) if done.needed else 0.0
    bar = Markup(
        '<div class="td-progress"><span>{:,} of {:,}</span>'
        '<div class="td-bar" style="--part: {:.4f}"></div></div>'
    ).format(done.done, done.needed, part)
    name = Markup("{} {}").format(
        link(project.name, address("review", project=project.id)), tag(project.task)
    )
    return Entry((name, chip(*_STATES[project.state]), bar, project.overlap, ago(project.created_at)))


def _shown(studio: Studio, project: Project, asked: Mapping[str, str]) -> tuple[Any, ...]:
    chosen = asked.get("view", "dashboard")
    chosen = chosen if chosen in VIEWS else "dashboard"
    head = _head(project, chosen)
    if chosen == "inbox":
        return _page(head=head, inbox=review_inbox.inbox_of(studio, project))
    if chosen == "consensus":
        return _page(head=head, below=consensus(studio, project, asked))
    if chosen == "export":
        return _page(head=head, offers=review_exchange.downloads(project))
    return _dashboard(studio, project, head)


def _dashboard(studio: Studio, project: Project, head: Markup) -> tuple[Any, ...]:
    found = studio.review.dashboard(studio.actor, project.id)
    inbox = address("review", project=project.id, view="inbox")
    return _page(
        head=head + _writing(studio, project) + words.overview(found, inbox),
        charts=drawn(panels(found)),
        below=words.people(found) + words.pairs(found),
    )


def _writing(studio: Studio, project: Project) -> Markup:
    """How far the models are that write a project's answers."""
    if project.state is not ProjectState.PREPARING or not project.job_id:
        return Markup()
    return progress_bar(studio.jobs.progress(studio.actor, project.job_id))


def _head(project: Project, chosen: str) -> Markup:
    links = Markup().join(
        Markup('<a href="{}" data-go aria-current="{}">{}</a>').format(
            address("review", project=project.id, view="" if name == "dashboard" else name),
            "true" if name == chosen else "false",
            title,
        )
        for name, title in VIEWS.items()
    )
    title = Markup('<h2 class="td-title">{} {} {}</h2>').format(
        project.name, tag(project.task), chip(*_STATES[project.state])
    )
    label = button("Label in it", address("annotate", project=project.id), primary=False)
    return Markup(
        '<div class="td-review-head"><div>{}{}</div>{}</div>'
        '<nav class="td-segments" aria-label="Views">{}</nav>'
    ).format(_back(), title, label if project.state is ProjectState.OPEN else "", links)


def _back() -> Markup:
    return Markup('<p class="td-sub">{}</p>').format(link("All projects", address("review")))


def consensus(studio: Studio, project: Project, asked: Mapping[str, str]) -> Markup:
    """A page of the consensus list."""
    found = consensus_words.ranked(studio.review.consensus(studio.actor, project.id))
    first = consensus_words.page_of(asked, len(found))
    shown = found[first : first + consensus_words.PAGE]
    texts = studio.review.items(studio.actor, project.id, [one.position for one in shown])
    by_position = {item.position: item for item in texts}
    return consensus_words.listing(shown, by_position, first, len(found), asked)


def _page(
    *,
    head: Markup,
    charts: dict[str, Any] | None = None,
    below: Markup | str = "",
    inbox: dict[str, Any] | None = None,
    offers: Markup | None = None,
) -> tuple[Any, ...]:
    """The outputs of ``view`` in their order."""
    if inbox is not None and not inbox.get("project"):
        below = note("People write answers in this project, so there is no disagreement to decide.")
    return (
        head,
        charts or drawn(()),
        below,
        inbox or closed(),
        gr.update(visible=when(offers is not None)),
        offers or "",
    )


def render(studio: Studio) -> None:
    """Draw the page."""
    purpose = "How a project goes, who needs help, where people disagree, and what it all comes to."
    block(page_head("Review", purpose))
    head = block(SKELETON)
    charts = chart("review-charts")
    below = block()
    inbox = inbox_card()
    exchange, offers = review_exchange.render(studio)
    visit = page_visit("review", every=10.0)
    outputs = [head, charts, below, inbox, exchange, offers]
    listen(visit.visit, view, studio, api_name="review", outputs=outputs, quiet=True)
    listen(visit.tick, refreshed, studio, api_name="review_tick", outputs=outputs[:3], quiet=True)
    # A second decision while the first is stored must not be dropped.
    deciding: dict[str, Any] = {"outputs": [inbox], "trigger_mode": "multiple", "quiet": True}
    listen(inbox.decide, review_inbox.decide, studio, api_name="review_decide", **deciding)
