"""Answers from our own engine: one subprocess for each base model, started when it is first asked for.

The invariant: an engine is unloaded only while no answer of it is being written. A crash ends the rows
that were under way with an error that says so, and the next request starts a new engine.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from studio.core import Conflict, Unavailable
from studio.serving.backends.life import Engine
from studio.serving.backends.protocol import BackendRow, Refuses, RowStream
from studio.serving.records import EngineStatus

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
        self._engines: dict[str, Engine] = {}
        self._closed = False
        self._refuses: Refuses = _refuses_nobody

    def generate(self, rows: Sequence[BackendRow]) -> RowStream:
        """Answer rows of one base in one batch; starts its engine if need be.

        Raises:
            Unavailable: The engine cannot start, is full, or died.
            InvalidInput: A row does not fit.
        """
        return self._engine(rows[0]).generate(rows)

    def status(self) -> tuple[EngineStatus, ...]:
        """Every engine that was asked for since the studio started."""
        return tuple(engine.status() for engine in self._all())

    def unload(self, base_id: str) -> None:
        """End a base's engine.

        Raises:
            Conflict: It is answering or starting.
        """
        engine = self._engines.get(base_id)
        if engine is not None and not engine.stop_if_idle(0.0):
            raise Conflict("The model is writing answers or starting.", "Try again when it is done.")

    def give_way(self, to: str) -> str:
        """Begin to free the memory of one more engine, idle ones first; empty where none is left."""
        holding = [engine for engine in self._all() if engine.holds_memory]
        going = [engine for engine in holding if engine.gives_way]
        if not holding:
            return ""
        # One after the other: when there is room enough, the others stay.
        chosen = going[0] if going else min(holding, key=lambda engine: engine.use)
        return chosen.give_way(to)

    def keep(self) -> None:
        """Let the engines stay that have not begun to end."""
        for engine in self._all():
            engine.keep()

    def take_back(self) -> None:
        """Forget who needed the memory."""
        for engine in self._all():
            engine.take_back()

    def refuse_when(self, refuses: Refuses) -> None:
        """From now on, start no engine for which ``refuses`` names somebody who needs the memory."""
        self._refuses = refuses

    def tick(self) -> None:
        """Notice engines that died, and end those that are idle."""
        for engine in self._all():
            engine.notice()
            engine.stop_if_idle(self._idle_seconds)

    def close(self) -> None:
        """End every engine, answering or not; no new one starts."""
        with self._lock:
            self._closed = True
            engines = list(self._engines.values())
        for engine in engines:
            engine.close()

    def _all(self) -> list[Engine]:
        with self._lock:
            return list(self._engines.values())

    def _refusal(self, base_path: Path) -> str:
        return self._refuses(base_path)

    def _engine(self, row: BackendRow) -> Engine:
        with self._lock:
            if self._closed:
                raise Unavailable("The studio is closing.", "Ask again when it is back.")
            if row.base_id not in self._engines:
                self._engines[row.base_id] = Engine(
                    row.base_id,
                    row.base_path,
                    self._directory / f"{row.base_id}.log",
                    idle_seconds=self._idle_seconds,
                    ready_seconds=self._ready_seconds,
                    dtype=self._dtype,
                    refuses=self._refusal,
                )
            return self._engines[row.base_id]


def _refuses_nobody(_base_path: Path) -> str:
    return ""
