"""TensorBoard behind the studio's own door: opening it from a run, and relaying what it says.

The paths stand under ``/studio/``, so the doors let in who may use the researchers' pages, with a session
and never with a token, and the guard's rules about hosts and origins hold as for every request. A board is
relayed to its owner only. Of a request only what TensorBoard needs goes on: no cookie, no token; of an
answer nothing that would loosen what this studio tells browsers.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from functools import partial
from urllib.parse import quote

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from studio.api.context import TheActor, TheStudio, allow
from studio.api.doors import wants_a_page
from studio.api.errors import error_body
from studio.api.screens import please_wait, sorry
from studio.core import NotFound, Role
from studio.training.board import PREFIX

router = APIRouter(prefix=PREFIX, include_in_schema=False)

_BLOCK = 1 << 16
_PATIENCE_SECONDS = 60.0
_ASKED_WITH = ("accept", "accept-encoding", "content-type", "x-xsrf-protected", "x-tensorboard-feature-flags")
_ANSWERED_WITH = ("content-type", "content-encoding", "content-length", "cache-control", "vary", "expires")


@router.post("/runs/{run_id}", dependencies=[allow(Role.RESEARCHER, scope=None)])
def open_board(run_id: str, studio: TheStudio, actor: TheActor) -> RedirectResponse:
    """Put the run on one's board, and go there."""
    return RedirectResponse(studio.board.open(actor, run_id), 303)


@router.api_route(
    "/{key}/{path:path}", methods=["GET", "POST"], dependencies=[allow(Role.RESEARCHER, scope=None)]
)
async def relay(key: str, path: str, request: Request, studio: TheStudio, actor: TheActor) -> Response:
    """Hand a request to one's board, and its answer back as it comes."""
    del path  # It goes on as it came, with its query, below.
    try:
        place = await to_thread.run_sync(studio.board.place, actor, key)
    except NotFound as error:
        if not wants_a_page(request):
            raise
        return sorry("TensorBoard is closed", error, target="/studio/?tab=runs", label="Go to the runs")
    if place.port is None:
        return _starting(request)
    body = await request.body()
    try:
        connection, answer = await to_thread.run_sync(partial(_ask, place.port, request, body))
    except (OSError, http.client.HTTPException):
        return _starting(request)
    headers = {name: value for name in _ANSWERED_WITH if (value := answer.getheader(name))}
    target = answer.getheader("location", "")
    if target.startswith(f"{PREFIX}/"):
        headers["location"] = target
    return StreamingResponse(_blocks(connection, answer), answer.status, headers)


def _ask(
    port: int, request: Request, body: bytes
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    headers = {name: value for name in _ASKED_WITH if (value := request.headers.get(name))}
    query = request.scope.get("query_string", b"").decode("latin-1")
    target = quote(request.scope["path"]) + (f"?{query}" if query else "")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request(request.method, target, body or None, headers)
        return connection, connection.getresponse()
    except BaseException:
        connection.close()
        raise


def _blocks(connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while block := answer.read1(_BLOCK):
            yield block
    finally:
        connection.close()


def _starting(request: Request) -> Response:
    if wants_a_page(request):
        return please_wait("TensorBoard is starting", "It takes a few seconds; this page then shows it.")
    return JSONResponse(error_body("TensorBoard is starting.", "Ask again."), 503, {"Retry-After": "1"})
