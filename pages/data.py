"""Data: the datasets there are, one version opened to read, and the three ways to make another.

The address says what is open: ``version`` a version, ``new=import`` the import, ``build=preferences`` and
``build=join`` the builders; ``q`` and ``sort`` arrange the list, ``split``, ``find`` and ``from`` the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages import data_browse, data_build, data_import
from pages.components.markup import SKELETON, address, button, empty, link, page_head, tag
from pages.components.record_list import Column, Entry, matches, record_list, search_box
from pages.components.sharing import fill, wire
from pages.components.visible import when
from pages.components.visits import block, page_visit, query
from pages.components.wiring import listen
from pages.components.wording import ago
from studio.datasets import DatasetSummary, Split
from studio.studio import Studio

TITLE = "Data"

_COLUMNS = (
    Column("Dataset", "name", "td-main", bare=True),
    Column("Kind", "kind", bare=True),
    Column("Rows", "rows", "td-num"),
    Column("Held out", "", "td-num"),
    Column("Versions", "versions", "td-num"),
    Column("Changed", "when", "td-num"),
)
_SORTS = {
    "name": lambda found: found.name.casefold(),
    "kind": lambda found: found.latest.kind.value,
    "rows": lambda found: found.latest.total_rows,
    "versions": lambda found: found.versions,
    "when": lambda found: found.latest.created_at,
}


def view(studio: Studio, request: gr.Request) -> tuple[Any, ...]:
    """Everything that the address decides: which panel is open, what it shows, and the list."""
    asked = query(request)
    building = asked.get("build", "")
    opened = data_browse.opened(studio, asked)
    choices = data_build.choices(studio)
    return (
        gr.update(visible=when(asked.get("new") == "import")),
        gr.update(visible=when(building == "preferences")),
        data_build.material(studio) if building == "preferences" else gr.skip(),
        choices.preferences,
        gr.update(visible=when(building == "join")),
        choices.versions,
        gr.update(visible=when(opened is not None)),
        opened.head if opened else "",
        opened.rows if opened else "",
        *fill(studio, opened.dataset if opened else None),
        listing(studio, asked),
    )


def listing(studio: Studio, asked: Mapping[str, str]) -> Markup:
    """The list, searched and sorted as the address asks; an empty state where there is nothing at all."""
    summaries = studio.datasets.list(studio.actor)
    if not summaries:
        return empty(
            "No data yet.",
            "Import a file of texts, instructions or preference pairs: JSONL, JSON, CSV or Parquet.",
            button("Import a file", address("data", new="import")),
        )
    found = [s for s in summaries if matches(asked.get("q", ""), s.name, s.description, s.latest.kind, s.id)]
    if not found:
        return empty("No dataset matches.", "Search for a name, a kind or an id.")
    wanted = asked.get("sort", "-when")
    sort = _SORTS.get(wanted.lstrip("-"), _SORTS["when"])
    found.sort(key=sort, reverse=wanted.startswith("-"))
    return record_list("Datasets", _COLUMNS, [_entry(summary, asked) for summary in found], asked)


def _entry(summary: DatasetSummary, asked: Mapping[str, str]) -> Entry:
    latest = summary.latest
    others = {key: asked[key] for key in ("q", "sort") if key in asked}
    about = (
        Markup('<span class="td-sub td-about">{}</span>').format(summary.description)
        if summary.description
        else ""
    )
    name = Markup("{}{}").format(link(summary.name, address("data", version=latest.id, **others)), about)
    held_out = latest.rows.get(Split.VALIDATION, 0)
    cells = (
        name,
        tag(latest.kind.value),
        f"{latest.total_rows:,}",
        f"{held_out:,}",
        summary.versions,
        ago(latest.created_at),
    )
    return Entry(cells, current=asked.get("version", "") in (latest.id, latest.reference, summary.name))


def render(studio: Studio) -> None:
    """Draw the page."""
    purpose = "Everything that models learn from and are judged by. A version never changes once it is made."
    actions = Markup('<div class="td-head-actions">{}{}{}</div>').format(
        button("Join versions", address("data", build="join"), primary=False),
        button("Build preferences", address("data", build="preferences"), primary=False),
        button("Import a file", address("data", new="import")),
    )
    block(page_head("Data", purpose, actions))
    importing = data_import.render(studio)
    preferences, material, joined = data_build.render_preferences(studio)
    joining, versions = data_build.render_join(studio)
    detail, head, rows, sharing = data_browse.render()
    block(search_box("Search datasets"))
    table = block(SKELETON)
    visit = page_visit("data", every=5.0)
    outputs = [importing, preferences, material, joined, joining, versions, detail, head, rows]
    outputs += [*sharing.outputs, table]
    listen(visit.visit, view, studio, api_name="data", outputs=outputs, quiet=True)
    wire(studio, sharing, "dataset")
    listen(visit.tick, refreshed, studio, api_name="data_tick", outputs=[table], quiet=True)


def refreshed(studio: Studio, request: gr.Request) -> Markup:
    """The list alone: a job or another browser may have added to it."""
    return listing(studio, query(request))
