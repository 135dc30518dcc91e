"""The registry's tables and the only SQL on them.

A version is inserted once and never updated or deleted; only an alias moves. Folders below the
studio's home are stored relative to it, so that a home can be moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.core import Access, Actor, Database, Node, Role, new_id, now
from studio.core.database import Row, insert
from studio.registry.records import Alias, ModelKind, ModelTask, ModelVersion

migrations = Migrations("registry")


@migrations()
def models(db: SqliteUtils) -> None:
    db.execute(
        """CREATE TABLE models (
            id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_at REAL NOT NULL
        ) STRICT"""
    )
    db.execute(
        """CREATE TABLE model_versions (
            id TEXT PRIMARY KEY, model_id TEXT NOT NULL REFERENCES models(id), number INTEGER NOT NULL,
            kind TEXT NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL,
            base_id TEXT NOT NULL REFERENCES model_versions(id),
            parent_id TEXT REFERENCES model_versions(id), run_id TEXT UNIQUE,
            licence TEXT NOT NULL, origin TEXT NOT NULL, parameters INTEGER NOT NULL,
            created_at REAL NOT NULL, created_by TEXT NOT NULL,
            UNIQUE (model_id, number)
        ) STRICT"""
    )
    db.execute("CREATE INDEX model_versions_base ON model_versions (base_id)")
    db.execute(
        """CREATE TABLE aliases (
            name TEXT PRIMARY KEY, version_id TEXT NOT NULL REFERENCES model_versions(id),
            moved_at REAL NOT NULL
        ) STRICT"""
    )


@migrations()
def model_jobs(db: SqliteUtils) -> None:
    """Who asked for a download or a conversion, where an erasure reaches the name."""
    db.execute(
        """CREATE TABLE model_jobs (
            job_id TEXT PRIMARY KEY, asked_by TEXT NOT NULL, role TEXT NOT NULL
        ) STRICT"""
    )


@migrations()
def tasks(db: SqliteUtils) -> None:
    """What a version is for; every one from before then writes answers."""
    db.execute("ALTER TABLE model_versions ADD COLUMN task TEXT NOT NULL DEFAULT 'chat'")


@dataclass(frozen=True)
class Entry:
    """A version to add; ``base_id`` None means that it is its own base."""

    name: str
    kind: ModelKind
    path: Path
    digest: str
    base_id: str | None
    parent_id: str | None
    run_id: str | None
    licence: str
    origin: str
    parameters: int
    created_by: str
    task: ModelTask = ModelTask.CHAT


_VERSION = "SELECT v.*, m.name FROM model_versions v JOIN models m ON m.id = v.model_id"


class RegistryStore:
    """Reads and adds versions and aliases."""

    def __init__(self, database: Database, home: Path, access: Access) -> None:
        self._database = database
        self._access = access
        self._home = home
        database.migrate(migrations)

    def add(self, actor: Actor, entry: Entry, made_of: tuple[Node, ...] = ()) -> tuple[ModelVersion, bool]:
        """The version for ``entry`` and whether it is new; a new name is the actor's.

        A run has one version; a base has one for each content under its name.

        Raises:
            Conflict: The name is not the actor's to add to.
        """
        identifier = new_id("model")
        with self._database.write() as connection:
            # The search stands inside the write transaction: two callers cannot both find nothing.
            existing = self.by_run(entry.run_id) if entry.run_id is not None else None
            if existing is None:
                model_id = self._model_id(connection, actor, entry.name, made_of)
                if entry.run_id is None:
                    existing = self.with_digest(entry.name, entry.digest)
            if existing is None:
                self._insert(connection, identifier, entry, model_id)
        if existing is not None:
            return existing, False
        added = self.by_id(identifier)
        assert added is not None  # just committed; there is no delete
        return added, True

    def all(self) -> tuple[ModelVersion, ...]:
        """Every version, newest first."""
        rows = self._database.rows(f"{_VERSION} ORDER BY v.created_at DESC, v.rowid DESC")
        return tuple(self._version(row) for row in rows)

    def by_id(self, identifier: str) -> ModelVersion | None:
        """The version with this id."""
        return self._one("v.id = ?", identifier)

    def by_run(self, run_id: str) -> ModelVersion | None:
        """The version that a run made."""
        return self._one("v.run_id = ?", run_id)

    def by_alias(self, name: str) -> ModelVersion | None:
        """The version that an alias stands for now."""
        return self._one("v.id = (SELECT version_id FROM aliases WHERE name = ?)", name)

    def newest(self, name: str) -> ModelVersion | None:
        """The version of a name with the highest number."""
        return self._one("m.name = ? ORDER BY v.number DESC LIMIT 1", name)

    def numbered(self, name: str, number: int) -> ModelVersion | None:
        """One version of a name."""
        return self._one("m.name = ? AND v.number = ?", name, number)

    def with_digest(self, name: str, digest: str) -> ModelVersion | None:
        """The version of a name with this content."""
        return self._one("m.name = ? AND v.digest = ?", name, digest)

    def move(self, name: str, version_id: str) -> Alias:
        """Let an alias stand for a version from now on."""
        alias = Alias(name, version_id, now())
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO aliases VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE"
                " SET version_id = excluded.version_id, moved_at = excluded.moved_at",
                (alias.name, alias.version_id, alias.moved_at),
            )
        return alias

    def aliases(self) -> tuple[Alias, ...]:
        """Every alias, by name."""
        rows = self._database.rows("SELECT * FROM aliases ORDER BY name")
        return tuple(Alias(row["name"], row["version_id"], row["moved_at"]) for row in rows)

    def model(self, name: str) -> Node | None:
        """What access to the models of a name is given by."""
        row = self._database.row("SELECT id FROM models WHERE name = ?", (name,))
        return None if row is None else Node("model", row["id"])

    def add_job(self, job_id: str, actor: Actor) -> None:
        """Keep who asked for a job."""
        values = {"job_id": job_id, "asked_by": actor.name, "role": actor.role.value}
        with self._database.write() as connection:
            insert(connection, "model_jobs", values)

    def asked_by(self, job_id: str) -> Actor | None:
        """Who asked for a job, or the pseudonym of who did; None for a job from before this was kept."""
        row = self._database.row("SELECT * FROM model_jobs WHERE job_id = ?", (job_id,))
        return Actor(row["asked_by"], Role(row["role"])) if row else None

    def pseudonymise(self, name: str, pseudonym: str) -> None:
        """Put ``pseudonym`` where ``name`` stands as who registered something."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE model_versions SET created_by = ? WHERE created_by = ?", (pseudonym, name)
            )
            connection.execute("UPDATE model_jobs SET asked_by = ? WHERE asked_by = ?", (pseudonym, name))

    def _model_id(self, connection: Connection, actor: Actor, name: str, made_of: tuple[Node, ...]) -> str:
        known = self.model(name)
        if known is not None:
            self._access.admit(actor, known, name, made_of)
            return known.id
        made = Node("model", new_id("name"))
        connection.execute("INSERT INTO models VALUES (?, ?, ?)", (made.id, name, now()))
        self._access.claim_on(connection, actor, made, made_of)
        return made.id

    def _insert(self, connection: Connection, identifier: str, entry: Entry, model_id: str) -> None:
        record = {
            "id": identifier,
            "model_id": model_id,
            "number": _next_number(connection, model_id),
            "kind": entry.kind.value,
            "path": self._stored(entry.path),
            "digest": entry.digest,
            "base_id": entry.base_id or identifier,
            "parent_id": entry.parent_id,
            "run_id": entry.run_id,
            "licence": entry.licence,
            "origin": entry.origin,
            "parameters": entry.parameters,
            "created_at": now(),
            "created_by": entry.created_by,
            "task": entry.task.value,
        }
        insert(connection, "model_versions", record)

    def _one(self, where: str, *values: str | int) -> ModelVersion | None:
        row = self._database.row(f"{_VERSION} WHERE {where}", values)
        return None if row is None else self._version(row)

    def _version(self, row: Row) -> ModelVersion:
        return ModelVersion(
            id=row["id"],
            name=row["name"],
            number=row["number"],
            kind=ModelKind(row["kind"]),
            path=self._home / row["path"],
            digest=row["digest"],
            base_id=row["base_id"],
            parent_id=row["parent_id"],
            run_id=row["run_id"],
            licence=row["licence"],
            origin=row["origin"],
            parameters=row["parameters"],
            created_at=row["created_at"],
            created_by=row["created_by"],
            model_id=row["model_id"],
            task=ModelTask(row["task"]),
        )

    def _stored(self, path: Path) -> str:
        return str(path.relative_to(self._home) if path.is_relative_to(self._home) else path)


def _next_number(connection: Connection, model_id: str) -> int:
    newest = "SELECT coalesce(max(number), 0) + 1 AS next FROM model_versions WHERE model_id = ?"
    number: int = connection.execute(newest, (model_id,)).fetchone()["next"]
    return number
