"""Markup with buttons: what a row or a card offers stands in it, and all of it is one event.

``acts("run-queue")`` shows the markup that ``offered`` wraps; its event ``act`` carries the data of the
button that was pressed: ``data-do`` says what, the rest is for whom. A button that destroys something opens a
question first (``ask`` and ``question``), without the server. While somebody answers one, or drags a row,
what the server sends waits. Everything else stands in ``assets/acts.js``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.theme import asset

_FRAME = '<div class="td-acts" data-part="body"></div>'


def acts(elem_id: str) -> Any:
    """The component; give it ``offered(markup)`` and listen to its ``act``."""
    return gr.HTML(
        offered(Markup()),
        html_template=_FRAME,
        js_on_load=asset("acts.js"),
        apply_default_css=False,
        elem_id=elem_id,
    )


def offered(markup: Markup) -> dict[str, str]:
    """The value that shows ``markup``."""
    return {"html": str(markup)}


def said(event: gr.EventData) -> dict[str, str]:
    """What the pressed button says, every value as text."""
    data = event._data if isinstance(event._data, Mapping) else {}
    return {str(key): str(value)[:200] for key, value in data.items() if isinstance(value, str | int | float)}


def do(label: str, what: str, *, kind: str = "", hint: str = "", **data: object) -> Markup:
    """A button that does ``what``; ``hint`` names it for those who see only a sign."""
    named = Markup(' aria-label="{0}" title="{0}"').format(hint) if hint else Markup()
    return Markup('<button type="button" class="{}" data-do="{}"{}{}>{}</button>').format(
        _look(kind), what, _data(data), named, label
    )


def ask(label: str, name: str, *, kind: str = "", hint: str = "") -> Markup:
    """A button that opens the question ``name``."""
    named = Markup(' aria-label="{0}" title="{0}"').format(hint) if hint else Markup()
    return Markup('<button type="button" class="{}" data-ask="{}"{}>{}</button>').format(
        _look(kind), name, named, label
    )


def question(name: str, sentence: object, *answers: Markup, leave: str) -> Markup:
    """What a button asks before it acts: a sentence, the buttons that do it, and the way out."""
    out = Markup('<button type="button" class="td-button td-small" data-leave>{}</button>').format(leave)
    return Markup(
        '<div class="td-note td-busy td-question" data-question="{}" role="group" hidden><p>{}</p>'
        '<div class="td-act-row">{}{}</div></div>'
    ).format(name, sentence, Markup().join(answers), out)


def field(name: str, label: str, value: str = "") -> Markup:
    """A line of text that goes with the answer of a question."""
    return Markup(
        '<label class="td-act-field">{}<input class="td-search" name="{}" value="{}" maxlength="100"></label>'
    ).format(label, name, value)


def row(*buttons: Markup) -> Markup:
    """Buttons side by side; nothing where there are none."""
    shown = [one for one in buttons if one]
    return Markup('<div class="td-act-row">{}</div>').format(Markup().join(shown)) if shown else Markup()


def _look(kind: str) -> str:
    return kind if "td-icon" in kind or "td-plain" in kind else f"td-button td-small {kind}".strip()


def _data(values: Mapping[str, object]) -> Markup:
    return Markup().join(Markup(' data-{}="{}"').format(name, value) for name, value in values.items())
