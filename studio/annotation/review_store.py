"""The adjudications' table: append-only, like labels; one nonce makes one row.

The newest row of an item counts. A person's name in it can be replaced by a pseudonym and by nothing
else; a trigger holds that. It does not stop someone who can alter the schema.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.annotation.records import Verdict
from studio.annotation.review_records import Adjudication
from studio.core import Audit, Conflict, Database, Lineage
from studio.core.actors import Actor
from studio.core.database import Row, insert
from studio.core.lineage import Edge, Node

migrations = Migrations("adjudication")


@migrations()
def adjudications(db: SqliteUtils) -> None:
    """The table and its triggers."""
    for statement in _FIRST:
        db.execute(statement)


_FIRST = (
    """CREATE TABLE adjudications (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, nonce TEXT NOT NULL UNIQUE,
        project_id TEXT NOT NULL, item_id TEXT NOT NULL, position INTEGER NOT NULL,
        verdict TEXT NOT NULL, first_side TEXT NOT NULL CHECK (first_side IN ('a', 'b')),
        rating_a INTEGER, rating_b INTEGER, comment TEXT NOT NULL, better_answer TEXT NOT NULL,
        adjudicator TEXT NOT NULL, own_label INTEGER NOT NULL,
        supersedes TEXT REFERENCES adjudications (id), at REAL NOT NULL
    ) STRICT""",
    "CREATE INDEX adjudications_item ON adjudications (project_id, position, number)",
    """CREATE TRIGGER adjudications_never_updated BEFORE UPDATE OF number, id, nonce, project_id, item_id,
        position, verdict, first_side, rating_a, rating_b, comment, better_answer, own_label, supersedes, at
        ON adjudications
    BEGIN SELECT RAISE(ABORT, 'adjudications is append-only'); END""",
    """CREATE TRIGGER adjudications_only_pseudonyms BEFORE UPDATE OF adjudicator ON adjudications
    WHEN NEW.adjudicator NOT LIKE 'erased-%'
    BEGIN SELECT RAISE(ABORT, 'adjudications is append-only'); END""",
    """CREATE TRIGGER adjudications_never_deleted BEFORE DELETE ON adjudications
    BEGIN SELECT RAISE(ABORT, 'adjudications is append-only'); END""",
    # INSERT OR REPLACE deletes without firing the trigger above.
    """CREATE TRIGGER adjudications_never_replaced BEFORE INSERT ON adjudications
    WHEN EXISTS (SELECT 1 FROM adjudications
        WHERE number = NEW.number OR id = NEW.id OR nonce = NEW.nonce)
    BEGIN SELECT RAISE(ABORT, 'adjudications is append-only'); END""",
)

_NEWEST = """SELECT * FROM adjudications WHERE project_id = ? AND number IN (
    SELECT max(number) FROM adjudications WHERE project_id = ? GROUP BY position) ORDER BY number"""


class ReviewStore:
    """Reads and adds adjudications."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate(migrations)

    def adjudications(self, project_id: str) -> tuple[Adjudication, ...]:
        """The one that counts of each item, in the order in which they were made."""
        rows = self._database.rows(_NEWEST, (project_id, project_id))
        return tuple(_adjudication(row) for row in rows)

    def by_nonce(self, nonce: str) -> Adjudication | None:
        """What a nonce made."""
        row = self._database.row("SELECT * FROM adjudications WHERE nonce = ?", (nonce,))
        return _adjudication(row) if row else None

    def add(
        self,
        new: Adjudication,
        nonce: str,
        edges: tuple[Edge, ...],
        lineage: Lineage,
        audit: Audit,
        actor: Actor,
    ) -> Adjudication:
        """Store one with its edges and its line in the audit, all or nothing; of a known nonce, return its.

        Raises:
            Conflict: The nonce belongs to another decision.
        """
        with self._database.write() as connection:
            row = connection.execute("SELECT * FROM adjudications WHERE nonce = ?", (nonce,)).fetchone()
            if row is not None:
                return _same_or_conflict(_adjudication(row), new)
            values: dict[str, Any] = {**asdict(new), "nonce": nonce, "own_label": int(new.own_label)}
            insert(connection, "adjudications", values)
            lineage.link_on(connection, edges)
            audit.record_on(connection, actor, "adjudicated", Node("adjudication", new.id), new.item_id)
            return new

    def pseudonymise(self, name: str, pseudonym: str) -> tuple[str, ...]:
        """Put ``pseudonym`` (``erased-...``) in the place of a name; the ids of all that is under it now."""
        with self._database.write() as connection:
            sql = "SELECT id FROM adjudications WHERE adjudicator IN (?, ?)"
            rows = connection.execute(sql, (name, pseudonym))
            found = tuple(str(row["id"]) for row in rows.fetchall())
            connection.execute(
                "UPDATE adjudications SET adjudicator = ? WHERE adjudicator = ?", (pseudonym, name)
            )
        return found


def _same_or_conflict(known: Adjudication, new: Adjudication) -> Adjudication:
    if _meaning(known) != _meaning(new):
        raise Conflict("This nonce belongs to another decision.", "Send each decision with its own.")
    return known


def _meaning(one: Adjudication) -> tuple[object, ...]:
    said = (one.verdict, one.rating_a, one.rating_b, one.comment, one.better_answer)
    return (one.project_id, one.position, one.adjudicator, *said)


def _adjudication(row: Row) -> Adjudication:
    values = {key: row[key] for key in row.keys() if key not in ("number", "nonce")}  # noqa: SIM118
    values["verdict"] = Verdict(values["verdict"])
    values["own_label"] = bool(values["own_label"])
    return Adjudication(**values)
