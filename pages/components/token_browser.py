"""The browser of tokenised rows: which dataset and side, a search, any row by its number, and page by page.

The page that draws it hands in the component that holds the pre-flight's id; every look goes through
``PreflightService.rows`` as the person who looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pages.components.markup import error_note
from pages.components.token_view import SIDES, place, token_page
from pages.components.visible import HIDDEN, when
from pages.components.visits import block
from pages.components.wiring import listen
from studio.core import StudioError
from studio.datasets import Split
from studio.studio import Studio
from studio.training.preflight import Preflight, PreflightState

ROWS_PER_PAGE = 5


@dataclass(frozen=True)
class TokenBrowser:
    """Its components; ``panel`` is hidden until there is something to look at."""

    panel: Any
    source: Any
    split: Any
    search: Any
    row: Any
    before: Any
    after: Any
    where: Any
    shown: Any
    offset: Any

    @property
    def outputs(self) -> list[Any]:
        """What ``opened`` fills."""
        return [self.panel, self.source, self.split, self.search, *self.page]

    @property
    def page(self) -> list[Any]:
        """What every look fills."""
        return [self.row, self.before, self.after, self.where, self.shown, self.offset]

    def asked(self, preflight_id: Any) -> Mapping[str, Any]:
        """What every look is told."""
        return {
            "preflight_id": preflight_id,
            "source": self.source,
            "split": self.split,
            "search": self.search,
            "row": self.row,
            "offset": self.offset,
        }


def draw() -> TokenBrowser:
    """Make the components."""
    sides = [(label, side.value) for side, label in SIDES.items()]
    with gr.Column(visible=HIDDEN) as panel:
        block('<h3 class="td-title">What will be trained, token by token</h3>')
        with gr.Row(elem_classes="td-grid"):
            source = gr.Dropdown([], label="Dataset", visible=HIDDEN, filterable=False, min_width=200)
            split = gr.Radio(sides, value=Split.TRAIN.value, label="Side", elem_classes="td-choice")
            search = gr.Textbox(label="Search rows", placeholder="any text, then Enter", min_width=200)
            row = gr.Number(label="Go to row", precision=0, minimum=1, min_width=120)
        with gr.Row(elem_classes="td-actions"):
            before = gr.Button("Previous rows", size="md")
            where = block()
            after = gr.Button("Next rows", size="md")
        shown = block()
        offset = gr.State(0)
    return TokenBrowser(panel, source, split, search, row, before, after, where, shown, offset)


def connect(browser: TokenBrowser, studio: Studio, preflight_id: Any) -> None:
    """Wire it; ``preflight_id`` is the component that holds the id."""
    asked = browser.asked(preflight_id)
    events = (
        (browser.split.input, "token_split", first_rows),
        (browser.source.input, "token_source", first_rows),
        (browser.search.submit, "token_search", first_rows),
        (browser.row.submit, "token_row", at_row),
        (browser.before.click, "token_before", earlier),
        (browser.after.click, "token_after", later),
    )
    for event, name, handler in events:
        listen(event, handler, studio, api_name=name, inputs=asked, outputs=browser.page, quiet=True)


def opened(studio: Studio, found: Preflight) -> tuple[Any, ...]:
    """The browser at the first rows of a finished pre-flight; hidden where there is nothing to show."""
    if found.state is not PreflightState.DONE or not found.sources:
        return (gr.update(visible=HIDDEN), *(gr.skip() for _ in range(9)))
    names = [(one.reference, place) for place, one in enumerate(found.sources)]
    first = next((side for side in Split if found.sources[0].splits[side].rows), Split.TRAIN)
    return (
        gr.update(visible=True),
        gr.update(choices=names, value=0, visible=when(len(names) > 1)),
        first.value,
        "",
        *_page(studio, 0, preflight_id=found.id, source=0, split=first.value, search=""),
    )


def first_rows(studio: Studio, *, offset: int, **asked: Any) -> tuple[Any, ...]:  # noqa: ARG001
    """The first rows of a side, a dataset or a search."""
    return _page(studio, 0, **asked)


def earlier(studio: Studio, *, offset: int, **asked: Any) -> tuple[Any, ...]:
    """The page before."""
    return _page(studio, max(0, offset - ROWS_PER_PAGE), **asked)


def later(studio: Studio, *, offset: int, **asked: Any) -> tuple[Any, ...]:
    """The next page."""
    return _page(studio, offset + ROWS_PER_PAGE, **asked)


def at_row(studio: Studio, *, offset: int, row: float | None, **asked: Any) -> tuple[Any, ...]:
    """The page that begins with a row; within a search, with that match."""
    return _page(studio, max(0, int(row) - 1) if row else offset, row=row, **asked)


def _page(
    studio: Studio,
    offset: int,
    *,
    preflight_id: str,
    source: int | None,
    split: str,
    search: str,
    row: float | None = None,  # noqa: ARG001
) -> tuple[Any, ...]:
    try:
        found = studio.preflight.get(studio.actor, preflight_id)
        page = studio.preflight.rows(
            studio.actor, preflight_id, Split(split), offset, ROWS_PER_PAGE, search or "", source or 0
        )
    except StudioError as error:
        off = gr.update(interactive=False)
        return None, off, off, "", error_note(error), offset
    return (
        None,
        gr.update(interactive=offset > 0),
        gr.update(interactive=offset + len(page.rows) < page.total),
        f'<span class="td-sub" role="status">{place(page)}</span>',
        token_page(page, found.stage, search),
        offset,
    )
