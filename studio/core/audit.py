"""Who did what to which object: an append-only log in the database.

It records what the services were asked to do and did. Its one change is that the name of a person who is
erased gives way to a pseudonym. It is not tamper-proof against someone who can write the database file.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.core.actors import Actor, require
from studio.core.clock import now
from studio.core.database import Database, Row, insert
from studio.core.lineage import Node

migrations = Migrations("audit")

_LARGEST_PAGE = 10_000


@migrations()
def audit(db: SqliteUtils) -> None:
    db.execute(
        """CREATE TABLE audit (
            id INTEGER PRIMARY KEY, at REAL NOT NULL, actor TEXT NOT NULL, role TEXT NOT NULL,
            verb TEXT NOT NULL, kind TEXT NOT NULL, object_id TEXT NOT NULL, detail TEXT NOT NULL
        ) STRICT"""
    )


@migrations()
def audit_search(db: SqliteUtils) -> None:
    db.execute("CREATE INDEX audit_actor ON audit (actor, id)")
    db.execute("CREATE INDEX audit_object ON audit (kind, object_id, id)")


@dataclass(frozen=True)
class AuditEntry:
    """One line of the log; ``at`` is seconds since the epoch, and ``id`` grows with each entry."""

    id: int
    at: float
    actor: str
    role: str
    verb: str
    target: Node
    detail: str


class Audit:
    """Appends to and reads the log."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate(migrations)

    def record(self, actor: Actor, verb: str, target: Node, detail: str = "") -> None:
        """Append one entry: ``verb`` is a past participle such as ``imported`` or ``stopped``."""
        with self._database.write() as connection:
            self.record_on(connection, actor, verb, target, detail)

    def record_on(
        self, connection: sqlite3.Connection, actor: Actor, verb: str, target: Node, detail: str = ""
    ) -> None:
        """The same within a transaction that the caller has open, so that both happen or neither."""
        entry = {
            "at": now(),
            "actor": actor.name,
            "role": actor.role.value,
            "verb": verb,
            "kind": target.kind,
            "object_id": target.id,
            "detail": detail,
        }
        insert(connection, "audit", entry)

    def recent(self, actor: Actor, limit: int = 100) -> tuple[AuditEntry, ...]:
        """The newest entries first; for admins."""
        return self.search(actor, limit=limit)

    def search(
        self,
        actor: Actor,
        *,
        person: str = "",
        verb: str = "",
        kind: str = "",
        object_id: str = "",
        before: int | None = None,
        limit: int = 100,
    ) -> tuple[AuditEntry, ...]:
        """The newest entries first that fit everything that is given; for admins.

        Args:
            actor: Who asks.
            person: The name of who did it.
            verb: What was done.
            kind: To which kind of object.
            object_id: To which object.
            before: Only entries older than the one of this id: the last of a page leads to the next page.
            limit: How many at most, 1 to 10,000.

        Raises:
            Forbidden: The actor is no admin.
        """
        require(actor)
        wanted = {"actor": person, "verb": verb, "kind": kind, "object_id": object_id}
        given = {column: value for column, value in wanted.items() if value}
        if not all(_storable(value) for value in given.values()):
            return ()
        where = ["TRUE", *(f"{column} = :{column}" for column in given)]
        if before is not None:
            where.append("id < :before")
        sql = f"SELECT * FROM audit WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT :limit"
        values = {**given, "before": before, "limit": min(max(limit, 1), _LARGEST_PAGE)}
        return tuple(_entry(row) for row in self._database.rows(sql, values))

    def verbs(self, actor: Actor) -> tuple[str, ...]:
        """Every verb that stands in the log; for admins."""
        return self._words(actor, "verb")

    def kinds(self, actor: Actor) -> tuple[str, ...]:
        """Every kind of object that stands in the log; for admins."""
        return self._words(actor, "kind")

    def rename_on(self, connection: sqlite3.Connection, name: str, pseudonym: str) -> None:
        """Put ``pseudonym`` where ``name`` stands as who acted or as the account that was acted on."""
        connection.execute("UPDATE audit SET actor = ? WHERE actor = ?", (pseudonym, name))
        sql = "UPDATE audit SET object_id = ? WHERE kind = 'account' AND object_id = ?"
        connection.execute(sql, (pseudonym, name))

    def _words(self, actor: Actor, column: str) -> tuple[str, ...]:
        require(actor)
        rows = self._database.rows(f"SELECT DISTINCT {column} AS word FROM audit ORDER BY word")
        return tuple(row["word"] for row in rows)


def _entry(row: Row) -> AuditEntry:
    target = Node(row["kind"], row["object_id"])
    return AuditEntry(row["id"], row["at"], row["actor"], row["role"], row["verb"], target, row["detail"])


def _storable(text: str) -> bool:
    """Whether the database could hold it at all; half of a surrogate pair makes its driver raise."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
