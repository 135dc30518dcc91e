"""Errors as clients see them: ``{"error": {"message", "todo", "details"}}`` and a fitting status.

Whatever is no ``StudioError`` is a bug: the client gets 500 and a sentence, the log gets the trace.
"""

from __future__ import annotations

import logging
import math

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from studio.api.headers import plain_headers
from studio.core import StudioError, TooManyRequests, Unauthenticated

_log = logging.getLogger(__name__)


def install_error_handlers(app: FastAPI) -> None:
    """Translate every error that a route raises."""
    app.add_exception_handler(StudioError, _studio_error)
    app.add_exception_handler(RequestValidationError, _bad_request)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _bug)


def error_body(message: str, todo: str = "", details: tuple[str, ...] = ()) -> dict[str, object]:
    """The body of every error answer."""
    return {"error": {"message": message, "todo": todo, "details": list(details)}}


def error_headers(error: StudioError) -> dict[str, str]:
    """What a client's machinery reads of an error: how to log in, when to try again."""
    if isinstance(error, TooManyRequests):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": 'Bearer realm="tandem"'}
    return {}


async def _studio_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StudioError)
    body = error_body(error.message, error.todo, error.details)
    return JSONResponse(body, error.status, error_headers(error))


async def _bad_request(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    details = tuple(
        f"{'.'.join(str(part) for part in found['loc'][1:]) or found['loc'][0]}: {found['msg']}"
        for found in error.errors()
    )
    body = error_body("The request does not fit this route.", "See /docs for its fields.", details)
    return JSONResponse(body, 422)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    # Starlette's own: no such route, a method that it does not take, a form that cannot be read.
    assert isinstance(error, HTTPException)
    return JSONResponse(error_body(f"{error.detail}.", "See /docs."), error.status_code, error.headers)


async def _bug(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    body = error_body(
        "The studio failed at this request.", "The server's log has the trace; please report it."
    )
    return JSONResponse(body, 500, plain_headers())
