"""One writer at a time, whole transactions, foreign keys, durable settings."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from studio.core import Database
from studio.core.database import insert


def _counter(database: Database) -> None:
    with database.write() as connection:
        connection.execute("CREATE TABLE counter (n INTEGER NOT NULL) STRICT")
        connection.execute("INSERT INTO counter VALUES (0)")


def test_four_threads_lose_no_increment(database: Database) -> None:
    _counter(database)

    def increment(_: int) -> None:
        with database.write() as connection:
            [n] = connection.execute("SELECT n FROM counter").fetchone()
            connection.execute("UPDATE counter SET n = ?", (n + 1,))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(increment, range(200)))
    row = database.row("SELECT n FROM counter")
    assert row is not None
    assert row["n"] == 200


def test_two_databases_on_one_file_queue_for_the_lock(database: Database) -> None:
    _counter(database)
    other = Database(database.path)

    def increment(which: Database) -> None:
        for _ in range(50):
            with which.write() as connection:
                [n] = connection.execute("SELECT n FROM counter").fetchone()
                connection.execute("UPDATE counter SET n = ?", (n + 1,))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(increment, (database, other)))
    assert database.rows("SELECT n FROM counter")[0]["n"] == 100
    other.close()


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    _counter(database)
    with pytest.raises(RuntimeError), database.write() as connection:
        connection.execute("UPDATE counter SET n = 7")
        raise RuntimeError
    assert database.rows("SELECT n FROM counter")[0]["n"] == 0


def test_a_misspelled_table_is_an_error(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError), database.write() as connection:
        insert(connection, "countre", {"n": 1})


def test_foreign_keys_full_sync_and_wal_are_on(database: Database) -> None:
    assert database.rows("PRAGMA foreign_keys")[0][0] == 1
    assert database.rows("PRAGMA synchronous")[0][0] == 2
    assert database.rows("PRAGMA journal_mode")[0][0] == "wal"


def test_a_thread_that_ended_leaves_no_connection_open(database: Database) -> None:
    def read() -> None:
        database.rows("SELECT 1")

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    database.rows("SELECT 1")
    before = descriptors()
    for _ in range(20):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert descriptors() <= before + 4


def test_a_failed_commit_leaves_the_thread_able_to_write(database: Database) -> None:
    with database.write() as connection:
        connection.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT")
        reference = "parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED"
        connection.execute(f"CREATE TABLE child ({reference}) STRICT")
    with pytest.raises(sqlite3.IntegrityError), database.write() as connection:
        connection.execute("INSERT INTO child VALUES (7)")
    with database.write() as connection:
        connection.execute("INSERT INTO parent VALUES (7)")
    assert len(database.rows("SELECT * FROM parent")) == 1
