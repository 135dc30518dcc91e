"""Which requests may come in at all: the right Host, the right Origin, a bounded body.

A browser on this machine can be led by any web page to send requests to 127.0.0.1. Two checks end
that. *Host*: a name that is not ours means DNS rebinding, and is refused for every request. *Origin*:
a request that changes state (and any websocket) and names an origin must name ours. Programs such
as curl send no Origin and pass; they are already on this machine.

It does not know who asks: that is the services' matter.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.api.errors import error_body
from studio.core import Settings
from studio.core.settings import is_loopback

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FOREIGN_SITES = frozenset({"cross-site", "same-site"})
# Room for the multipart framing around an upload of the largest allowed size.
_FRAMING_BYTES = 1 << 20
_MEBIBYTE = 1 << 20


class Guard:
    """ASGI middleware in front of everything, the user interface included."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._limit = settings.max_upload_mb * _MEBIBYTE + _FRAMING_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what must not pass, and hand on the rest."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is None:
            await self._app(scope, _bounded(receive, self._limit), send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[1]})
        else:
            await JSONResponse(error_body(refusal[1]), refusal[0])(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not is_loopback(_name(host)):
            return 421, f"This studio does not answer to the host name {_name(host)!r}."
        if _changes_state(scope) and not _own_origin(headers, host):
            return 403, "A page of another origin may not change anything in this studio."
        if _declared_length(headers) > self._limit:
            return 413, f"The request is larger than {self._limit // _MEBIBYTE} MiB (STUDIO_MAX_UPLOAD_MB)."
        return None


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _changes_state(scope: Scope) -> bool:
    return scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS


def _own_origin(headers: Headers, host: str) -> bool:
    origins = headers.getlist("origin")
    if not origins:
        return headers.get("sec-fetch-site", "none") not in _FOREIGN_SITES
    return all(_place(origin) == host.lower() for origin in origins)


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _declared_length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isdecimal() else 0


def _bounded(receive: Receive, limit: int) -> Receive:
    """``receive`` that ends a body which grows over ``limit`` bytes as if the client had left."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return message if seen <= limit else {"type": "http.disconnect"}

    return counted
