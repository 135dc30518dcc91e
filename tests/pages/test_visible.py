"""Columns are hidden by a class, because Gradio draws a hidden one and loses what is hidden inside."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from pages.components.visible import HIDDEN, by_class, hide_at_first, switch, when
from tests.pages.building import in_a_loop


def _page() -> tuple[Any, Any]:
    with gr.Blocks() as blocks:
        with gr.Column(visible=HIDDEN, elem_classes="td-card") as column:
            button = gr.Button(visible=HIDDEN)
        hide_at_first(blocks)
    return column, button


def test_a_column_is_shown_by_its_classes_and_a_button_by_its_visibility() -> None:
    column, button = in_a_loop(_page)
    assert (column.visible, column.elem_classes) == (True, ["td-card", "td-gone"])
    assert (button.visible, button.elem_classes) == (HIDDEN, [])
    shown = by_class([column, button], (gr.update(visible=when(True)), gr.update(visible=when(True))))
    assert shown[0] == {"__type__": "update", "elem_classes": ["td-card"]}
    assert shown[1] == {"__type__": "update", "visible": True}
    gone = by_class([column], gr.update(visible=when(False), scale=2))
    assert gone == {"__type__": "update", "scale": 2, "elem_classes": ["td-card", "td-gone"]}
    assert by_class([column, button], (gr.skip(), "text")) == (gr.skip(), "text")
    assert by_class(None, None) is None


def test_a_script_opens_and_shuts_a_column() -> None:
    column, _ = in_a_loop(_page)
    assert json.loads(switch(column, shown=True)[len("() => (") : -1])["elem_classes"] == ["td-card"]
    assert "td-gone" in switch(column, shown=False)
