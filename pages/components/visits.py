"""Knows when someone looks at a page, and reads the page's part of the address.

``page_visit("runs")`` is an invisible component with two events: ``visit`` when the page is opened,
arrived at through a link or its address changes, and ``tick`` every few seconds while it is looked at. A
page that nobody sees asks for nothing, which is why this is not a ``gr.Timer``. What the address says comes
with Gradio's own request: ``query(request)``.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

_SCRIPT = """
tandem.onVisit(props.tab, () => trigger("visit"));
if (props.seconds > 0) setInterval(() => tandem.shown(props.tab) && trigger("tick"), props.seconds * 1000);
"""


def page_visit(tab: str, every: float = 0.0) -> Any:
    """The visit events of a page; ``every`` is the seconds between ticks, 0 for none."""
    return gr.HTML(
        "",
        html_template="<span></span>",
        js_on_load=_SCRIPT,
        apply_default_css=False,
        visible="hidden",
        tab=tab,
        seconds=every,
    )


def block(value: object = "", **options: Any) -> Any:
    """A ``gr.HTML`` for our own markup, without Gradio's prose styles and click event."""
    return gr.HTML(value, js_on_load=None, apply_default_css=False, **options)


def query(request: gr.Request) -> dict[str, str]:
    """The parameters of the address that the browser showed when it sent this event."""
    return {str(key): str(value) for key, value in dict(request.query_params).items()}
