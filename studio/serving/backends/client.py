"""Speaks HTTP with an engine on loopback: short calls, and streams of rows that any thread may close.

A stream is closed by shutting its socket down, which ends a read that is under way in another thread;
the engine sees the connection go and frees the rows.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Sequence
from typing import Any

from studio.core import InvalidInput, StudioError, TooLarge, Unavailable
from studio.serving.backends.protocol import BackendRow, RowEvent, RowStart
from studio.serving.records import RowEnd, TokenDelta

_HOST = "127.0.0.1"
#: A short call that takes longer than this has no engine behind it. Loading a large adapter is the longest.
_CALL_SECONDS = 120.0
#: No row is silent for longer: neither a long prompt nor a full queue before it.
_SILENCE_SECONDS = 600.0


class EngineGone(Exception):
    """The connection failed or broke: the engine died, or never was."""


class EngineClient:
    """One engine's address and token."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request and its JSON answer.

        Raises:
            EngineGone: No engine answers there.
            StudioError: The engine refuses.
        """
        connection = http.client.HTTPConnection(_HOST, self.port, timeout=_CALL_SECONDS)
        try:
            response = self._send(connection, method, path, body)
            answer: dict[str, Any] = json.loads(response.read())
            return answer
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise EngineGone(str(error)) from error
        finally:
            connection.close()

    def stream(self, rows: Sequence[BackendRow]) -> EngineStream:
        """Ask for ``rows`` as one batch.

        Raises:
            EngineGone: No engine answers there.
            StudioError: The engine refuses; nothing was begun.
        """
        body = {
            "rows": [
                {
                    "adapter": row.adapter_id,
                    "messages": [message.model_dump() for message in row.messages],
                    "sampling": row.sampling.model_dump(),
                }
                for row in rows
            ]
        }
        connection = http.client.HTTPConnection(_HOST, self.port, timeout=_SILENCE_SECONDS)
        try:
            connection.connect()
            channel: socket.socket = connection.sock
            response = self._send(connection, "POST", "/rows", body)
            return EngineStream(channel, connection, response, len(rows))
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise EngineGone(str(error)) from error
        except StudioError:
            connection.close()
            raise

    def _send(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: dict[str, Any] | None
    ) -> http.client.HTTPResponse:
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, self._headers)
        response = connection.getresponse()
        if response.status >= 400:
            raise _refusal(response)
        return response


class EngineStream:
    """The events of one batch."""

    def __init__(
        self,
        channel: socket.socket,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
        rows: int,
    ) -> None:
        self._channel = channel
        self._open_rows = rows
        self._connection = connection
        self._response = response

    def __iter__(self) -> EngineStream:
        return self

    def __next__(self) -> RowEvent:
        """The next event.

        Raises:
            EngineGone: The connection broke, or was closed.
        """
        try:
            line = self._response.readline()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise EngineGone(str(error)) from error
        if not line and not self._open_rows:
            raise StopIteration
        # http.client reports a connection that broke between chunks as the end of the answer.
        if not line.endswith(b"\n"):
            raise EngineGone("the connection broke")
        event = _event(json.loads(line))
        self._open_rows -= isinstance(event, RowEnd)
        return event

    def close(self) -> None:
        """Break the connection; the engine frees the rows."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Free the socket; only the reading thread may call this."""
        self._response.close()
        self._connection.close()


def _event(line: dict[str, Any]) -> RowEvent:
    row = line["row"]
    if "text" in line:
        return TokenDelta(row, line["text"], line["tokens"])
    if "start" in line:
        return RowStart(row, **line["start"])
    return RowEnd(row, **line["end"])


def _refusal(response: http.client.HTTPResponse) -> StudioError:
    try:
        error = json.loads(response.read())["error"]
        message, todo = str(error["message"]), str(error.get("todo", ""))
    except (ValueError, KeyError, TypeError):
        message, todo = f"The model server answered with status {response.status}.", ""
    if response.status == 413:
        return TooLarge(message, todo)
    if response.status in (400, 404, 422):
        return InvalidInput(message, todo)
    return Unavailable(message, todo)
