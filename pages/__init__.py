"""The Gradio pages: one module a tab, each with ``TITLE``, handlers and ``render(studio)``.

``PAGES`` is their order, which is the order of the loop. Pages never import each other; what they
share stands in ``pages.components``.
"""

from __future__ import annotations

from types import ModuleType

from pages import annotate, chat, data, deploy, home, models, runs, train

PAGES: tuple[ModuleType, ...] = (home, data, annotate, train, runs, models, chat, deploy)

__all__ = ["PAGES"]
