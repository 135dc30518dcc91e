"""The brand line: the name of the studio, and who is logged in. It is the same behind every door.

It also hides the tabs of pages that are for others. That spares people a refusal and protects nothing: an
event asks for the role again, and so does the service.
"""

from __future__ import annotations

from markupsafe import Markup

from pages.components.markup import address
from pages.components.wiring import has_accounts
from pages.doors import STUDIO, Door, Tab
from studio.core import Role
from studio.studio import Studio

_LINE = Markup(
    """<header class="td-brand">
  <a class="td-wordmark" href="{home}" data-go aria-label="Tandem, to the first page">
    <svg viewBox="0 0 34 20" width="34" height="20" aria-hidden="true">
      <circle class="td-ring-a" cx="11" cy="10" r="8"/><circle class="td-ring-b" cx="23" cy="10" r="8"/>
    </svg>
    <span>Tandem</span>
  </a>
  <nav aria-label="About you and the studio">{links}
    <button type="button" class="td-plain" data-theme-toggle>Light or dark</button>{who}
  </nav>
</header>{style}"""
)
_REST = Markup('<a class="td-aside" href="../docs" target="_blank" rel="noopener">REST API</a>')
_TO_STUDIO = Markup('<a href="../studio/">Studio</a>')
_WHO = Markup(
    '<a class="td-person" href="{}" data-go title="Your account"><strong>{}</strong> <span>{}</span></a>'
    '<form class="td-logout" method="post" action="../logout">'
    '<button type="submit" class="td-plain">Log out</button></form>'
)


def brand_line(studio: Studio | None, door: Door) -> Markup:
    """The line for the person of ``studio``; None draws it before it is known who looks."""
    home = address(door.pages[0].name)
    known = studio is not None and has_accounts(studio)
    who = _WHO.format(address("account"), studio.actor.name, studio.actor.role) if studio and known else ""
    hidden = [tab for tab in door.pages if not _shown(tab, studio)]
    return _LINE.format(home=home, links=_links(studio, door), who=who, style=_style(hidden))


def _shown(tab: Tab, studio: Studio | None) -> bool:
    # Before it is known who looks, a page for admins only is kept back: it may appear, never vanish.
    return tab.shown_to(studio.actor) if studio else bool(tab.roles)


def _links(studio: Studio | None, door: Door) -> Markup:
    if door is STUDIO:
        return _REST
    builds = studio is not None and studio.actor.role in (Role.ADMIN, Role.RESEARCHER)
    return _TO_STUDIO if builds else Markup()


def _style(hidden: list[Tab]) -> Markup:
    rules = (Markup("#tab-{}-button {{ display: none; }}").format(tab.name) for tab in hidden)
    return Markup("<style>{}</style>").format(Markup(" ").join(rules)) if hidden else Markup()
