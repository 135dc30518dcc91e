"""What every route needs: the studio, who asks, and who may.

``Doors`` has put the visitor on the request before a route sees it. Every route says whom it serves:
``dependencies=[allow(Role.RESEARCHER, scope=Scope.DATA)]``, or ``[PUBLIC]``; a test fails for one that
does not. It is the second of three locks: the doors stand before it, the services check after it.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from studio.accounts import Scope, Visitor
from studio.core import Actor, Forbidden, Role, Unauthenticated, require
from studio.studio import Studio

__all__ = ["PUBLIC", "Scope", "TheActor", "TheStudio", "TheVisitor", "allow"]


def visitor_of(request: Request) -> Visitor | None:
    """Who asks, as the doors found out; None for nobody."""
    found: Visitor | None = getattr(request.state, "visitor", None)
    return found


class Allowed:
    """Lets the named roles pass (an admin always), and tokens only where they have the scope."""

    def __init__(self, roles: tuple[Role, ...], scope: Scope | None) -> None:
        self.roles = roles
        self.scope = scope

    def __call__(self, request: Request) -> None:
        """Refuse whoever may not call the route of ``request``."""
        visitor = visitor_of(request)
        if visitor is None:
            raise Unauthenticated(
                "Nobody is logged in.", "Log in at /login, or send a token as Authorization: Bearer."
            )
        require(visitor.actor, *self.roles)
        if visitor.scopes is None:
            return
        if self.scope is None:
            raise Forbidden("A token may not do this.", "Log in at /login and do it there.")
        if self.scope is not Scope.READ and self.scope not in visitor.scopes:
            raise Forbidden(
                f"This token may not do this: it lacks the scope {self.scope}.",
                "Make a token with that scope.",
            )


def allow(*roles: Role, scope: Scope | None) -> Any:
    """The dependency of a route that ``roles`` and admins may call.

    ``scope`` is what a token needs: READ for a GET, the scope of the change for anything else, and None
    for what only a person who logged in may do.
    """
    return Depends(Allowed(roles, scope))


def open_to_all() -> None:
    """Marks a route that serves whoever comes."""


#: The dependency of a route that serves people who are not logged in.
PUBLIC: Any = Depends(open_to_all)


def _studio(request: Request) -> Studio:
    studio: Studio = request.app.state.studio
    return studio


def _actor(request: Request) -> Actor:
    visitor = visitor_of(request)
    if visitor is None:
        raise Unauthenticated("Nobody is logged in.", "Log in at /login, or send a token.")
    return visitor.actor


TheStudio = Annotated[Studio, Depends(_studio)]
TheActor = Annotated[Actor, Depends(_actor)]
TheVisitor = Annotated[Visitor | None, Depends(visitor_of)]
