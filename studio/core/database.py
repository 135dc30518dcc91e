"""SQLite as the studio uses it: WAL, foreign keys, full sync, and writers that queue in this process.

The invariant: a ``write()`` block is one ``BEGIN IMMEDIATE`` transaction that is on disk when the
block ends, or never happened. Deferred transactions are not used for writing, because two of them
that both upgrade fail with "database is locked" however long the timeout is.

It does not protect against a database on a network file system.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import sqlite_utils
from sqlite_utils import Migrations

from studio.core.group_commit import GroupCommit

_BUSY_SECONDS = 30.0

T = TypeVar("T")

Row = sqlite3.Row
Values = Sequence[Any] | dict[str, Any]


class Database:
    """One SQLite file, shared by the threads of a process; each thread has its own connection."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._local = threading.local()
        self._writer = threading.Lock()
        self._owner: int | None = None
        self._group = GroupCommit(self.write)
        self._all: dict[threading.Thread, sqlite3.Connection] = {}
        self._register = threading.Lock()
        with _alone(path):
            # The mode stays with the file. Connections that each set it again could find it locked.
            self._connection().execute("PRAGMA journal_mode = WAL")

    def migrate(self, migrations: Migrations) -> None:
        """Apply what is pending of one room's migrations; each is atomic with its record."""
        with self._writer, _alone(self.path):
            migrations.apply(sqlite_utils.Database(self._connection()))

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One durable transaction; rolled back if the block raises.

        Raises:
            RuntimeError: This thread is inside another one, and would wait for itself for ever.
        """
        self._not_within()
        connection = self._connection()
        with self._writer, self._owned():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.commit()
            except BaseException:
                if connection.in_transaction:
                    connection.rollback()
                raise

    def grouped(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do ``work`` in a durable transaction that it shares with whatever else is waiting to be written.

        For many small writes at once, such as labels: see ``studio.core.group_commit``.

        Raises:
            RuntimeError: This thread is inside ``write()``, which the other transaction would wait for.
        """
        self._not_within()
        return self._group.run(work)

    def rows(self, sql: str, values: Values = ()) -> list[Row]:
        """All rows of a query."""
        return self._connection().execute(sql, values).fetchall()

    def row(self, sql: str, values: Values = ()) -> Row | None:
        """The first row of a query, or None."""
        found: Row | None = self._connection().execute(sql, values).fetchone()
        return found

    def close(self) -> None:
        """Write what is queued and close the connections of every thread."""
        self._group.close()
        with self._register:
            for connection in self._all.values():
                connection.close()
            self._all.clear()
        self._local = threading.local()

    def _not_within(self) -> None:
        if self._owner == threading.get_ident():
            raise RuntimeError("A transaction cannot be begun inside another one.")

    @contextmanager
    def _owned(self) -> Iterator[None]:
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            self._owner = None

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = _connect(self.path)
            self._local.connection = connection
            with self._register:
                self._close_orphans()
                self._all[threading.current_thread()] = connection
        return connection

    def _close_orphans(self) -> None:
        """Close the connections of threads that have ended: each holds two file descriptors."""
        for thread in [thread for thread in self._all if not thread.is_alive()]:
            self._all.pop(thread).close()


def insert(connection: sqlite3.Connection, table: str, record: dict[str, Any]) -> None:
    """Insert one row; unlike sqlite-utils' own, a misspelled table or column is an error."""
    connection.execute(_insertion(table, tuple(record)), record)


@lru_cache(maxsize=256)
def _insertion(table: str, columns: tuple[str, ...]) -> str:
    marks = ", ".join(f":{name}" for name in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Only one process at a time creates or migrates a database.

    Switching to WAL does not wait for a lock, and migrations begin deferred: two studios that open a
    new home at the same moment would fail with "database is locked".
    """
    with path.with_name(f"{path.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _connect(path: Path) -> sqlite3.Connection:
    # check_same_thread is off only so that close() can end other threads' connections.
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection
