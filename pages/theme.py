"""How the studio looks: one Gradio theme, one style sheet, light and dark.

``MOUNT`` is what ``gr.mount_gradio_app`` needs (``**MOUNT``). The style sheet and the small shell
script travel in ``head=``: Gradio rewrites the selectors of ``css=`` and drops at-rules such as
``@container`` from it.

Colour carries meaning only. There is one accent (petrol). ``--tandem-a`` and ``--tandem-b`` are the
blue and the orange of the two sides, the same in chat, arena, plots and verdicts, told apart by
colour-blind people and never good or bad. Green, amber and red (``--tandem-good``, ``-busy``,
``-bad``) mean state and nothing else. ``--tandem-run-1`` to ``-6`` are the curves of overlaid runs.

Classes for custom HTML (made with ``pages.components.markup``, which escapes):

=================  ======================================================================
``td-head``        the page's opening line; ``page_head(title, purpose, action)``
``td-card``        a bordered surface; ``td-quiet`` beside it drops the border
``td-chip``        a state chip: ``td-good``, ``td-busy``, ``td-bad``, ``td-idle``
``td-tag``         a neutral label (a stage, a kind); ``td-a``/``td-b`` in the side's colour
``td-id``          a short id in monospace, copied on click (``data-copy``)
``td-button``      a link that looks like a button; ``td-primary`` for the one that matters
``td-table``       a list of records; cells carry ``data-label`` and stack on a phone
``td-empty``       an empty state with its next step
``td-facts``       a definition list of label and value
``td-bar``         a progress bar; its fill is ``style="--part: 0.4"``
``td-note``        a message box; add ``td-good``, ``td-busy`` or ``td-bad``
``td-skeleton``    lines that stand in until the first answer
``td-sub``         secondary text; ``td-num`` aligns figures; ``td-mono`` is monospace
``td-columns``     side-by-side columns that stack below 760 px
``td-narrow``      on a Gradio component: holds it to a readable width
``td-actions``     on a ``gr.Row``: buttons keep their own width
=================  ======================================================================

Every rule begins with ``.gradio-container``: Gradio's reset has the weight of one class and loads later.

Links inside the studio are ``<a href="?tab=runs&run=run_…" data-go>``: the shell script changes the
address, selects the tab and lets the page know (see ``pages.components.visits``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes.utils import colors, sizes

ASSETS = Path(__file__).parent / "assets"

_PETROL = colors.Color(
    c50="#eef7f7",
    c100="#d8ecee",
    c200="#b3dade",
    c300="#82c1c8",
    c400="#4aa2ad",
    c500="#21838f",
    c600="#116a75",
    c700="#0d5660",
    c800="#0e464e",
    c900="#103b42",
    c950="#06252a",
    name="petrol",
)
_STONE = colors.Color(
    c50="#f7f8f8",
    c100="#eff1f1",
    c200="#e0e4e4",
    c300="#c9cfcf",
    c400="#97a1a2",
    c500="#667173",
    c600="#4c5658",
    c700="#353e40",
    c800="#20282a",
    c900="#161c1e",
    c950="#0e1314",
    name="stone",
)
# In rem, where Gradio's own sizes are in pixels and do not follow the reader's font size.
_TEXT = sizes.Size(
    xxs="0.625rem",
    xs="0.6875rem",
    sm="0.8125rem",
    md="0.9375rem",
    lg="1rem",
    xl="1.375rem",
    xxl="1.625rem",
    name="text_rem",
)
_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")


def _theme() -> Any:
    base = gr.themes.Base(
        primary_hue=_PETROL,
        secondary_hue=_PETROL,
        neutral_hue=_STONE,
        text_size=_TEXT,
        spacing_size=sizes.spacing_md,
        radius_size=sizes.radius_md,
        font=_SANS,
        font_mono=_MONO,
    )
    return base.set(**_surfaces(), **_inputs(), **_buttons())


def _surfaces() -> dict[str, str]:
    return {
        "body_background_fill": "*neutral_50",
        "body_background_fill_dark": "*neutral_950",
        "body_text_color": "*neutral_800",
        "body_text_color_dark": "*neutral_100",
        "body_text_color_subdued": "*neutral_500",
        "body_text_color_subdued_dark": "*neutral_400",
        "background_fill_primary": "#ffffff",
        "background_fill_primary_dark": "*neutral_900",
        "background_fill_secondary": "*neutral_50",
        "background_fill_secondary_dark": "*neutral_800",
        "border_color_primary": "*neutral_200",
        "border_color_primary_dark": "*neutral_700",
        "color_accent": "*primary_600",
        "color_accent_soft": "*primary_50",
        "color_accent_soft_dark": "*primary_900",
        "link_text_color": "*primary_700",
        "link_text_color_dark": "*primary_300",
        "link_text_color_hover": "*primary_800",
        "link_text_color_hover_dark": "*primary_200",
        "link_text_color_visited": "*primary_700",
        "link_text_color_visited_dark": "*primary_300",
        "block_background_fill": "#ffffff",
        "block_background_fill_dark": "*neutral_900",
        "block_border_width": "1px",
        "block_shadow": "none",
        "block_label_background_fill": "transparent",
        "block_label_background_fill_dark": "transparent",
        "block_label_border_width": "0px",
        "block_label_text_color": "*neutral_600",
        "block_label_text_color_dark": "*neutral_300",
        "block_title_text_color": "*neutral_600",
        "block_title_text_color_dark": "*neutral_300",
        "block_title_text_weight": "500",
        "block_title_text_size": "*text_sm",
        "block_info_text_color": "*neutral_500",
        "block_info_text_color_dark": "*neutral_400",
        "section_header_text_weight": "500",
        "layout_gap": "16px",
        "form_gap_width": "0px",
    }


def _inputs() -> dict[str, str]:
    return {
        "input_background_fill": "#ffffff",
        "input_background_fill_dark": "*neutral_950",
        "input_border_color": "*neutral_300",
        "input_border_color_dark": "*neutral_700",
        "input_border_color_focus": "*primary_500",
        "input_border_color_focus_dark": "*primary_400",
        "input_placeholder_color": "*neutral_500",
        "input_placeholder_color_dark": "*neutral_400",
        "input_border_width": "1px",
        "input_shadow": "none",
        "input_shadow_focus": "none",
        "checkbox_background_color_selected": "*primary_600",
        "checkbox_background_color_selected_dark": "*primary_500",
        "checkbox_border_color_selected": "*primary_600",
        "checkbox_border_color_selected_dark": "*primary_500",
        "checkbox_label_background_fill_selected": "*primary_50",
        "checkbox_label_background_fill_selected_dark": "*primary_900",
        "checkbox_label_border_color_selected": "*primary_500",
        "checkbox_label_shadow": "none",
        "slider_color": "*primary_600",
        "slider_color_dark": "*primary_400",
    }


def _buttons() -> dict[str, str]:
    return {
        "button_primary_background_fill": "*primary_700",
        "button_primary_background_fill_dark": "*primary_600",
        "button_primary_background_fill_hover": "*primary_800",
        "button_primary_background_fill_hover_dark": "*primary_500",
        "button_primary_text_color": "#ffffff",
        "button_primary_text_color_dark": "#ffffff",
        "button_secondary_background_fill": "#ffffff",
        "button_secondary_background_fill_dark": "*neutral_800",
        "button_secondary_background_fill_hover": "*neutral_100",
        "button_secondary_background_fill_hover_dark": "*neutral_700",
        "button_secondary_border_color": "*neutral_300",
        "button_secondary_border_color_dark": "*neutral_600",
        "button_border_width": "1px",
        "button_large_text_weight": "550",
        "button_medium_text_weight": "550",
        "button_transition": "background-color 0.12s ease",
    }


def asset(name: str) -> str:
    """The text of a file in ``pages/assets``."""
    return (ASSETS / name).read_text(encoding="utf-8")


THEME = _theme()
CSS = (
    asset("studio.css")
    + asset("work.css")
    + asset("label.css")
    + asset("review.css")
    + asset("machine.css")
    + asset("preflight.css")
    + asset("train.css")
)
# The two rings of the brand line; a browser asks for /favicon.ico where a page names no icon.
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 34 34' fill='none' "
    "stroke-width='4'%3E%3Ccircle cx='12' cy='17' r='9' stroke='%231f6fb5'/%3E"
    "%3Ccircle cx='22' cy='17' r='9' stroke='%23d9772a'/%3E%3C/svg%3E"
)
_SCRIPTS = "".join(f"<script>{asset(name)}</script>" for name in ("stream.js", "shell.js"))
HEAD = f'<link rel="icon" href="{_ICON}">\n' + f"<style>{CSS}</style>\n{_SCRIPTS}"

#: Keyword arguments for ``gr.mount_gradio_app``.
MOUNT: dict[str, Any] = {"theme": THEME, "head": HEAD, "footer_links": [], "run_history": False}
