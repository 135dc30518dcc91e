"""The doors: who stands before them, and which of them opens.

For every request, http and websocket alike, the doors find out who asks (by session cookie or token),
leave it in ``scope["state"]["visitor"]``, and decide by path. While there are no accounts whoever sits at
this machine is the local admin; that is asked anew each time, because an account may be added while the
studio runs.

A token opens REST and no Gradio mount: Gradio's endpoints carry no scopes, so a token that may only read
could do there whatever its owner may. The paths that reach here are decoded once, as the router sees them;
one that could mean another (``//``, ``..``, a backslash) is refused and never interpreted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import quote

import anyio
import anyio.to_thread
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request, cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.accounts import Visitor
from studio.api.errors import error_body
from studio.api.screens import wrong_door
from studio.core import LOCAL_ADMIN, Role
from studio.studio import Studio

#: The name of the session cookie.
COOKIE = "tandem_session"

#: The first segment of a mount's path to the roles it is for; an admin may enter each.
DOORS: Final[dict[str, tuple[Role, ...]]] = {
    "studio": (Role.RESEARCHER,),
    "annotate": (Role.RESEARCHER, Role.ANNOTATOR),
    "arena": (Role.RESEARCHER, Role.STAKEHOLDER),
}
_HOME = {Role.ANNOTATOR: "/annotate/", Role.STAKEHOLDER: "/arena/"}
_OPEN = frozenset(
    {"/", "/login", "/logout", "/setup", "/oidc/login", "/oidc/callback", "/health", "/favicon.ico"}
)
_OPEN_FOLDERS = ("/assets/",)
# What Gradio offers and the studio does not use: a log-in of its own, a proxy, and tools for developers.
_SHUT = (
    "login",
    "logout",
    "monitoring",
    "gradio_api/login",
    "gradio_api/proxy=",
    "gradio_api/dev",
    "gradio_api/vibe",
    "gradio_api/undo-vibe",
    "gradio_api/run-history",
    "gradio_api/process_recording",
    "gradio_api/profiling",
    "gradio_api/deep_link",
)
# Only the researchers' pages take and show files.
_FILES = ("gradio_api/upload", "gradio_api/file=")
_LOOKUPS_AT_ONCE = 8


def home_of(role: Role) -> str:
    """The path of the door that a role works behind."""
    return _HOME.get(role, "/studio/")


def may_enter(visitor: Visitor | None, door: str) -> bool:
    """Whether ``visitor`` may use the Gradio application of ``door`` (a session, and a role of it)."""
    if visitor is None or visitor.scopes is not None:
        return False
    return visitor.actor.role is Role.ADMIN or visitor.actor.role in DOORS[door]


def name_at(door: str) -> Callable[[Request], str | None]:
    """The ``auth_dependency`` of a mount: the name of whoever may use it, or None."""

    def name(request: Request) -> str | None:
        visitor: Visitor | None = getattr(request.state, "visitor", None)
        return visitor.actor.name if visitor is not None and may_enter(visitor, door) else None

    return name


class Doors:
    """ASGI middleware that knows who asks and refuses by path."""

    def __init__(self, app: ASGIApp, studio: Studio) -> None:
        self._app = app
        self._accounts = studio.accounts
        self._origins = frozenset(studio.settings.cross_origins)
        # A limiter of its own: long answers that hold the common threads must not keep people out.
        self._lookups = anyio.CapacityLimiter(_LOOKUPS_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer whoever may not come in, and hand on the rest."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        visitor = await self._visitor(scope)
        scope.setdefault("state", {})["visitor"] = visitor
        refusal = self._refusal(scope, visitor)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "Not allowed."})
        else:
            await refusal(scope, receive, send)

    async def _visitor(self, scope: Scope) -> Visitor | None:
        if is_odd(scope["path"]) or scope["path"].startswith(_OPEN_FOLDERS):
            return None
        return await anyio.to_thread.run_sync(
            partial(self._look_up, Headers(scope=scope)), limiter=self._lookups
        )

    def _look_up(self, headers: Headers) -> Visitor | None:
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        has_token = scheme.lower() == "bearer"
        if headers.get("origin", "").lower() in self._origins and not has_token:
            return None
        if not self._accounts.exist():
            return Visitor(LOCAL_ADMIN, None)
        if has_token:
            return self._accounts.by_token(secret.strip())
        return self._accounts.session(cookie_of(headers))

    def _refusal(self, scope: Scope, visitor: Visitor | None) -> Response | None:
        path: str = scope["path"]
        if is_odd(path):
            return JSONResponse(error_body("This is no path of the studio."), 400)
        if path in _OPEN or path.startswith(_OPEN_FOLDERS):
            return None
        if visitor is None:
            return _log_in_first(scope)
        door, _, rest = path[1:].partition("/")
        if door in DOORS:
            return _at_the_door(scope, visitor, door, rest)
        return None


def is_odd(path: str) -> bool:
    """Whether ``path`` could be read in more than one way."""
    if not path.startswith("/") or "\\" in path or any(ord(sign) < 32 or ord(sign) == 127 for sign in path):
        return True
    return "//" in path or any(segment in {".", ".."} for segment in path.split("/"))


def cookie_of(headers: Headers) -> str | None:
    """The session cookie that came with a request."""
    return cookie_parser(headers.get("cookie", "")).get(COOKIE)


def wants_a_page(connection: HTTPConnection) -> bool:
    """Whether a person waits for a page, and not a script for data."""
    asks = connection.scope["type"] == "http" and connection.scope["method"] in {"GET", "HEAD"}
    return asks and "text/html" in connection.headers.get("accept", "")


def _at_the_door(scope: Scope, visitor: Visitor, door: str, rest: str) -> Response | None:
    if visitor.scopes is not None:
        said = error_body("A token opens REST, not the pages.", "Log in at /login in a browser.")
        return JSONResponse(said, 403)
    if not may_enter(visitor, door):
        home = home_of(visitor.actor.role)
        if wants_a_page(HTTPConnection(scope)):
            return wrong_door(visitor.actor, home)
        said = error_body(f"{visitor.actor.name} is {visitor.actor.role}.", f"The door for that is {home}.")
        return JSONResponse(said, 403)
    if rest.startswith(_SHUT) or (door != "studio" and rest.startswith(_FILES)):
        return JSONResponse(error_body("Not Found."), 404)
    return None


def _log_in_first(scope: Scope) -> Response:
    connection = HTTPConnection(scope)
    if wants_a_page(connection):
        query = scope.get("query_string", b"").decode("latin-1")
        wanted = scope["path"] + (f"?{query}" if query else "")
        return RedirectResponse(f"/login?next={quote(wanted, safe='')}", 303)
    said = error_body("Nobody is logged in.", "Log in at /login, or send a token as Authorization: Bearer.")
    return JSONResponse(said, 401, {"WWW-Authenticate": 'Bearer realm="tandem"'})
