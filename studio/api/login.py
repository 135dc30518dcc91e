"""Logging in and out, the first account, and ``/``, which leads everyone to their door.

The forms post to the same origin, which the guard checks, so they need no token of their own against
forgery. Where ``next`` leads is only ever a path of this studio.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.to_thread
from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from studio.api import screens
from studio.api.context import PUBLIC, TheStudio, TheVisitor
from studio.api.doors import COOKIE, cookie_of, home_of, is_odd
from studio.api.errors import error_headers
from studio.core import InvalidInput, Settings, StudioError

router = APIRouter(include_in_schema=False, dependencies=[PUBLIC])

_LARGEST_FORM_BYTES = 16_384
_MOST_FIELDS = 10
# Checking a password takes much memory and time on purpose; this many run at once.
_PASSWORDS_AT_ONCE = 2
# The server ends a session much earlier when nobody uses it; see STUDIO_SESSION_HOURS.
_COOKIE_SECONDS = 30 * 24 * 3600
_NOWHERE = frozenset({"/login", "/logout", "/setup"})

_passwords = anyio.CapacityLimiter(_PASSWORDS_AT_ONCE)
_T = TypeVar("_T")


@router.get("/")
def landing(visitor: TheVisitor) -> Response:
    """Lead everyone to the door of their role."""
    return RedirectResponse(home_of(visitor.actor.role) if visitor else "/login", 303)


@router.get("/login")
def log_in_page(request: Request, studio: TheStudio, visitor: TheVisitor) -> Response:
    """The log-in form; whoever is logged in goes on."""
    target = safe_target(request.query_params.get("next", ""))
    if not studio.accounts.exist():
        return RedirectResponse("/setup", 303)
    if visitor is not None:
        return RedirectResponse(target, 303)
    return screens.log_in(target=target, provider=provider_name(studio.settings))


@router.post("/login")
async def log_in(request: Request, studio: TheStudio) -> Response:
    """Check name and password and open a session."""
    form = await _form(request)
    name, target = form.get("name", "").strip(), safe_target(form.get("next", ""))
    try:
        attempt = partial(studio.accounts.log_in, name, form.get("password", ""), _address(request))
        cookie = await _with_password(attempt)
    except StudioError as error:
        return screens.log_in(
            target=target,
            provider=provider_name(studio.settings),
            name=name[:40],
            error=error,
            headers=error_headers(error),
        )
    return await anyio.to_thread.run_sync(partial(enter, request, studio, cookie, target))


@router.get("/logout")
def log_out_page(visitor: TheVisitor) -> Response:
    """Ask; a link on some page must not log anybody out."""
    return screens.log_out(visitor.actor.name if visitor else "")


@router.post("/logout")
def log_out(request: Request, studio: TheStudio) -> Response:
    """End the session."""
    studio.accounts.log_out(cookie_of(request.headers))
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, path="/", secure=studio.settings.https, httponly=True, samesite="lax")
    # What the browser keeps of this studio (cached pages, unsent drafts) goes with the person.
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer


@router.get("/setup")
def set_up_page(studio: TheStudio) -> Response:
    """The form for the first account, while there is none."""
    return RedirectResponse("/login", 303) if studio.accounts.exist() else screens.set_up()


@router.post("/setup")
async def set_up(request: Request, studio: TheStudio) -> Response:
    """Make the first account and log it in."""
    form = await _form(request)
    name, password = form.get("name", "").strip(), form.get("password", "")
    try:
        if password != form.get("again", ""):
            raise InvalidInput("The two passwords differ.", "Type the same one twice.")
        await _with_password(partial(studio.accounts.create_first, name, password))
        cookie = await _with_password(partial(studio.accounts.log_in, name, password, _address(request)))
    except StudioError as error:
        return screens.set_up(name=name[:40], error=error)
    return await anyio.to_thread.run_sync(partial(enter, request, studio, cookie, "/"))


def enter(request: Request, studio: TheStudio, cookie: str, target: str) -> Response:
    """Send a person who has just logged in to ``target``, with the session's cookie."""
    # An older session of this browser would otherwise live on without anybody holding it.
    studio.accounts.log_out(cookie_of(request.headers))
    answer = RedirectResponse(target, 303)
    answer.set_cookie(
        COOKIE,
        cookie,
        max_age=_COOKIE_SECONDS,
        path="/",
        secure=studio.settings.https,
        httponly=True,
        samesite="lax",
    )
    return answer


def safe_target(wanted: str) -> str:
    """``wanted`` if it is a path of this studio to go to after logging in, else ``/``."""
    # Cut by hand: a browser takes "///host" for another site, and urlsplit takes it for a path.
    path = wanted.partition("?")[0].partition("#")[0]
    strange = not wanted.isascii() or any(ord(sign) <= 32 or ord(sign) == 127 for sign in wanted)
    if strange or "\\" in wanted or is_odd(path):
        return "/"
    return "/" if path.rstrip("/") in _NOWHERE or path.startswith("/oidc/") else wanted


def provider_name(settings: Settings) -> str:
    """The identity provider's host name; empty without one."""
    return urlsplit(settings.oidc_issuer).hostname or "" if settings.oidc else ""


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


async def _with_password(attempt: Callable[[], _T]) -> _T:
    return await anyio.to_thread.run_sync(attempt, limiter=_passwords)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a small form, each once.

    Raises:
        InvalidInput: It is none.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_FORM_BYTES:
            break
    if kind != "application/x-www-form-urlencoded" or len(body) > _LARGEST_FORM_BYTES:
        raise InvalidInput("This is not the form of the log-in page.", "Fill in the form at /login.")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        raise InvalidInput("This form cannot be read.", "Fill in the form at /login.") from None
    return {name: values[-1] for name, values in fields.items()}
