"""Work that shares a transaction: each piece stands or falls alone, and what returned is on disk."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from studio.core import Database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(tmp_path / "studio.db")
    with made.write() as connection:
        connection.execute("CREATE TABLE notes (text TEXT PRIMARY KEY) STRICT")
    return made


def _add(text: str) -> object:
    def work(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO notes VALUES (?)", (text,))
        return text

    return work


def _others_see(database: Database) -> set[str]:
    """What another process would read."""
    with sqlite3.connect(database.path) as connection:
        found = {row[0] for row in connection.execute("SELECT text FROM notes")}
    connection.close()
    return found


def test_what_returned_is_stored(database: Database) -> None:
    assert database.grouped(_add("one")) == "one"
    assert _others_see(database) == {"one"}
    database.close()


def test_eight_writers_lose_nothing(database: Database) -> None:
    def write(writer: int) -> None:
        for number in range(25):
            database.grouped(_add(f"{writer}-{number}"))
            assert f"{writer}-{number}" in _others_see(database)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(_others_see(database)) == 200
    database.close()


def test_one_that_fails_takes_nothing_else_back(database: Database) -> None:
    started = threading.Event()
    go_on = threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO notes VALUES ('slow')")
        started.set()
        go_on.wait(10)

    def twice(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO notes VALUES ('half')")
        connection.execute("INSERT INTO notes VALUES ('slow')")

    failures: list[BaseException] = []

    def fail() -> None:
        try:
            database.grouped(twice)
        except sqlite3.IntegrityError as error:
            failures.append(error)

    first = threading.Thread(target=database.grouped, args=(slow,))
    first.start()
    assert started.wait(10)
    # These two wait together, so they share the next transaction.
    others = [threading.Thread(target=fail), threading.Thread(target=database.grouped, args=(_add("good"),))]
    for thread in others:
        thread.start()
    go_on.set()
    for thread in (first, *others):
        thread.join()
    assert len(failures) == 1
    assert _others_see(database) == {"slow", "good"}
    database.close()


def test_a_closed_database_takes_no_more(database: Database) -> None:
    database.grouped(_add("last"))
    database.close()
    with pytest.raises(RuntimeError, match="closed"):
        database.grouped(_add("late"))
    assert _others_see(database) == {"last"}


def test_a_transaction_inside_another_is_refused_and_blocks_nobody(database: Database) -> None:
    with pytest.raises(RuntimeError, match="inside another"), database.write():
        database.grouped(_add("one"))
    with pytest.raises(RuntimeError, match="inside another"), database.write(), database.write():
        pass
    with pytest.raises(RuntimeError, match="inside another"):
        database.grouped(lambda _: database.grouped(_add("two")))
    assert database.grouped(_add("three")) == "three"
    assert _others_see(database) == {"three"}
    database.close()
