"""The annotation room's tables.

The invariants: a label is never changed or removed, and one nonce makes one row. Triggers hold both,
also against ``INSERT OR REPLACE``. They do not stop someone who can alter the schema.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.annotation.records import Label, NewLabel, Queue
from studio.core import Conflict, Database, new_id, now
from studio.core.database import Row, insert
from studio.datasets import Outcome

migrations = Migrations("annotation")


@migrations()
def queues_and_labels(db: SqliteUtils) -> None:
    for statement in _FIRST:
        db.execute(statement)


_FIRST = (
    """CREATE TABLE queues (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
        dataset_version_id TEXT NOT NULL, items INTEGER NOT NULL, salt TEXT NOT NULL,
        created_at REAL NOT NULL, created_by TEXT NOT NULL,
        UNIQUE (dataset_version_id, name)
    ) STRICT""",
    """CREATE TABLE guidelines (
        queue_id TEXT NOT NULL REFERENCES queues (id), version INTEGER NOT NULL, text TEXT NOT NULL,
        at REAL NOT NULL, by TEXT NOT NULL, PRIMARY KEY (queue_id, version)
    ) STRICT""",
    """CREATE TABLE labels (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, nonce TEXT NOT NULL UNIQUE,
        queue_id TEXT NOT NULL REFERENCES queues (id), item_id TEXT NOT NULL, position INTEGER NOT NULL,
        outcome TEXT NOT NULL, withdrawn INTEGER NOT NULL, chosen_side TEXT NOT NULL
        CHECK (chosen_side IN ('a', 'b')), comment TEXT NOT NULL, better_answer TEXT NOT NULL,
        annotator TEXT NOT NULL, guideline_version INTEGER NOT NULL, supersedes TEXT REFERENCES labels (id),
        shown_at REAL, labelled_at REAL NOT NULL, active_seconds REAL
    ) STRICT""",
    "CREATE INDEX labels_annotator ON labels (queue_id, annotator, item_id, number)",
    """CREATE TRIGGER labels_never_updated BEFORE UPDATE ON labels
    BEGIN SELECT RAISE(ABORT, 'labels is append-only'); END""",
    """CREATE TRIGGER labels_never_deleted BEFORE DELETE ON labels
    BEGIN SELECT RAISE(ABORT, 'labels is append-only'); END""",
    # INSERT OR REPLACE deletes without firing the trigger above.
    """CREATE TRIGGER labels_never_replaced BEFORE INSERT ON labels
    WHEN EXISTS (SELECT 1 FROM labels WHERE number = NEW.number OR id = NEW.id OR nonce = NEW.nonce)
    BEGIN SELECT RAISE(ABORT, 'labels is append-only'); END""",
)


@dataclass(frozen=True)
class Entry:
    """A label with what its annotator was not told: the side on which the dataset's chosen answer stood."""

    label: Label
    position: int
    chosen_side: str


class AnnotationStore:
    """Reads and adds queues and labels."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate(migrations)

    def open_queue(
        self, version_id: str, name: str, guideline: str, items: int, by: str
    ) -> tuple[Queue, bool]:
        """The queue of that version and name, made if there is none; and whether it is new.

        A guideline that differs from the queue's becomes its next version; an empty one changes nothing.
        """
        with self._database.write() as connection:
            found = _queue_row(connection, "dataset_version_id = ? AND name = ?", (version_id, name))
            queue_id = found["id"] if found else new_id("queue")
            if found is None:
                queue = {
                    "id": queue_id,
                    "name": name,
                    "dataset_version_id": version_id,
                    "items": items,
                    "salt": secrets.token_hex(16),
                    "created_at": now(),
                    "created_by": by,
                }
                insert(connection, "queues", queue)
                _add_guideline(connection, queue_id, 1, guideline, by)
            elif guideline and guideline != found["guideline"]:
                _add_guideline(connection, queue_id, found["guideline_version"] + 1, guideline, by)
            row = _queue_row(connection, "id = ?", (queue_id,))
            assert row is not None
        return _queue(row), found is None

    def queue(self, queue_id: str) -> Queue | None:
        """The queue with that id."""
        row = self._database.row(f"{_QUEUES} WHERE id = ?", (queue_id,))
        return _queue(row) if row else None

    def queues(self) -> tuple[Queue, ...]:
        """All queues, the newest first."""
        return tuple(_queue(row) for row in self._database.rows(f"{_QUEUES} ORDER BY number DESC"))

    def salt(self, queue_id: str) -> str:
        """What makes the queue's sides impossible to guess from ids that annotators see."""
        return str(self._database.rows("SELECT salt FROM queues WHERE id = ?", (queue_id,))[0]["salt"])

    def add_label(
        self, queue: Queue, new: NewLabel, annotator: str, position: int, chosen_side: str
    ) -> tuple[Entry, bool]:
        """Store a label over the annotator's earlier one; of a known nonce, return the label it made.

        Returns:
            The label, and whether it is new.

        Raises:
            Conflict: The nonce belongs to something else.
        """
        with self._database.write() as connection:
            known = _by_nonce(connection, new.nonce)
            if known is not None:
                return _unless_other(known, _means_the_same(known.label, new, annotator)), False
            earlier = _newest(connection, queue.id, annotator, new.item_id)
            label = Label(
                id=new_id("label"),
                queue_id=queue.id,
                item_id=new.item_id,
                outcome=new.outcome,
                withdrawn=False,
                comment=new.comment,
                better_answer=new.better_answer,
                annotator=annotator,
                guideline_version=queue.guideline_version,
                supersedes=earlier.label.id if earlier else None,
                shown_at=new.shown_at,
                labelled_at=now(),
                active_seconds=new.active_seconds,
            )
            entry = Entry(label, position, chosen_side)
            _insert(connection, entry, new.nonce)
            return entry, True

    def withdraw(self, queue: Queue, annotator: str, nonce: str) -> tuple[Entry | None, bool]:
        """Take back the annotator's newest standing label; None where there is none.

        Returns:
            The withdrawal, and whether it is new.

        Raises:
            Conflict: The nonce belongs to something else.
        """
        with self._database.write() as connection:
            known = _by_nonce(connection, nonce)
            if known is not None:
                label = known.label
                same = (label.queue_id, label.annotator, label.withdrawn) == (queue.id, annotator, True)
                return _unless_other(known, same), False
            sql = _standing("queue_id = ? AND annotator = ?")
            last = connection.execute(f"{sql} DESC LIMIT 1", (queue.id, annotator)).fetchone()
            if last is None:
                return None, False
            taken = _entry(last)
            label = replace(
                taken.label,
                id=new_id("label"),
                withdrawn=True,
                supersedes=taken.label.id,
                labelled_at=now(),
            )
            entry = Entry(label, taken.position, taken.chosen_side)
            _insert(connection, entry, nonce)
            return entry, True

    def standing(self, queue_id: str = "", annotator: str = "") -> tuple[Entry, ...]:
        """The newest entry of each person for each item, withdrawn ones left out; oldest first."""
        wanted = {"queue_id": queue_id, "annotator": annotator}
        given = {column: value for column, value in wanted.items() if value}
        sql = _standing(" AND ".join(f"{column} = :{column}" for column in given) or "TRUE")
        return tuple(_entry(row) for row in self._database.rows(sql, given))


_QUEUES = """SELECT queues.*, guidelines.text AS guideline, guidelines.version AS guideline_version
    FROM queues JOIN guidelines ON guidelines.queue_id = queues.id AND guidelines.version = (
        SELECT max(version) FROM guidelines WHERE queue_id = queues.id)"""


def _standing(where: str) -> str:
    return f"""SELECT * FROM labels WHERE NOT withdrawn AND number IN (
        SELECT max(number) FROM labels WHERE {where} GROUP BY queue_id, annotator, item_id)
        ORDER BY number"""


def _queue_row(connection: sqlite3.Connection, where: str, values: Iterable[Any]) -> Row | None:
    row: Row | None = connection.execute(f"{_QUEUES} WHERE {where}", tuple(values)).fetchone()
    return row


def _add_guideline(connection: sqlite3.Connection, queue_id: str, version: int, text: str, by: str) -> None:
    record = {"queue_id": queue_id, "version": version, "text": text, "at": now(), "by": by}
    insert(connection, "guidelines", record)


def _newest(connection: sqlite3.Connection, queue_id: str, annotator: str, item_id: str) -> Entry | None:
    row = connection.execute(
        "SELECT * FROM labels WHERE queue_id = ? AND annotator = ? AND item_id = ? "
        "ORDER BY number DESC LIMIT 1",
        (queue_id, annotator, item_id),
    ).fetchone()
    return _entry(row) if row else None


def _by_nonce(connection: sqlite3.Connection, nonce: str) -> Entry | None:
    row = connection.execute("SELECT * FROM labels WHERE nonce = ?", (nonce,)).fetchone()
    return _entry(row) if row else None


def _means_the_same(known: Label, new: NewLabel, annotator: str) -> bool:
    # Times are left out: a client that measures again before its retry means the same label.
    before = (known.queue_id, known.item_id, known.outcome, known.comment, known.better_answer)
    again = (new.queue_id, new.item_id, new.outcome, new.comment, new.better_answer)
    return (*before, known.annotator, known.withdrawn) == (*again, annotator, False)


def _unless_other(known: Entry, same: bool) -> Entry:
    if not same:
        raise Conflict("This nonce belongs to another label.", "Send each label or undo with its own.")
    return known


def _insert(connection: sqlite3.Connection, entry: Entry, nonce: str) -> None:
    own = {"nonce": nonce, "position": entry.position, "chosen_side": entry.chosen_side}
    insert(connection, "labels", {**asdict(entry.label), **own})


def _queue(row: Row) -> Queue:
    return Queue(
        id=row["id"],
        name=row["name"],
        dataset_version_id=row["dataset_version_id"],
        guideline=row["guideline"],
        guideline_version=row["guideline_version"],
        items=row["items"],
        created_at=row["created_at"],
        created_by=row["created_by"],
    )


def _entry(row: Row) -> Entry:
    own = ("number", "nonce", "position", "chosen_side")
    values = {key: row[key] for key in row.keys() if key not in own}  # noqa: SIM118 - a Row is no dict
    values["outcome"] = Outcome(row["outcome"])
    values["withdrawn"] = bool(row["withdrawn"])
    return Entry(Label(**values), row["position"], row["chosen_side"])
