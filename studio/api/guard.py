"""Which requests may come in at all: the right Host, the right Origin, a bounded body.

A browser can be led by any web page to send requests to this studio. Three checks end that. *Host*: a
name that is not ours means DNS rebinding, and is refused for every request. *Origin*: a request that
changes state (and any websocket) and names an origin must name ours; a page of ``cors_origins`` may
speak only with a token. *Fetch metadata*: what another site embeds (an image, a frame, a script) is
refused, while a link that a person follows is not. Programs such as curl send none of these and pass.

While there are no accounts only this machine is answered, and nothing that came through a proxy.
What a proxy says about the original request is read here and goes no further. Who asks is the doors' matter.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.api.errors import error_body
from studio.core import Settings
from studio.core.settings import is_loopback

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FOREIGN_SITES = frozenset({"cross-site", "same-site"})
_EMBEDDED = frozenset({"iframe", "frame", "object", "embed", "fencedframe"})
_EVERY_ADDRESS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  (recognised, not listened on)
_MEBIBYTE = 1 << 20
# Room for the multipart framing around an upload of the largest allowed size.
_FRAMING_BYTES = _MEBIBYTE
#: What a body other than an upload may have, in bytes: a long conversation is far below.
PLAIN_BODY_BYTES = 16 * _MEBIBYTE

Refusal = tuple[int, str]


class Guard:
    """ASGI middleware in front of everything, the user interface included."""

    def __init__(
        self, app: ASGIApp, settings: Settings, single_user: Callable[[], bool] = lambda: False
    ) -> None:
        """``single_user`` says whether there are no accounts; it is asked for each request."""
        self._app = app
        self._settings = settings
        self._single_user = single_user
        own_bind = {settings.host.strip("[]").lower()} - _EVERY_ADDRESS
        self._names = frozenset(settings.host_names) | own_bind
        self._upload_limit = settings.max_upload_mb * _MEBIBYTE + _FRAMING_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what must not pass, and hand on the rest."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limit = self._limit(headers)
        refusal = self._refusal(scope, headers, limit)
        if refusal is not None:
            await _refuse(refusal, scope, receive, send)
        elif scope["type"] == "websocket":
            await self._app(self._plain(scope, headers), receive, send)
        else:
            await _Bounded(limit).run(self._app, self._plain(scope, headers), receive, send)

    def _refusal(self, scope: Scope, headers: Headers, limit: int) -> Refusal | None:
        return self._wrong_host(headers) or self._wrong_origin(scope, headers) or _too_long(headers, limit)

    def _wrong_host(self, headers: Headers) -> Refusal | None:
        hosts = headers.getlist("host")
        name = host_name(hosts[0]) if len(hosts) == 1 else ""
        if not is_loopback(name) and (name not in self._names or self._single_user()):
            return 421, f"This studio does not answer to the host name {name!r}."
        if _came_through_a_proxy(headers) and self._single_user():
            return 403, (
                "This studio has no accounts yet and serves this machine only, not what comes through a "
                "proxy. Add the first account with `python -m studio users add NAME --role admin`."
            )
        return None

    def _wrong_origin(self, scope: Scope, headers: Headers) -> Refusal | None:
        origins = headers.getlist("origin")
        if any(self._invited(origin) for origin in origins):
            return None if _may_be_invited(scope, headers) else (403, "A page of another site needs a token.")
        if _changes_state(scope):
            own = all(self._own(origin, headers) for origin in origins)
            if not own or (not origins and _site(headers) in _FOREIGN_SITES):
                return 403, "A page of another origin may not change anything in this studio."
        elif _site(headers) in _FOREIGN_SITES and not _followed_link(headers):
            return 403, "A page of another site may not embed this studio or read from it."
        return None

    def _own(self, origin: str, headers: Headers) -> bool:
        place = _split(origin)
        if not place or place[0] not in ("http", "https"):
            return False
        if self._settings.public_url and origin.lower() == self._settings.public_url:
            return True
        scheme, netloc = place
        # A page that came without TLS may have been written by anyone on the way.
        secure = scheme == "https" or not self._settings.https or is_loopback(host_name(netloc))
        return netloc == headers.get("host", "").lower() and secure

    def _invited(self, origin: str) -> bool:
        return origin.lower() in self._settings.cross_origins

    def _limit(self, headers: Headers) -> int:
        is_upload = headers.get("content-type", "").lower().startswith("multipart/")
        return self._upload_limit if is_upload else min(PLAIN_BODY_BYTES, self._upload_limit)

    def _plain(self, scope: Scope, headers: Headers) -> Scope:
        """``scope`` without what a proxy claims: Gradio would build its links from it."""
        kept = [(name, value) for name, value in scope["headers"] if not _claim_of_a_proxy(name)]
        scheme = scope.get("scheme", "http")
        if self._settings.https and not is_loopback(host_name(headers.get("host", ""))):
            scheme = {"http": "https", "ws": "wss"}.get(scheme, scheme)
        return {**scope, "headers": kept, "scheme": scheme}


class _Bounded:
    """Runs an application with a body of at most ``limit`` bytes, and answers 413 for a longer one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen = 0
        self._answered = False

    async def run(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted() -> Message:
            message = await receive()
            self._seen += len(message.get("body", b""))
            return message if self._seen <= self._limit else {"type": "http.disconnect"}

        async def watched(message: Message) -> None:
            if self._over and not self._answered:
                return
            self._answered = True
            await send(message)

        try:
            await app(scope, counted, watched)
        except ClientDisconnect:
            if not self._over:
                raise
        if self._over and not self._answered:
            await _refuse(_over(self._limit), scope, receive, send)

    @property
    def _over(self) -> bool:
        return self._seen > self._limit


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": refusal[1][:120]})
    else:
        await JSONResponse(error_body(refusal[1]), refusal[0])(scope, receive, send)


def host_name(host: str) -> str:
    """The name in a Host header, in lower case and without its port; empty where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _split(origin: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.scheme, parts.netloc.lower()


def _claim_of_a_proxy(name: bytes) -> bool:
    return name == b"forwarded" or name.startswith((b"x-forwarded-", b"x-real-ip", b"x-gradio-server"))


def _came_through_a_proxy(headers: Headers) -> bool:
    return any(_claim_of_a_proxy(name) and name != b"x-gradio-server" for name, _ in headers.raw)


def _changes_state(scope: Scope) -> bool:
    return scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS


def _may_be_invited(scope: Scope, headers: Headers) -> bool:
    """A question, which the doors leave unanswered without a token, or a change with one."""
    has_token = headers.get("authorization", "").lower().startswith("bearer ")
    return scope["type"] == "http" and (has_token or not _changes_state(scope))


def _site(headers: Headers) -> str:
    return headers.get("sec-fetch-site", "none")


def _followed_link(headers: Headers) -> bool:
    dest = headers.get("sec-fetch-dest", "document")
    return headers.get("sec-fetch-mode") == "navigate" and dest not in _EMBEDDED


def _too_long(headers: Headers, limit: int) -> Refusal | None:
    text = headers.get("content-length", "0")
    # More digits than any size has are not worth turning into a number.
    declared = int(text[:20]) if text.isascii() and text.isdecimal() else 0
    return _over(limit) if declared > limit else None


def _over(limit: int) -> Refusal:
    what = "STUDIO_MAX_UPLOAD_MB" if limit != PLAIN_BODY_BYTES else "send files as multipart"
    return 413, f"The request is larger than {limit // _MEBIBYTE} MiB ({what})."
