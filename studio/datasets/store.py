"""The SQL of the dataset room.

A version is inserted and its staging directory renamed in one transaction: the row never points to
nothing, and a directory without a row is a leftover that nobody reads.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.core.access import Access
from studio.core.actors import Actor
from studio.core.clock import now
from studio.core.database import Database, Row, insert
from studio.core.errors import Conflict
from studio.core.files import sync_directory
from studio.core.ids import new_id
from studio.core.lineage import Node
from studio.datasets.records import DatasetSummary, DatasetVersion, SchemaKind, Split

migrations = Migrations("datasets")

_VERSIONS = "SELECT v.*, d.name AS name FROM dataset_versions v JOIN datasets d ON d.id = v.dataset_id"


@migrations()
def datasets(db: SqliteUtils) -> None:
    db.execute(
        """CREATE TABLE datasets (
            id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT NOT NULL,
            created_at REAL NOT NULL, created_by TEXT NOT NULL
        ) STRICT"""
    )
    db.execute(
        """CREATE TABLE dataset_versions (
            id TEXT PRIMARY KEY, dataset_id TEXT NOT NULL REFERENCES datasets (id), number INTEGER NOT NULL,
            kind TEXT NOT NULL, digest TEXT NOT NULL, train_rows INTEGER NOT NULL,
            validation_rows INTEGER NOT NULL, parents TEXT NOT NULL, steps TEXT NOT NULL,
            licence TEXT NOT NULL, report TEXT, created_at REAL NOT NULL, created_by TEXT NOT NULL,
            UNIQUE (dataset_id, number), UNIQUE (dataset_id, digest)
        ) STRICT"""
    )
    db.execute(
        """CREATE TABLE dataset_imports (
            job_id TEXT PRIMARY KEY, request TEXT NOT NULL, actor TEXT NOT NULL, role TEXT NOT NULL,
            settled INTEGER NOT NULL DEFAULT 0, version_id TEXT REFERENCES dataset_versions (id),
            report TEXT, error TEXT, created_at REAL NOT NULL
        ) STRICT"""
    )


@dataclass(frozen=True)
class Draft:
    """A version before it has an id and a number; ``report`` is an import's report as JSON."""

    dataset: str
    description: str
    kind: SchemaKind
    digest: str
    rows: dict[Split, int]
    parents: tuple[str, ...]
    steps: tuple[dict[str, Any], ...]
    licence: str
    report: dict[str, Any] | None = None


@dataclass(frozen=True)
class PendingImport:
    """An import job as it was asked for, and what became of it (JSON values)."""

    job_id: str
    request: dict[str, Any]
    actor: str
    role: str
    settled: bool
    version_id: str | None
    report: dict[str, Any] | None
    error: dict[str, Any] | None


class DatasetStore:
    """Reads and writes datasets, versions and pending imports."""

    def __init__(self, database: Database, directory: Path, access: Access) -> None:
        self._database = database
        self._directory = directory
        self._access = access
        database.migrate(migrations)

    def publish(self, draft: Draft, staging: Path, actor: Actor) -> tuple[DatasetVersion, bool]:
        """The version of ``staging``'s files or the one that has the same content, and whether it is new.

        Raises:
            Conflict: The dataset holds rows of another kind, or is not the actor's to add to.
        """
        target: Path | None = None
        try:
            with self._database.write() as connection:
                dataset_id = self._dataset(connection, draft, actor)
                same = connection.execute(
                    "SELECT id FROM dataset_versions WHERE dataset_id = ? AND digest = ?",
                    (dataset_id, draft.digest),
                ).fetchone()
                version_id = same["id"] if same else new_id("dsv")
                if not same:
                    target = self._directory / version_id
                    staging.rename(target)
                    sync_directory(self._directory)
                    insert(
                        connection,
                        "dataset_versions",
                        _record(draft, version_id, dataset_id, connection, actor),
                    )
        except BaseException:
            if target and target.exists():
                target.rename(staging)
            raise
        version = self.by_id(version_id)
        assert version is not None
        return version, not same

    def _dataset(self, connection: sqlite3.Connection, draft: Draft, actor: Actor) -> str:
        found = connection.execute("SELECT * FROM datasets WHERE name = ?", (draft.dataset,)).fetchone()
        made_of = self._datasets_of(connection, draft.parents)
        if found is None:
            record = {
                "id": new_id("ds"),
                "name": draft.dataset,
                "description": draft.description,
                "created_at": now(),
                "created_by": actor.name,
            }
            insert(connection, "datasets", record)
            self._access.claim_on(connection, actor, Node("dataset", str(record["id"])), made_of)
            return str(record["id"])
        self._access.admit(actor, Node("dataset", found["id"]), draft.dataset, made_of)
        kind = connection.execute(
            "SELECT kind FROM dataset_versions WHERE dataset_id = ? LIMIT 1", (found["id"],)
        ).fetchone()
        if kind and kind["kind"] != draft.kind.value:
            raise Conflict(
                f"{draft.dataset} holds {kind['kind']} rows; these are {draft.kind.value} rows.",
                "Give the dataset another name.",
            )
        if draft.description:
            connection.execute(
                "UPDATE datasets SET description = ? WHERE id = ?", (draft.description, found["id"])
            )
        return str(found["id"])

    def _datasets_of(self, connection: sqlite3.Connection, versions: tuple[str, ...]) -> tuple[Node, ...]:
        sql = """SELECT DISTINCT dataset_id FROM dataset_versions
            WHERE id IN (SELECT value FROM json_each(?))"""
        rows = connection.execute(sql, (json.dumps(versions),)).fetchall()
        return tuple(Node("dataset", row["dataset_id"]) for row in rows)

    def by_id(self, version_id: str) -> DatasetVersion | None:
        """A version by its id."""
        return self._one(f"{_VERSIONS} WHERE v.id = ?", (version_id,))

    def numbered(self, dataset: str, number: int) -> DatasetVersion | None:
        """A version by its dataset's name and its number."""
        return self._one(f"{_VERSIONS} WHERE d.name = ? AND v.number = ?", (dataset, number))

    def newest(self, dataset: str) -> DatasetVersion | None:
        """The newest version of a dataset, by the dataset's name or id."""
        values = (dataset, dataset)
        return self._one(f"{_VERSIONS} WHERE d.name = ? OR d.id = ? ORDER BY v.number DESC LIMIT 1", values)

    def versions(self, dataset: str) -> tuple[DatasetVersion, ...]:
        """The versions of a dataset by its name or id, newest first."""
        rows = self._database.rows(
            f"{_VERSIONS} WHERE d.name = ? OR d.id = ? ORDER BY v.number DESC", (dataset, dataset)
        )
        return tuple(self._version(row) for row in rows)

    def summaries(self) -> tuple[DatasetSummary, ...]:
        """Every dataset that has a version, the one that changed last first."""
        rows = self._database.rows(
            """SELECT v.*, d.name AS name, d.description AS description, n.versions AS versions
            FROM datasets d
            JOIN (SELECT dataset_id, max(number) AS number, count(*) AS versions
                  FROM dataset_versions GROUP BY dataset_id) n ON n.dataset_id = d.id
            JOIN dataset_versions v ON v.dataset_id = d.id AND v.number = n.number
            ORDER BY v.created_at DESC, d.name"""
        )
        return tuple(
            DatasetSummary(
                row["dataset_id"], row["name"], row["description"], self._version(row), row["versions"]
            )
            for row in rows
        )

    def report(self, version_id: str) -> dict[str, Any] | None:
        """The report of the import that made a version, as JSON."""
        row = self._database.row("SELECT report FROM dataset_versions WHERE id = ?", (version_id,))
        return json.loads(row["report"]) if row and row["report"] else None

    def add_import(self, job_id: str, request: dict[str, Any], actor: Actor) -> None:
        """Remember an import before its job is submitted."""
        record = {
            "job_id": job_id,
            "request": json.dumps(request),
            "actor": actor.name,
            "role": actor.role.value,
            "created_at": now(),
        }
        with self._database.write() as connection:
            insert(connection, "dataset_imports", record)

    def settle_import(
        self, job_id: str, version_id: str | None, report: dict[str, Any] | None, error: dict[str, Any] | None
    ) -> None:
        """Write down what became of an import."""
        values = (version_id, _json(report), _json(error), job_id)
        with self._database.write() as connection:
            connection.execute(
                "UPDATE dataset_imports SET settled = 1, version_id = ?, report = ?, error = ?"
                " WHERE job_id = ?",
                values,
            )

    def pending_import(self, job_id: str) -> PendingImport | None:
        """An import job by its id."""
        row = self._database.row("SELECT * FROM dataset_imports WHERE job_id = ?", (job_id,))
        if row is None:
            return None
        report, error = (json.loads(row[name]) if row[name] else None for name in ("report", "error"))
        request = json.loads(row["request"])
        return PendingImport(
            job_id, request, row["actor"], row["role"], bool(row["settled"]), row["version_id"], report, error
        )

    def pseudonymise(self, name: str, pseudonym: str) -> None:
        """Put ``pseudonym`` where ``name`` stands as who made something."""
        with self._database.write() as connection:
            for table, column in (
                ("datasets", "created_by"),
                ("dataset_versions", "created_by"),
                ("dataset_imports", "actor"),
            ):
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (pseudonym, name))

    def unsettled_imports(self) -> tuple[str, ...]:
        """The jobs of the imports that nothing became of yet."""
        rows = self._database.rows("SELECT job_id FROM dataset_imports WHERE settled = 0 ORDER BY created_at")
        return tuple(row["job_id"] for row in rows)

    def _one(self, sql: str, values: tuple[Any, ...]) -> DatasetVersion | None:
        row = self._database.row(sql, values)
        return self._version(row) if row else None

    def _version(self, row: Row) -> DatasetVersion:
        return DatasetVersion(
            id=row["id"],
            dataset_id=row["dataset_id"],
            name=row["name"],
            number=row["number"],
            kind=SchemaKind(row["kind"]),
            digest=row["digest"],
            rows={Split.TRAIN: row["train_rows"], Split.VALIDATION: row["validation_rows"]},
            directory=self._directory / row["id"],
            parents=tuple(json.loads(row["parents"])),
            steps=tuple(json.loads(row["steps"])),
            licence=row["licence"],
            created_at=row["created_at"],
            created_by=row["created_by"],
        )


def _record(
    draft: Draft, version_id: str, dataset_id: str, connection: sqlite3.Connection, actor: Actor
) -> dict[str, Any]:
    newest = connection.execute(
        "SELECT coalesce(max(number), 0) AS number FROM dataset_versions WHERE dataset_id = ?", (dataset_id,)
    ).fetchone()
    return {
        "id": version_id,
        "dataset_id": dataset_id,
        "number": newest["number"] + 1,
        "kind": draft.kind.value,
        "digest": draft.digest,
        "train_rows": draft.rows.get(Split.TRAIN, 0),
        "validation_rows": draft.rows.get(Split.VALIDATION, 0),
        "parents": json.dumps(draft.parents),
        "steps": json.dumps(draft.steps, ensure_ascii=False),
        "licence": draft.licence,
        "report": _json(draft.report),
        "created_at": now(),
        "created_by": actor.name,
    }


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)
