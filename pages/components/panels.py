"""The head of a panel that the address opened: its title, and the way to close it."""

from __future__ import annotations

from markupsafe import Markup


def panel_head(title: object, close: str) -> Markup:
    """``title`` with a close link that leads to the address ``close``."""
    return Markup(
        '<div class="td-panel-head"><h2 class="td-title">{}</h2>'
        '<a class="td-plain" href="{}" data-go="replace">Close</a></div>'
    ).format(title, close)
