"""Lists of records as a table that becomes cards on a phone.

Sorting, searching and ticking live in the address (``?sort=loss&q=sft&with=run_…``), so a list that someone
arranged can be sent to someone else, and the server renders what the address says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pages.components.markup import address


@dataclass(frozen=True)
class Column:
    """A column: its heading, the word that sorts by it (empty: it does not sort), and how it is set.

    ``kind`` is ``td-main`` for the name, ``td-num`` for figures, ``td-full`` for a cell that takes a
    whole line on a phone, or empty. ``bare`` leaves the heading out on a phone.
    """

    title: str
    sort: str = ""
    kind: str = ""
    bare: bool = False


@dataclass(frozen=True)
class Entry:
    """A row: its cells in the order of the columns, and whether it is the one that is open."""

    cells: Sequence[object]
    current: bool = False


def record_list(
    label: str,
    columns: Sequence[Column],
    rows: Sequence[Entry],
    query: Mapping[str, str],
    *,
    compact: bool = False,
    parameter: str = "sort",
) -> Markup:
    """The table; ``label`` names it for screen readers, ``query`` is the address it stands in.

    ``compact`` stacks its cells as on a phone: for a list beside an open record. ``parameter`` is the part
    of the address that says how it is sorted; a second table on a page needs one of its own.
    """
    head = Markup().join(_heading(column, query, parameter) for column in columns)
    body = Markup().join(_row(columns, row) for row in rows)
    return Markup(
        '<table class="td-table {}" aria-label="{}"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>'
    ).format("td-compact" if compact else "", label, head, body)


def search_box(label: str, parameter: str = "q") -> Markup:
    """A search box whose text goes into the address as ``parameter`` while someone types."""
    return Markup(
        '<input class="td-search" type="search" data-search="{0}" placeholder="{1}" aria-label="{1}">'
    ).format(parameter, label)


def no_match(sentence: str) -> Markup:
    """What stands in place of the list where a search finds nothing; the search box stays."""
    return Markup('<p class="td-sub" role="status">{}</p>').format(sentence)


def tick_box(parameter: str, value: str, label: str, ticked: bool) -> Markup:
    """A tick box that adds ``value`` to the list ``parameter`` of the address."""
    return Markup('<input type="checkbox" data-tick="{}" value="{}" aria-label="{}"{}>').format(
        parameter, value, label, Markup(" checked") if ticked else Markup()
    )


def matches(search: str, *texts: str) -> bool:
    """Whether every word of ``search`` stands in one of the texts, whatever its case."""
    joined = " ".join(texts).casefold()
    return all(word in joined for word in search.casefold().split())


def _heading(column: Column, query: Mapping[str, str], parameter: str) -> Markup:
    kind = "td-num" if column.kind == "td-num" else ""
    if not column.sort:
        return Markup('<th scope="col" class="{}">{}</th>').format(kind, column.title)
    falling, rising = f"-{column.sort}", column.sort
    now = query.get(parameter, "")
    wanted = rising if now == falling else falling
    order = {falling: "descending", rising: "ascending"}.get(now, "none")
    others = {key: value for key, value in query.items() if key not in ("tab", parameter, "__theme")}
    href = address(query.get("tab", ""), **others | {parameter: wanted})
    return Markup(
        '<th scope="col" class="{}" aria-sort="{}"><a href="{}" data-go="replace">{}</a></th>'
    ).format(kind, order, href, column.title)


def _row(columns: Sequence[Column], row: Entry) -> Markup:
    cells = Markup().join(_cell(column, cell) for column, cell in zip(columns, row.cells, strict=True))
    return Markup('<tr aria-current="{}">{}</tr>').format("true" if row.current else "false", cells)


def _cell(column: Column, cell: object) -> Markup:
    label = Markup() if column.bare or not column.title else Markup(' data-label="{}"').format(column.title)
    return Markup('<td class="{}"{}>{}</td>').format(column.kind, label, cell)
