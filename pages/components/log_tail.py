"""The end of a run's log, growing in the browser and following unless someone scrolled up.

It asks ``/runs/{id}/log`` for what came after its offset; the text is set as text, never as HTML.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from pages.theme import asset

_FRAME = """
<h2 class="td-title">Log</h2>
<pre class="td-log" tabindex="0" role="log" aria-label="Log" aria-live="off"></pre>
"""


def log_tail(elem_id: str) -> Any:
    """The component; its value is the id of a run, or empty."""
    return gr.HTML(
        "", html_template=_FRAME, js_on_load=asset("log_tail.js"), apply_default_css=False, elem_id=elem_id
    )
