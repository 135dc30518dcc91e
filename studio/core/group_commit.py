"""Many small writes in one durable transaction.

A commit with full sync waits for the disk, and the disk does not care how many rows wait with it. So one
thread takes whatever is queued, does it in one transaction, and lets every caller go on once that is on
disk. The invariant is that of ``Database.write()``: what ``run`` returned from is durable. Each piece
of work has its own savepoint, so one that raises takes nothing back but itself.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

T = TypeVar("T")

#: As much work as one transaction takes; more waits for the next one.
_MOST_AT_ONCE = 256
#: Writers that the last commit let go need a moment to come back. Waiting this long for them is much
#: shorter than the commit that they would otherwise miss.
_GATHER_SECONDS = 0.001

Write = Callable[[], AbstractContextManager[sqlite3.Connection]]


class _Task:
    __slots__ = ("done", "error", "result", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], Any]) -> None:
        self.work = work
        self.result: Any = None
        self.error: BaseException | None = None
        # A lock that is released once is the cheapest thing to wait for.
        self.done = threading.Lock()
        self.done.acquire()


class GroupCommit:
    """The one thread that writes for many; it starts with the first work and ends with ``close``."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._queue: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._expected = 1

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do ``work`` on a connection inside a transaction; returns when it is on disk.

        ``work`` must be quick and must not write by any other way: it holds up every other writer.

        Raises:
            RuntimeError: The database is closed.
        """
        task = _Task(work)
        with self._starting:
            if self._closed:
                raise RuntimeError("The database is closed.")
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="group-commit", daemon=True)
                self._thread.start()
            self._queue.put(task)
        task.done.acquire()
        if task.error is not None:
            raise task.error
        result: T = task.result
        return result

    def close(self) -> None:
        """Do what is queued, then end the thread."""
        with self._starting:
            self._closed = True
            thread, self._thread = self._thread, None
            self._queue.put(None)
        if thread is not None:
            thread.join()

    def _serve(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, ends = self._gather(first)
            self._commit(batch)
            if ends:
                return

    def _gather(self, first: _Task) -> tuple[list[_Task], bool]:
        batch = [first]
        until = time.monotonic() + _GATHER_SECONDS
        while len(batch) < _MOST_AT_ONCE:
            wait = until - time.monotonic() if len(batch) < self._expected else 0.0
            try:
                task = self._queue.get(timeout=wait) if wait > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if task is None:
                return batch, True
            batch.append(task)
        return batch, False

    def _commit(self, batch: list[_Task]) -> None:
        try:
            with self._write() as connection:
                for task in batch:
                    _attempt(task, connection)
        except BaseException as error:
            for task in batch:
                task.error = task.error or error
        # Those that are let go now are likely to come back, and those that wait already are there. Without
        # the latter, two halves of the writers would take turns for ever, each in a commit of its own.
        self._expected = len(batch) + self._queue.qsize()
        for task in batch:
            task.done.release()


def _attempt(task: _Task, connection: sqlite3.Connection) -> None:
    connection.execute("SAVEPOINT work")
    try:
        task.result = task.work(connection)
    except Exception as error:
        task.error = error
        connection.execute("ROLLBACK TO work")
    connection.execute("RELEASE work")
