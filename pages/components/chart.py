"""Charts that do not grow: Plotly in the browser, drawn from a value, with a sentence that says the same.

The value is a list of ``Panel``; ``assets/chart.js`` draws them with our own axes, fonts and colours in
either theme. A colour in a trace is the name of one of our properties (``--tandem-a``, ``--tandem-a/25``
for a quarter of its opacity). Curves that grow while someone looks are ``live_plot``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import gradio as gr

from pages.theme import asset

_FRAME = '<div class="td-charts" data-part="panels" hidden></div>'


@dataclass(frozen=True)
class Panel:
    """One chart: Plotly traces and layout, and what they show as a sentence.

    Without traces the caption stands alone and says what is missing.
    """

    id: str
    title: str
    caption: str
    traces: Sequence[Mapping[str, Any]] = ()
    layout: Mapping[str, Any] = field(default_factory=dict)


def chart(elem_id: str) -> Any:
    """The component; give it ``drawn(panels)`` as its value."""
    return gr.HTML(
        drawn(()),
        html_template=_FRAME,
        js_on_load=asset("chart.js"),
        apply_default_css=False,
        head='<script src="/assets/plotly.min.js"></script>',
        elem_id=elem_id,
    )


def drawn(panels: Sequence[Panel]) -> dict[str, Any]:
    """The value that shows ``panels``."""
    return {"panels": [asdict(panel) for panel in panels]}
