"""Reads a turn in a thread of its own, so that the page stays alive while no token comes.

A generator that waits for a model server can neither say so nor be stopped; one that waits for a queue can do
both. Whoever stops a relay, the turn is closed by the thread that reads it, which cancels the decoding
and stores what came. A relay that nobody reads any more ends with its turn.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator

from studio.arena import BattleStarted, SideDelta, SideEnd

TurnEvent = BattleStarted | SideDelta | SideEnd

_log = logging.getLogger(__name__)


class _End:
    """The turn is over; ``error`` is what it raised."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


class Relay:
    """The events of a turn as they come."""

    def __init__(self, turn: Iterator[TurnEvent]) -> None:
        self._events: queue.SimpleQueue[TurnEvent | _End] = queue.SimpleQueue()
        self._stopped = threading.Event()
        threading.Thread(target=self._read, args=(turn,), name="turn", daemon=True).start()

    @property
    def stopped(self) -> bool:
        """Whether somebody asked for an end."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Ask for an end; it comes with the next event of the turn."""
        self._stopped.set()

    def events(self, wait: float) -> Iterator[TurnEvent | None]:
        """Each event, and None whenever ``wait`` seconds passed without one.

        Raises:
            StudioError: What the turn raised.
        """
        while True:
            try:
                event = self._events.get(timeout=wait)
            except queue.Empty:
                yield None
                continue
            if isinstance(event, _End):
                if event.error is not None:
                    raise event.error
                return
            yield event

    def _read(self, turn: Iterator[TurnEvent]) -> None:
        error: Exception | None = None
        try:
            for event in turn:
                self._events.put(event)
                if self._stopped.is_set():
                    break
        except Exception as raised:
            error = raised
        finally:
            self._close(turn)
            self._events.put(_End(error))

    def _close(self, turn: Iterator[TurnEvent]) -> None:
        close = getattr(turn, "close", None)
        try:
            if close is not None:
                close()
        except Exception:
            _log.exception("A turn could not be closed.")
