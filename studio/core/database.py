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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlite_utils
from sqlite_utils import Migrations

_BUSY_SECONDS = 30.0

Row = sqlite3.Row
Values = Sequence[Any] | dict[str, Any]


class Database:
    """One SQLite file, shared by the threads of a process; each thread has its own connection."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._local = threading.local()
        self._writer = threading.Lock()
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
        """One durable transaction; rolled back if the block raises."""
        connection = self._connection()
        with self._writer:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.commit()
            except BaseException:
                if connection.in_transaction:
                    connection.rollback()
                raise

    def rows(self, sql: str, values: Values = ()) -> list[Row]:
        """All rows of a query."""
        return self._connection().execute(sql, values).fetchall()

    def row(self, sql: str, values: Values = ()) -> Row | None:
        """The first row of a query, or None."""
        found: Row | None = self._connection().execute(sql, values).fetchone()
        return found

    def close(self) -> None:
        """Close the connections of every thread."""
        with self._register:
            for connection in self._all.values():
                connection.close()
            self._all.clear()
        self._local = threading.local()

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
    columns = ", ".join(record)
    marks = ", ".join(f":{name}" for name in record)
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", record)


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
