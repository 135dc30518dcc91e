"""Rows of a dataset as people read them: messages with their speaker, pairs side by side.

A cell that is not what the row's kind says is shown as JSON rather than hidden; a page is for looking.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pages.components.markup import chip
from pages.components.wording import count
from studio.datasets import SchemaKind

_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}


def message(speaker: str, text: str) -> Markup:
    """One message under the name of who speaks."""
    return Markup(
        '<div class="td-message"><span class="td-speaker">{}</span><div class="td-text">{}</div></div>'
    ).format(_SPEAKERS.get(speaker, speaker), text)


def messages(value: object) -> Markup:
    """A conversation, one message below the other."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return _text(value)
    shown = (
        message(str(turn.get("role", "")), str(turn.get("content", "")))
        if isinstance(turn, Mapping)
        else _text(turn)
        for turn in value
    )
    return Markup().join(shown)


def row_view(kind: SchemaKind, row: Mapping[str, Any], number: int) -> Markup:
    """One row of a version as a card; ``number`` counts from 1."""
    body = _BODIES[kind](row)
    votes = row.get("votes") or ()
    aside = Markup('<span class="td-sub">{}, {:.0%} agree</span>').format(
        count(len(votes), "verdict"), float(row.get("agreement") or 0.0)
    )
    head = Markup('<div class="td-row-head"><span class="td-sub">Row {:,}</span>{}</div>').format(
        number, aside if votes else Markup()
    )
    return Markup('<li class="td-card td-data-row">{}{}</li>').format(head, body)


def source_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Markup:
    """The first rows of a file as they stand in it; long cells are cut."""
    head = Markup().join(Markup('<th scope="col">{}</th>').format(name) for name in columns)
    body = Markup().join(
        Markup("<tr>{}</tr>").format(
            Markup().join(
                Markup('<td class="td-full" data-label="{}">{}</td>').format(c, _cell(row.get(c)))
                for c in columns
            )
        )
        for row in rows
    )
    return Markup(
        '<div class="td-scroll"><table class="td-table td-source" aria-label="First rows of the file">'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(head, body)


def _cell(value: object, most: int = 220) -> str:
    if value is None:
        return "–"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= most else text[:most].rstrip() + " …"


def _text(value: object) -> Markup:
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return Markup('<div class="td-text">{}</div>').format(shown)


def _corpus(row: Mapping[str, Any]) -> Markup:
    return _text(row.get("text"))


def _instruction(row: Mapping[str, Any]) -> Markup:
    return messages(row.get("messages"))


def _preference(row: Mapping[str, Any]) -> Markup:
    sides = Markup().join(
        Markup('<section><h4 class="td-answer-head">{}</h4>{}</section>').format(
            name.capitalize(), messages(row.get(name))
        )
        for name in ("chosen", "rejected")
    )
    return Markup('{}<div class="td-columns td-pair">{}</div>').format(messages(row.get("prompt")), sides)


def _unpaired(row: Mapping[str, Any]) -> Markup:
    judged = chip("judged good", "td-good") if row.get("label") else chip("judged bad", "td-bad")
    return Markup("{}{}{}").format(messages(row.get("prompt")), messages(row.get("completion")), judged)


_BODIES = {
    SchemaKind.CORPUS: _corpus,
    SchemaKind.INSTRUCTION: _instruction,
    SchemaKind.PREFERENCE: _preference,
    SchemaKind.UNPAIRED: _unpaired,
}
