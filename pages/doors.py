"""The three doors: which pages stand behind which path, and who is shown each of them.

Every door is a Gradio application of its own, so that whoever may only label or vote never reaches
the handlers of other pages. Who may enter a door is decided by its path (studio.api), who may call an
event by ``pages.roles``; ``Tab.roles`` says only what is worth showing to whom.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from pages import PAGES, account, annotate, chat
from pages.roles import LABELLERS, RESEARCHERS, VOTERS
from studio.core import EVERYONE, Actor, Role
from studio.studio import Studio


@dataclass(frozen=True)
class Tab:
    """A page behind a door: its name in addresses, its title, what draws it, and whom it is for."""

    name: str
    title: str
    render: Callable[[Studio], None]
    roles: tuple[Role, ...]

    def shown_to(self, actor: Actor) -> bool:
        """Whether the tab is worth showing to ``actor``."""
        return actor.role is Role.ADMIN or actor.role in self.roles


@dataclass(frozen=True)
class Door:
    """A mount: its name, its path, and its pages; the first one is where people arrive."""

    name: str
    path: str
    pages: tuple[Tab, ...]


def tab_id(page: ModuleType) -> str:
    """The name of a page in addresses: the last part of its module's name."""
    return page.__name__.rpartition(".")[2]


def _tab(page: ModuleType, roles: tuple[Role, ...]) -> Tab:
    return Tab(tab_id(page), page.TITLE, page.render, roles)


_OWN = _tab(account, EVERYONE)
_STUDIO_TABS = tuple(_tab(page, getattr(page, "ROLES", RESEARCHERS)) for page in PAGES)

STUDIO = Door("studio", "/studio", _STUDIO_TABS)
ANNOTATE = Door("annotate", "/annotate", (_tab(annotate, LABELLERS), _OWN))
ARENA = Door("arena", "/arena", (Tab(tab_id(chat), "Arena", chat.render_arena, VOTERS), _OWN))

#: Every door, the widest first.
DOORS = (STUDIO, ANNOTATE, ARENA)
