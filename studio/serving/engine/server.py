"""The engine's HTTP face: OpenAI's protocol, and ``/rows`` for answers that are decoded together.

Every request needs the bearer token. A client that goes away frees its rows within one step.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.serving.engine import wire
from studio.serving.engine.adapters import AdapterBank
from studio.serving.engine.batch import Row
from studio.serving.engine.detokenise import Detokeniser
from studio.serving.engine.errors import Refusal
from studio.serving.engine.loader import Base
from studio.serving.engine.scheduler import Scheduler
from studio.serving.records import ChatMessage, RowEnd, Sampling, TokenDelta

Body = TypeVar("Body", bound=BaseModel)
Event = TokenDelta | RowEnd

#: A step takes tens of milliseconds and an answer seconds, so a place is free soon.
_RETRY_AFTER = "2"
BASE = "base"


class TokenGuard:
    """Lets a request in only with the bearer token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._wanted = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 401."""
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not secrets.compare_digest(given, self._wanted):
                refusal = wire.error_body("unauthorised", "The bearer token is missing or wrong.")
                await JSONResponse(refusal, status_code=401)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class Ticket:
    """A request's rows in the scheduler, and their events as an asynchronous iterator."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self.rows: list[Row] = []

    def emit(self, event: Event) -> None:
        """Called by the thread that decodes."""
        self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    def submit(self) -> None:
        """Ask for the rows."""
        self._scheduler.submit(self.rows)

    def cancel(self) -> None:
        """Give the rows up."""
        self._scheduler.cancel(self.rows)

    async def events(self) -> AsyncIterator[Event]:
        """All events until every row has ended; leaving early gives the rows up."""
        open_rows = len(self.rows)
        try:
            while open_rows:
                event = await self._events.get()
                open_rows -= isinstance(event, RowEnd)
                yield event
        finally:
            self.cancel()


class Engine:
    """The routes."""

    def __init__(
        self, base: Base, bank: AdapterBank, scheduler: Scheduler, shut_down: Callable[[], None]
    ) -> None:
        self._base = base
        self._bank = bank
        self._scheduler = scheduler
        self._shut_down = shut_down

    def app(self, token: str) -> Starlette:
        """The application."""
        routes = [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/health", self.health, methods=["GET"]),
            Route("/rows", self.answer_rows, methods=["POST"]),
            Route("/adapters", self.load_adapter, methods=["POST"]),
            Route("/adapters/{id}", self.unload_adapter, methods=["DELETE"]),
            Route("/shutdown", self.shutdown, methods=["POST"]),
        ]
        return Starlette(
            routes=routes,
            middleware=[Middleware(TokenGuard, token=token)],
            exception_handlers={Refusal: _refused},
        )

    async def health(self, request: Request) -> Response:  # noqa: ARG002
        """How the engine stands."""
        return JSONResponse(
            {
                "status": "ready",
                "active": self._scheduler.active,
                "waiting": self._scheduler.waiting,
                "adapters": self._bank.ids,
                "context": self._base.context,
            }
        )

    async def models(self, request: Request) -> Response:  # noqa: ARG002
        """The base and the loaded adapters, as OpenAI lists models."""
        names = (BASE, *self._bank.ids)
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "tandem"} for name in names]
        return JSONResponse({"object": "list", "data": listed})

    async def load_adapter(self, request: Request) -> Response:
        """Load an adapter; again is free."""
        body = await _body(request, wire.AdapterBody)
        await run_in_threadpool(self._bank.load, body.id, Path(body.path))
        return JSONResponse({"id": body.id})

    async def unload_adapter(self, request: Request) -> Response:
        """Forget an adapter; answers that use it go on."""
        adapter_id = request.path_params["id"]
        self._bank.unload(adapter_id)
        return JSONResponse({"id": adapter_id})

    async def shutdown(self, request: Request) -> Response:  # noqa: ARG002
        """End the process."""
        self._shut_down()
        return JSONResponse({"status": "ending"})

    async def answer_rows(self, request: Request) -> Response:
        """Answer rows in one batch; a line of JSON an event."""
        body = await _body(request, wire.RowsBody)
        ticket = Ticket(self._scheduler)
        for index, row in enumerate(body.rows):
            ticket.rows.append(await self._row(ticket, index, row.adapter, row.messages, row.sampling))
        ticket.submit()
        return StreamingResponse(_lines(ticket), media_type="application/x-ndjson")

    async def chat(self, request: Request) -> Response:
        """OpenAI's chat completions; ``model`` is ``base`` or an adapter's id."""
        body = await _body(request, wire.ChatBody)
        if body.unsupported():
            raise Refusal(
                400, "unsupported", f"These fields are not supported: {', '.join(body.unsupported())}."
            )
        prompt = await run_in_threadpool(self._base.render, body.messages)
        try:
            sampling = body.sampling(self._base.context - len(prompt.ids))
        except ValidationError as error:
            raise _invalid(error) from error
        ticket = Ticket(self._scheduler)
        adapter = None if body.model == BASE else body.model
        ticket.rows.append(await self._row(ticket, 0, adapter, body.messages, sampling))
        ticket.submit()
        completion = wire.Completion(f"chatcmpl-{secrets.token_hex(12)}", body.model)
        if body.stream:
            events = _sse(ticket, completion, with_usage=body.stream_options.include_usage)
            return StreamingResponse(events, media_type="text/event-stream")
        return await _whole(request, ticket, completion)

    async def _row(
        self,
        ticket: Ticket,
        index: int,
        adapter_id: str | None,
        messages: list[ChatMessage],
        sampling: Sampling,
    ) -> Row:
        adapter = self._bank.get(adapter_id) if adapter_id is not None else None
        prompt = await run_in_threadpool(self._base.render, messages)
        self._check_fit(index, len(prompt.ids), sampling.max_tokens)
        seed = sampling.seed if sampling.seed is not None else secrets.randbelow(2**31)
        return Row(
            index=index,
            prompt=prompt,
            adapter=adapter,
            sampling=sampling,
            seed=seed,
            template_digest=self._base.template_digest,
            detokeniser=Detokeniser(self._base.tokenizer),
            emit=ticket.emit,
        )

    def _check_fit(self, index: int, prompt_tokens: int, max_tokens: int) -> None:
        context = self._base.context
        left = context - prompt_tokens
        if max_tokens <= left:
            return
        todo = f"Set max_tokens to at most {left}, or shorten the conversation."
        raise Refusal(
            400,
            "context_length_exceeded",
            f"Row {index} does not fit: its prompt has {prompt_tokens} tokens and its answer may have "
            f"{max_tokens}, but this model's context is {context} tokens.",
            todo if left > 0 else "Shorten the conversation.",
        )


async def _lines(ticket: Ticket) -> AsyncIterator[str]:
    for row in ticket.rows:
        yield wire.start_line(row.index, len(row.prompt.ids), row.template_digest, row.prompt.digest)
    async for event in ticket.events():
        yield wire.event_line(event)


async def _sse(ticket: Ticket, completion: wire.Completion, *, with_usage: bool) -> AsyncIterator[str]:
    yield completion.chunk({"role": "assistant", "content": ""})
    async for event in ticket.events():
        if isinstance(event, TokenDelta):
            yield completion.chunk({"content": event.text})
            continue
        if event.error:
            yield wire.error_event(event.error)
            return
        yield completion.chunk({}, event.finish_reason)
        if with_usage:
            yield completion.usage_chunk(event)
    yield "data: [DONE]\n\n"


async def _whole(request: Request, ticket: Ticket, completion: wire.Completion) -> Response:
    watcher = asyncio.create_task(_cancel_when_gone(request, ticket))
    pieces: list[str] = []
    try:
        async for event in ticket.events():
            if isinstance(event, TokenDelta):
                pieces.append(event.text)
            elif event.error:
                return JSONResponse(wire.error_body("server_error", event.error), status_code=500)
            else:
                return JSONResponse(completion.whole("".join(pieces), event))
    finally:
        watcher.cancel()
    raise AssertionError("a row ended without an end")


async def _cancel_when_gone(request: Request, ticket: Ticket) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    ticket.cancel()


async def _body(request: Request, shape: type[Body]) -> Body:
    """The request's body, checked.

    Raises:
        Refusal: It is too large or not of that shape.
    """
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > wire.MOST_BODY_BYTES:
            raise Refusal(413, "too_large", f"A request may have {wire.MOST_BODY_BYTES >> 20} MiB.")
    try:
        return shape.model_validate_json(bytes(content))
    except ValidationError as error:
        raise _invalid(error) from error


def _invalid(error: ValidationError) -> Refusal:
    faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)]
    return Refusal(422, "invalid_request", "; ".join(faults) + ".")


async def _refused(request: Request, error: Any) -> Response:  # noqa: ARG001
    headers = {"Retry-After": _RETRY_AFTER} if error.status == 503 else None
    body = wire.error_body(error.code, error.message, error.todo)
    return JSONResponse(body, status_code=error.status, headers=headers)
