"""What every answer tells the browser: where scripts may come from, and that nobody may frame us.

Gradio writes inline scripts and styles and evaluates the ``js=`` of events, so its pages need
``'unsafe-inline'`` and ``'unsafe-eval'``: there the policy does not stop a script that got into the
markup (escaping does), but it stops such a script from loading more or sending anything elsewhere.
Every other answer has a policy without any script.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.core import Settings

_FRAME = "base-uri 'self'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"

#: Gradio's pages.
PAGES = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "media-src 'self' data: blob:; worker-src 'self' blob:; connect-src 'self' data: blob:; " + _FRAME
)
#: The page that shows the REST interface.
DOCS = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; " + _FRAME
)
#: TensorBoard's pages, relayed by ``board``: its scripts come from itself and evaluate nothing.
BOARD = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; " + _FRAME
)
#: The log-in pages, and every answer that is no page.
PLAIN = "default-src 'none'; style-src 'self'; img-src 'self' data:; " + _FRAME
#: Files that somebody uploaded: whatever they hold, nothing in them runs.
FILES = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: a form of ours would then be sent with "Origin: null" and be refused.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_ONE_YEAR = "max-age=31536000"
_KEPT_BY_NOBODY = ("text/html", "application/json")


class SecurityHeaders:
    """ASGI middleware that adds the headers to every answer; ``doors`` are the paths of Gradio."""

    def __init__(self, app: ASGIApp, settings: Settings, doors: frozenset[str]) -> None:
        self._app = app
        self._https = settings.https
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, and add to the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def added(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add(MutableHeaders(scope=message), scope["path"])
            await send(message)

        await self._app(scope, receive, added)

    def _add(self, headers: MutableHeaders, path: str) -> None:
        headers.update({**_ALWAYS, "Content-Security-Policy": self._policy(path)})
        if self._https:
            headers["Strict-Transport-Security"] = _ONE_YEAR
        if headers.get("content-type", "").startswith(_KEPT_BY_NOBODY):
            # Whoever uses this browser next must not read it with the back button.
            headers.setdefault("Cache-Control", "no-store")

    def _policy(self, path: str) -> str:
        first, _, rest = path.lstrip("/").partition("/")
        if path.startswith("/studio/tensorboard/"):
            return BOARD
        if first in self._doors:
            return FILES if rest.startswith(("gradio_api/file", "gradio_api/stream")) else PAGES
        return DOCS if first == "docs" else PLAIN


def plain_headers() -> dict[str, str]:
    """The headers of an answer that is made outside of every middleware."""
    return {**_ALWAYS, "Content-Security-Policy": PLAIN}
