"""Who did what to which object: an append-only log in the database.

It records what the services were asked to do and did. It is not tamper-proof against someone who
can write the database file.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.core.actors import Actor, require
from studio.core.clock import now
from studio.core.database import Database, insert
from studio.core.lineage import Node

migrations = Migrations("audit")


@migrations()
def audit(db: SqliteUtils) -> None:
    db.execute(
        """CREATE TABLE audit (
            id INTEGER PRIMARY KEY, at REAL NOT NULL, actor TEXT NOT NULL, role TEXT NOT NULL,
            verb TEXT NOT NULL, kind TEXT NOT NULL, object_id TEXT NOT NULL, detail TEXT NOT NULL
        ) STRICT"""
    )


@dataclass(frozen=True)
class AuditEntry:
    """One line of the log; ``at`` is seconds since the epoch."""

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
        entry = {
            "at": now(),
            "actor": actor.name,
            "role": actor.role.value,
            "verb": verb,
            "kind": target.kind,
            "object_id": target.id,
            "detail": detail,
        }
        with self._database.write() as connection:
            insert(connection, "audit", entry)

    def recent(self, actor: Actor, limit: int = 100) -> tuple[AuditEntry, ...]:
        """The newest entries first; for admins."""
        require(actor)
        rows = self._database.rows("SELECT * FROM audit ORDER BY id DESC LIMIT ?", (limit,))
        return tuple(
            AuditEntry(
                row["at"],
                row["actor"],
                row["role"],
                row["verb"],
                Node(row["kind"], row["object_id"]),
                row["detail"],
            )
            for row in rows
        )
