"""Answers from our own engine: one subprocess for each base model, started when it is first asked for.

The invariant: an engine is unloaded only while no answer of it is being written. A crash ends the rows
that were under way with an error that says so, and the next request starts a new engine.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from studio.core import Conflict, StudioError, Unavailable
from studio.serving.backends.client import EngineGone, EngineStream
from studio.serving.backends.process import EngineProcess
from studio.serving.backends.protocol import BackendRow, RowEvent, RowStream
from studio.serving.records import EngineStatus

logger = logging.getLogger(__name__)

#: A model of many GB on a slow disk takes minutes.
READY_SECONDS = 600.0


class LocalBackend:
    """Runs engines.

    Args:
        directory: Where their logs go.
        idle_seconds: An engine without requests for this long is unloaded by ``tick``.
        dtype: auto (bfloat16), bf16 or fp32.
    """

    def __init__(
        self,
        directory: Path,
        *,
        idle_seconds: float = 600.0,
        ready_seconds: float = READY_SECONDS,
        dtype: str = "auto",
    ) -> None:
        self._directory = directory
        self._idle_seconds = idle_seconds
        self._ready_seconds = ready_seconds
        self._dtype = dtype
        self._lock = threading.Lock()
        self._engines: dict[str, _Engine] = {}
        self._closed = False

    def generate(self, rows: Sequence[BackendRow]) -> RowStream:
        """Answer rows of one base in one batch; starts its engine if need be.

        Raises:
            Unavailable: The engine cannot start, is full, or died.
            InvalidInput: A row does not fit.
        """
        return self._engine(rows[0]).generate(rows)

    def status(self) -> tuple[EngineStatus, ...]:
        """Every engine that was asked for since the studio started."""
        with self._lock:
            engines = list(self._engines.values())
        return tuple(engine.status() for engine in engines)

    def unload(self, base_id: str) -> None:
        """End a base's engine.

        Raises:
            Conflict: It is answering or starting.
        """
        engine = self._engines.get(base_id)
        if engine is not None and not engine.stop_if_idle(0.0):
            raise Conflict("The model is writing answers or starting.", "Try again when it is done.")

    def tick(self) -> None:
        """Notice engines that died, and end those that are idle."""
        with self._lock:
            engines = list(self._engines.values())
        for engine in engines:
            engine.notice()
            engine.stop_if_idle(self._idle_seconds)

    def close(self) -> None:
        """End every engine, answering or not; no new one starts."""
        with self._lock:
            self._closed = True
            engines = list(self._engines.values())
        for engine in engines:
            engine.close()

    def _engine(self, row: BackendRow) -> _Engine:
        with self._lock:
            if self._closed:
                raise Unavailable("The studio is closing.", "Ask again when it is back.")
            if row.base_id not in self._engines:
                self._engines[row.base_id] = _Engine(
                    row.base_id,
                    row.base_path,
                    self._directory / f"{row.base_id}.log",
                    idle_seconds=self._idle_seconds,
                    ready_seconds=self._ready_seconds,
                    dtype=self._dtype,
                )
            return self._engines[row.base_id]


class _Engine:
    """The engine of one base through its lives: never started, starting, ready, stopped, failed."""

    def __init__(
        self, base_id: str, path: Path, log: Path, *, idle_seconds: float, ready_seconds: float, dtype: str
    ) -> None:
        self._base_id = base_id
        self._path = path
        self._log = log
        self._idle_seconds = idle_seconds
        self._ready_seconds = ready_seconds
        self._dtype = dtype
        self._starting = threading.Lock()
        self._lock = threading.Lock()
        self._process: EngineProcess | None = None
        self._state = "stopped"
        self._reason = ""
        self._adapters: dict[str, None] = {}
        self._busy = 0
        self._last_used = time.monotonic()
        self._closed = False

    def generate(self, rows: Sequence[BackendRow]) -> RowStream:
        self._enter()
        try:
            return self._ask(rows)
        except BaseException:
            self._leave()
            raise

    def status(self) -> EngineStatus:
        with self._lock:
            process = self._process
            pid = process.pid if process is not None else None
            return EngineStatus(self._base_id, self._state, tuple(sorted(self._adapters)), pid, self._reason)

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
                self._state, self._reason = "starting", ""
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
            self._busy += 1

    def _leave(self) -> None:
        with self._lock:
            self._busy -= 1
            self._last_used = time.monotonic()

    def done(self) -> None:
        """A stream of rows ended."""
        self._leave()


class _Rows:
    """A batch under way; it keeps its engine from being unloaded until it is read to its end."""

    def __init__(self, engine: _Engine, process: EngineProcess, stream: EngineStream) -> None:
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
