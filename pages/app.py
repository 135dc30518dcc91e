"""The Gradio application behind a door: a brand line and one tab a page.

``build(studio, door)`` makes the Blocks; the caller mounts it at ``door.path`` with ``pages.theme.MOUNT``.
A tab's content is only sent to the DOM when the tab is first opened, and a page asks for data when
someone visits it, so a start costs what the first page costs. Addresses such as
``/studio/?tab=runs&run=run_…`` open that row.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.brand import brand_line
from pages.components.visible import hide_at_first
from pages.components.visits import block
from pages.components.wiring import listen
from pages.doors import ANNOTATE, ARENA, DOORS, STUDIO, Door, tab_id
from studio.studio import Studio

__all__ = ["ANNOTATE", "ARENA", "DOORS", "STUDIO", "Door", "build", "tab_id"]

#: Waiting events in all; the queue has no bound of its own.
_QUEUE_SIZE = 200
#: Events of one kind that run at once, where the event does not say otherwise.
_CONCURRENCY = 8


def build(studio: Studio, door: Door = STUDIO) -> Any:
    """The application of one door as ``gr.Blocks``, ready to be mounted."""
    with gr.Blocks(title="Tandem", fill_width=True, analytics_enabled=False) as blocks:
        brand = block(brand_line(None, door), elem_classes="td-brand-block")
        # "wrap" keeps every tab button in the DOM; the style sheet makes them one scrolling line.
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap"):
            for tab in door.pages:
                with gr.Tab(tab.title, id=tab.name, elem_id=f"tab-{tab.name}", elem_classes="td-page"):
                    tab.render(studio)

        def personal(theirs: Studio) -> Markup:
            return brand_line(theirs, door)

        listen(blocks.load, personal, studio, api_name="brand", outputs=[brand], quiet=True)
    hide_at_first(blocks)
    blocks.queue(default_concurrency_limit=_CONCURRENCY, max_size=_QUEUE_SIZE)
    return blocks
