"""Curves that grow: Plotly in the browser, fed with new points only.

``gr.Plot`` sends its whole figure again for every point. Here the browser asks the REST route
``/runs/{id}/points`` for what came after its cursor, twice a second while a run is live and the plot
is seen, and Plotly extends its traces. The value of the component is only which runs to show; a change of the
value or of a run's history (``epoch``) starts again from nothing. Everything else stands in
``assets/live_plot.js``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import gradio as gr

from pages.theme import asset

#: More curves than this cannot be told apart; further runs are left out.
MOST_RUNS = 6

_FRAME = """
<div class="td-plot">
  <div class="td-plot-tools">
    <label>Smoothing
      <input type="range" min="0" max="0.95" step="0.05" value="0.6" data-part="smoothing">
    </label>
    <button type="button" class="td-plain" data-part="csv">Download CSV</button>
    <span class="td-plot-latest" data-part="latest" aria-live="off"></span>
  </div>
  <div class="td-plot-empty td-sub" data-part="empty">Waiting for the first point.</div>
  <div class="td-panels" data-part="panels"></div>
</div>
"""


@dataclass(frozen=True)
class Curve:
    """A run to draw, under the name that its curve is labelled with."""

    run_id: str
    name: str


def live_plot(elem_id: str) -> Any:
    """The component; give it ``plotted(curves)`` as its value."""
    return gr.HTML(
        plotted(()),
        html_template=_FRAME,
        js_on_load=asset("live_plot.js"),
        apply_default_css=False,
        head='<script src="/assets/plotly.min.js"></script>',
        elem_id=elem_id,
    )


def plotted(curves: Sequence[Curve]) -> dict[str, Any]:
    """The value that shows ``curves``, the first one as the main run."""
    return {"runs": [asdict(curve) for curve in curves[:MOST_RUNS]]}


def run_colour(place: int) -> str:
    """The CSS colour of the curve at ``place`` in an overlay, for a swatch in a list."""
    return f"var(--tandem-run-{place % MOST_RUNS + 1})"
