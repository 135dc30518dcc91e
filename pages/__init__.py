"""The Gradio pages: one module a tab, each with ``TITLE``, handlers and ``render(studio)``.

``PAGES`` is their order, which is the order of the loop. Pages never import each other; what they
share stands in ``pages.components``.
"""

from __future__ import annotations

from types import ModuleType

from pages import account, annotate, chat, data, deploy, home, models, people, review, runs, sweeps, train

_LOOP = (home, data, annotate, review, train, runs, sweeps, models, chat, deploy)
PAGES: tuple[ModuleType, ...] = (*_LOOP, people, account)

__all__ = ["PAGES"]
