"""The SQL of protected prompts: which prompts (as digests) must not be trained on, and because of what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.core.clock import now
from studio.core.database import Database, insert
from studio.datasets.records import Split

migrations = Migrations("protected_prompts")


@migrations()
def protected_prompts(db: SqliteUtils) -> None:
    """What protects prompts, and which."""
    db.execute(
        """CREATE TABLE protections (
            id INTEGER PRIMARY KEY, version_id TEXT NOT NULL REFERENCES dataset_versions (id),
            split TEXT NOT NULL, purpose TEXT NOT NULL, at REAL NOT NULL, by TEXT NOT NULL,
            UNIQUE (version_id, split, purpose)
        ) STRICT"""
    )
    db.execute(
        """CREATE TABLE protected_prompts (
            key BLOB NOT NULL, protection_id INTEGER NOT NULL REFERENCES protections (id),
            PRIMARY KEY (key, protection_id)
        ) STRICT, WITHOUT ROWID"""
    )


@dataclass(frozen=True)
class Protection:
    """What protects a prompt: a split of a version that serves ``purpose``."""

    version_id: str
    split: Split
    purpose: str


class ProtectionStore:
    """Reads and adds protected prompts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate(migrations)

    def known(self, protection: Protection) -> bool:
        """Whether these prompts are protected already."""
        sql = "SELECT 1 FROM protections WHERE version_id = ? AND split = ? AND purpose = ?"
        values = (protection.version_id, protection.split.value, protection.purpose)
        return self._database.row(sql, values) is not None

    def add(self, protection: Protection, keys: Iterable[bytes], by: str) -> None:
        """Protect prompts; doing it again changes nothing."""
        values = {**vars(protection), "split": protection.split.value, "at": now(), "by": by}
        with self._database.write() as connection:
            if self.known(protection):
                return
            insert(connection, "protections", values)
            number = connection.execute("SELECT last_insert_rowid() AS id").fetchone()["id"]
            connection.executemany(
                "INSERT INTO protected_prompts VALUES (?, ?)", ((key, number) for key in keys)
            )

    def all(self) -> frozenset[bytes]:
        """The digest of every protected prompt."""
        return frozenset(
            row["key"] for row in self._database.rows("SELECT DISTINCT key FROM protected_prompts")
        )

    def of(self, key: bytes) -> tuple[Protection, ...]:
        """What protects a prompt, oldest first."""
        rows = self._database.rows(
            """SELECT protections.* FROM protected_prompts
            JOIN protections ON protections.id = protection_id WHERE key = ? ORDER BY protections.id""",
            (key,),
        )
        return tuple(Protection(row["version_id"], Split(row["split"]), row["purpose"]) for row in rows)

    def pseudonymise(self, name: str, pseudonym: str) -> None:
        """Put ``pseudonym`` in the place of a name."""
        with self._database.write() as connection:
            connection.execute("UPDATE protections SET by = ? WHERE by = ?", (pseudonym, name))
