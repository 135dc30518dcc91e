"""A backend that answers from a script, for what a real engine cannot be made to do on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from studio.core import StudioError
from studio.serving import BackendRow, EngineStatus, RowEnd, RowStart, TokenDelta

Event = RowStart | TokenDelta | RowEnd | StudioError | threading.Event


def end(row: int, reason: str = "stop", tokens: int = 1) -> RowEnd:
    return RowEnd(row, reason, 3, tokens, 0.1, 0.2, 5, "template", "", "prompt")


class FakeStream:
    """Plays events; an error among them is raised, a ``threading.Event`` is waited for."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = list(events)
        self.closed = threading.Event()

    def __iter__(self) -> FakeStream:
        return self

    def __next__(self) -> RowStart | TokenDelta | RowEnd:
        if self.closed.is_set() or not self._events:
            raise StopIteration
        event = self._events.pop(0)
        if isinstance(event, threading.Event):
            while not event.wait(0.01):
                if self.closed.is_set():
                    raise StopIteration
            return next(self)
        if isinstance(event, StudioError):
            raise event
        return event

    def close(self) -> None:
        self.closed.set()


class FakeBackend:
    """``script`` gives the events for the rows of one base, or raises."""

    def __init__(self, script: Callable[[Sequence[BackendRow]], Sequence[Event]]) -> None:
        self._script = script
        self.asked: list[tuple[BackendRow, ...]] = []
        self.streams: list[FakeStream] = []

    def generate(self, rows: Sequence[BackendRow]) -> FakeStream:
        self.asked.append(tuple(rows))
        stream = FakeStream(self._script(rows))
        self.streams.append(stream)
        return stream

    def status(self) -> tuple[EngineStatus, ...]:
        return ()

    def unload(self, base_id: str) -> None:
        pass

    def tick(self) -> None:
        pass

    def close(self) -> None:
        pass
