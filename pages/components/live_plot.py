"""Curves that grow: Plotly in the browser, fed with new points only.

``gr.Plot`` sends its whole figure again for every point. Here the browser asks the REST route
``/runs/curves`` for what came after its cursors, once for all runs, twice a second while one is live and
the plot is seen, and Plotly extends its traces. The value of the component is only which runs to show; a
change of the value or of a run's history (``epoch``) starts again from nothing.

However long the runs are, a bounded number of points travels and is drawn (``studio.training.downsample``
keeps every extreme); zooming in asks for the finer points of that window. What is asked for stands in
``assets/plot_points.js``, the drawing in ``assets/live_plot.js``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import gradio as gr

from pages.theme import asset

#: Runs on one plot; further ones are left out.
MOST_RUNS = 50
#: Curves whose colours were chosen (``--tandem-run-1`` and on); further ones go round the circle of hues.
COLOURS = 6
#: The golden angle: however many follow each other, neighbours differ.
_DEGREES = 137.508

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
        js_on_load=asset("plot_points.js") + asset("live_plot.js"),
        apply_default_css=False,
        head='<script src="/assets/plotly.min.js"></script>',
        elem_id=elem_id,
    )


def plotted(curves: Sequence[Curve]) -> dict[str, Any]:
    """The value that shows ``curves``, the first one as the main run."""
    return {"runs": [asdict(curve) for curve in curves[:MOST_RUNS]]}


def run_colour(place: int) -> str:
    """The CSS colour of the curve at ``place`` in an overlay, for a swatch in a list."""
    if place < COLOURS:
        return f"var(--tandem-run-{place + 1})"
    return f"hsl({round(place * _DEGREES % 360)}, 45%, var(--tandem-run-light))"
