"""The engine of one base model through its lives, and the answers that keep it alive.

An engine that gives way to a run takes no new rows, writes what it began, and ends; the memory counts as
freed when its process is gone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from studio.core import StudioError, Unavailable
from studio.serving.backends.client import EngineGone, EngineStream
from studio.serving.backends.process import EngineProcess
from studio.serving.backends.protocol import BackendRow, Refuses, RowEvent, RowStream
from studio.serving.records import EngineStatus

logger = logging.getLogger(__name__)


class Engine:
    """The engine of one base: never started, starting, ready, stopped, failed."""

    def __init__(
        self,
        base_id: str,
        path: Path,
        log: Path,
        *,
        idle_seconds: float,
        ready_seconds: float,
        dtype: str,
        refuses: Refuses,
    ) -> None:
        self._base_id = base_id
        self._path = path
        self._log = log
        self._idle_seconds = idle_seconds
        self._ready_seconds = ready_seconds
        self._dtype = dtype
        self._refuses = refuses
        self._starting = threading.Lock()
        self._lock = threading.Lock()
        self._process: EngineProcess | None = None
        self._state = "stopped"
        self._reason = ""
        self._adapters: dict[str, None] = {}
        self._busy = 0
        self._last_used = time.monotonic()
        self._closed = False
        self._gives_way_to = ""
        self._leaving = False
        self._ending = False

    @property
    def holds_memory(self) -> bool:
        """Whether a process of it is there, comes or goes."""
        with self._lock:
            return self._process is not None or self._state == "starting" or self._ending

    @property
    def gives_way(self) -> bool:
        """Whether it is about to end, so that somebody has its memory."""
        with self._lock:
            return self._leaving or self._ending

    @property
    def use(self) -> tuple[int, float]:
        """How much it is used: the answers under way, then when it was last asked."""
        with self._lock:
            return self._busy, self._last_used

    def give_way(self, to: str) -> str:
        """Take no more rows, and end as soon as none is under way; says what that waits for."""
        with self._lock:
            self._gives_way_to = to
            self._leaving = not self._ending
            busy = self._busy > 0
        self._end_if_left()
        return f"a model server {'frees when it has written its answers' if busy else 'is freeing'}"

    def keep(self) -> None:
        """Stay, if the end has not begun."""
        with self._lock:
            self._leaving = False

    def take_back(self) -> None:
        """Forget who needed the memory."""
        with self._lock:
            self._leaving = False
            self._gives_way_to = ""

    def generate(self, rows: Sequence[BackendRow]) -> RowStream:
        """Answer rows in one batch; starts the process if need be.

        Raises:
            Unavailable: It cannot start, is full, died, or gives way.
            InvalidInput: A row does not fit.
        """
        self._enter()
        try:
            return self._ask(rows)
        except BaseException:
            self._leave()
            raise

    def status(self) -> EngineStatus:
        """How it stands."""
        with self._lock:
            process = self._process
            pid = process.pid if process is not None else None
            adapters = tuple(sorted(self._adapters))
            return EngineStatus(self._base_id, self._state, adapters, pid, self._reason, self._gives_way_to)

    def notice(self) -> None:
        """Say so if the process is gone."""
        with self._lock:
            process = self._process
            if process is not None and not process.alive:
                if process.ended_well:
                    self._gone("stopped", "It was idle.")
                else:
                    self._gone("failed", f"It {process.death()}.")

    def stop_if_idle(self, idle_seconds: float) -> bool:
        """End the process if nothing was asked for so long; whether it is not running any more."""
        with self._lock:
            process = self._process
            if self._busy or self._state == "starting":
                return False
            if process is None:
                return True
            if time.monotonic() - self._last_used < idle_seconds:
                return False
            self._gone("stopped", "It was unloaded.")
        process.stop()
        return True

    def close(self) -> None:
        """End the process, answering or not."""
        with self._lock:
            self._closed = True
            process = self._process
            if process is not None:
                self._gone("stopped", "The studio closed.")
        if process is not None:
            process.stop()

    def _ask(self, rows: Sequence[BackendRow]) -> RowStream:
        process = self._ready()
        try:
            self._load_adapters(process, rows)
            return _Rows(self, process, process.client.stream(rows))
        except EngineGone as error:
            raise self.broken(process) from error

    def _load_adapters(self, process: EngineProcess, rows: Sequence[BackendRow]) -> None:
        # In the order of their ids and shown all at once: the order of the rows would tell anybody who looks
        # at the status who stands on which side of a blind comparison.
        wanted = {row.adapter_id: row.adapter_path for row in rows if row.adapter_id is not None}
        for adapter_id in sorted(wanted):
            body = {"id": adapter_id, "path": str(wanted[adapter_id])}
            process.client.call("POST", "/adapters", body)
        with self._lock:
            self._adapters.update(dict.fromkeys(wanted))

    def _ready(self) -> EngineProcess:
        """The running process; the first caller starts it, the others wait."""
        with self._starting:
            self.notice()
            with self._lock:
                if self._process is not None:
                    return self._process
            self._ask_for_room()
            with self._lock:
                self._state, self._reason, self._gives_way_to = "starting", "", ""
            try:
                process = self._start()
            except StudioError as error:
                with self._lock:
                    self._gone("failed", error.message)
                raise
            with self._lock:
                self._process = process
                self._state = "ready"
                closed = self._closed
        if closed:
            self.close()
            raise Unavailable("The studio is closing.", "Ask again when it is back.")
        return process

    def _ask_for_room(self) -> None:
        """Raises where somebody needs the memory that the engine would take."""
        name = self._refuses(self._path)
        if name:
            with self._lock:
                self._gives_way_to = name
            raise _gives_way(name)

    def _end_if_left(self) -> None:
        """End the process that gives way, if nothing is asked of it; does not wait for its end."""
        with self._lock:
            process = self._process
            if not self._leaving or self._busy or process is None:
                return
            self._leaving, self._ending = False, True
            self._gone("stopped", f"It made room for {self._gives_way_to}.")

        def end() -> None:
            try:
                process.stop()
            finally:
                with self._lock:
                    self._ending = False

        threading.Thread(target=end, name="engine-end", daemon=True).start()

    def _start(self) -> EngineProcess:
        began = time.monotonic()
        process = EngineProcess(
            self._path,
            self._log,
            ready_seconds=self._ready_seconds,
            # Ours is the first clock; the engine's own is for a studio that hangs.
            idle_seconds=2 * self._idle_seconds + 60,
            dtype=self._dtype,
        )
        logger.info("engine of %s ready after %.1f s", self._base_id, time.monotonic() - began)
        return process

    def broken(self, process: EngineProcess) -> Unavailable:
        """What to say when the connection broke."""
        death = process.death()
        with self._lock:
            if self._process is process and not process.alive:
                self._gone("failed", f"It {death}.")
        return Unavailable(
            f"The model server {death} while it was answering.",
            "Ask again: it is started anew.",
            process.tail(),
        )

    def _gone(self, state: str, reason: str) -> None:
        self._process = None
        self._state = state
        self._reason = reason
        self._adapters.clear()

    def _enter(self) -> None:
        with self._lock:
            if self._leaving:
                raise _gives_way(self._gives_way_to)
            self._busy += 1

    def _leave(self) -> None:
        with self._lock:
            self._busy -= 1
            self._last_used = time.monotonic()
        self._end_if_left()

    def done(self) -> None:
        """A stream of rows ended."""
        self._leave()


def _gives_way(name: str) -> Unavailable:
    return Unavailable(
        f"The model gives way to {name}, which needs the memory.",
        "Ask again when that has ended; whoever trains can also stop it on Runs.",
    )


class _Rows:
    """A batch under way; it keeps its engine from being unloaded until it is read to its end."""

    def __init__(self, engine: Engine, process: EngineProcess, stream: EngineStream) -> None:
        self._engine = engine
        self._process = process
        self._stream = stream
        self._over = False
        self._closed = False

    def __iter__(self) -> _Rows:
        return self

    def __next__(self) -> RowEvent:
        if self._over:
            raise StopIteration
        try:
            return next(self._stream)
        except StopIteration:
            self._end()
            raise
        except EngineGone as error:
            self._end()
            if self._closed:
                raise StopIteration from None
            raise self._engine.broken(self._process) from error

    def close(self) -> None:
        """Give the rows up; the reading thread then finds the end."""
        self._closed = True
        self._stream.close()

    def _end(self) -> None:
        self._over = True
        self._stream.release()
        self._engine.done()
