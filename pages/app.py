"""The Gradio application: a brand line and one tab a page, in the order of the loop.

``build(studio)`` makes the Blocks; the caller mounts it with ``**pages.theme.MOUNT``. A tab's content
is only sent to the DOM when the tab is first opened, and a page asks for data when someone visits it,
so a start costs what Home costs. Addresses such as ``/studio/?tab=runs&run=run_…`` open that row.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import gradio as gr

from pages import PAGES
from studio.studio import Studio

_BRAND = """
<header class="td-brand">
  <a class="td-wordmark" href="?tab=home" data-go aria-label="Tandem, to Home">
    <svg viewBox="0 0 34 20" width="34" height="20" aria-hidden="true">
      <circle class="td-ring-a" cx="11" cy="10" r="8"/><circle class="td-ring-b" cx="23" cy="10" r="8"/>
    </svg>
    <span>Tandem</span>
  </a>
  <nav aria-label="About">
    <a href="/docs" target="_blank" rel="noopener">REST API</a>
    <button type="button" class="td-plain" onclick="tandem.toggleTheme()">Light or dark</button>
  </nav>
</header>
"""

#: Waiting events in all; the queue has no bound of its own.
_QUEUE_SIZE = 200
#: Events of one kind that run at once, where the event does not say otherwise.
_CONCURRENCY = 8


def tab_id(page: ModuleType) -> str:
    """The name of a page in addresses: the last part of its module's name."""
    return page.__name__.rpartition(".")[2]


def build(studio: Studio) -> Any:
    """The whole studio as ``gr.Blocks``, ready to be mounted."""
    with gr.Blocks(title="Tandem", fill_width=True, analytics_enabled=False) as blocks:
        gr.HTML(_BRAND, apply_default_css=False, elem_classes="td-brand-block")
        # "wrap" keeps every tab button in the DOM; the style sheet makes them one scrolling line.
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap"):
            for page in PAGES:
                name = tab_id(page)
                with gr.Tab(page.TITLE, id=name, elem_id=f"tab-{name}", elem_classes="td-page"):
                    page.render(studio)
    blocks.queue(default_concurrency_limit=_CONCURRENCY, max_size=_QUEUE_SIZE)
    return blocks
