"""The tables of the serving room: generations, and deployments with every revision they had.

The invariant: a generation and a revision never change and never go, save that the name of an erased
person gives way to a pseudonym. Triggers hold it, also against
``INSERT OR REPLACE``; they do not stop someone who can alter the schema.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.core import Conflict, Database, new_id, now
from studio.core.database import Row, insert
from studio.core.erasable import only_pseudonyms
from studio.serving.records import (
    ChatMessage,
    Deployment,
    DeploymentState,
    Generation,
    Sampling,
    VariantSpec,
)
from studio.serving.router import Allocation, Stretch

migrations = Migrations("serving")

_IMMUTABLE = """
CREATE TRIGGER {table}_never_updated BEFORE UPDATE ON {table}
BEGIN SELECT RAISE(ABORT, '{table} are immutable'); END;
CREATE TRIGGER {table}_never_deleted BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, '{table} are immutable'); END;
-- INSERT OR REPLACE deletes without firing the trigger above.
CREATE TRIGGER {table}_never_replaced BEFORE INSERT ON {table}
WHEN EXISTS (SELECT 1 FROM {table} WHERE {same})
BEGIN SELECT RAISE(ABORT, '{table} are immutable'); END;
"""


@migrations()
def generations(db: SqliteUtils) -> None:
    _run(
        db,
        """
        CREATE TABLE generations (
            id TEXT PRIMARY KEY, messages TEXT NOT NULL, text TEXT NOT NULL,
            model_version_id TEXT NOT NULL, deployment TEXT NOT NULL, variant TEXT NOT NULL,
            sampling TEXT NOT NULL, seed INTEGER NOT NULL,
            template_digest TEXT NOT NULL, prompt_digest TEXT NOT NULL,
            prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
            finish_reason TEXT NOT NULL CHECK (finish_reason IN ('stop', 'length', 'cancelled', 'error')),
            first_token_seconds REAL, seconds REAL NOT NULL, error TEXT NOT NULL,
            user TEXT NOT NULL, source TEXT NOT NULL, created_at REAL NOT NULL
        ) STRICT;
        CREATE INDEX generations_created ON generations (created_at);
        CREATE INDEX generations_variant ON generations (deployment, variant);
        """
        + _IMMUTABLE.format(table="generations", same="id = NEW.id"),
    )


@migrations()
def deployments(db: SqliteUtils) -> None:
    _run(
        db,
        """
        CREATE TABLE deployments (
            id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_at REAL NOT NULL
        ) STRICT;
        CREATE TABLE deployment_revisions (
            deployment_id TEXT NOT NULL REFERENCES deployments (id), revision INTEGER NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('live', 'retired')), variants TEXT NOT NULL,
            allocation TEXT NOT NULL, changed_at REAL NOT NULL, changed_by TEXT NOT NULL,
            PRIMARY KEY (deployment_id, revision)
        ) STRICT;
        """
        + _IMMUTABLE.format(
            table="deployment_revisions",
            same="deployment_id = NEW.deployment_id AND revision = NEW.revision",
        ),
    )


@migrations()
def erasable(db: SqliteUtils) -> None:
    db.execute("DROP TRIGGER generations_never_updated")
    columns = (
        "id messages text model_version_id deployment variant sampling seed template_digest prompt_digest"
        " prompt_tokens completion_tokens finish_reason first_token_seconds seconds error source created_at"
    )
    message = "generations are immutable"
    db.execute(only_pseudonyms("generations", "user", columns.split(), message))
    db.execute("DROP TRIGGER deployment_revisions_never_updated")
    columns = "deployment_id revision state variants allocation changed_at"
    message = "deployment_revisions are immutable"
    db.execute(only_pseudonyms("deployment_revisions", "changed_by", columns.split(), message))


@dataclass(frozen=True)
class Standing:
    """A deployment with the points that its variants own, which only the router needs."""

    deployment: Deployment
    allocation: Allocation


@dataclass(frozen=True)
class Change:
    """A revision to add to the deployment called ``name``; ``expected`` is the revision it was made from."""

    name: str
    expected: int
    state: DeploymentState
    variants: tuple[VariantSpec, ...]
    allocation: Allocation
    by: str


class GenerationStore:
    """Adds and reads generations."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate(migrations)

    def add(self, connection: sqlite3.Connection, generation: Generation) -> None:
        """Store one answer in the caller's transaction."""
        record = {name: getattr(generation, name) for name in Generation.__dataclass_fields__}
        del record["redacted"]
        record["messages"] = json.dumps([m.model_dump() for m in generation.messages], ensure_ascii=False)
        record["sampling"] = generation.sampling.model_dump_json()
        insert(connection, "generations", record)

    def get(self, generation_id: str) -> Generation | None:
        """The generation with that id."""
        row = self._database.row("SELECT * FROM generations WHERE id = ?", (generation_id,))
        return None if row is None else _generation(row)

    def newest(self, limit: int, offset: int, deployment: str) -> tuple[Generation, ...]:
        """A stretch of the generations, newest first, of one deployment or of all."""
        where = "deployment = :deployment" if deployment else "TRUE"
        rows = self._database.rows(
            f"SELECT * FROM generations WHERE {where} ORDER BY rowid DESC LIMIT :limit OFFSET :offset",
            {"deployment": deployment, "limit": limit, "offset": offset},
        )
        return tuple(_generation(row) for row in rows)

    def pseudonymise(self, name: str, pseudonym: str) -> None:
        """Put ``pseudonym`` where ``name`` stands as who asked."""
        with self._database.write() as connection:
            connection.execute("UPDATE generations SET user = ? WHERE user = ?", (pseudonym, name))

    def answers_by_variant(self, deployment: str, without: Collection[str] = ()) -> dict[str, int]:
        """How many answers each variant of a deployment gave.

        Cancelled and failed ones are left out, and those whose ids are in ``without``.
        """
        rows = self._database.rows(
            "SELECT variant, count(*) AS answers FROM generations"
            " WHERE deployment = ? AND finish_reason IN ('stop', 'length')"
            " AND id NOT IN (SELECT value FROM json_each(?)) GROUP BY variant",
            (deployment, json.dumps(sorted(without))),
        )
        return {row["variant"]: row["answers"] for row in rows}


class DeploymentStore:
    """Adds and reads deployments and their revisions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate(migrations)

    def add(self, change: Change) -> Standing:
        """Store a revision; the first one creates the deployment.

        Raises:
            Conflict: Someone else changed the deployment meanwhile.
        """
        with self._database.write() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO deployments VALUES (?, ?, ?)", (new_id("dep"), change.name, now())
            )
            newest = connection.execute(
                "SELECT id, (SELECT coalesce(max(revision), 0) FROM deployment_revisions"
                " WHERE deployment_id = id) AS revision FROM deployments WHERE name = ?",
                (change.name,),
            ).fetchone()
            if newest["revision"] != change.expected:
                raise Conflict(
                    f"{change.name} was changed by someone else just now.", "Look again and retry."
                )
            insert(connection, "deployment_revisions", _revision(newest["id"], change))
        added = self.standing(change.name)
        assert added is not None  # just committed; there is no delete
        return added

    def pseudonymise(self, name: str, pseudonym: str) -> None:
        """Put ``pseudonym`` where ``name`` stands as who changed a deployment."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE deployment_revisions SET changed_by = ? WHERE changed_by = ?", (pseudonym, name)
            )

    def standing(self, name: str, revision: int | None = None) -> Standing | None:
        """A deployment as it stands, or as it stood at a revision."""
        found = self._standings("d.name = ?", name) if revision is None else self.history(name)
        wanted = [s for s in found if revision in (None, s.deployment.revision)]
        return wanted[0] if wanted else None

    def all(self) -> tuple[Standing, ...]:
        """Every deployment as it stands, by name."""
        return self._standings("TRUE")

    def history(self, name: str) -> tuple[Standing, ...]:
        """Every state of a deployment, newest first."""
        rows = self._database.rows(f"{_REVISIONS} WHERE d.name = ? ORDER BY r.revision DESC", (name,))
        return tuple(_standing(row) for row in rows)

    def _standings(self, where: str, *values: str) -> tuple[Standing, ...]:
        rows = self._database.rows(
            f"{_REVISIONS} WHERE {where} AND r.revision = (SELECT max(revision) FROM deployment_revisions"
            " WHERE deployment_id = d.id) ORDER BY d.name",
            values,
        )
        return tuple(_standing(row) for row in rows)


_REVISIONS = (
    "SELECT d.id, d.name, r.* FROM deployments d JOIN deployment_revisions r ON r.deployment_id = d.id"
)


def _revision(deployment_id: str, change: Change) -> dict[str, str | int | float]:
    return {
        "deployment_id": deployment_id,
        "revision": change.expected + 1,
        "state": change.state.value,
        "variants": json.dumps([_dump_variant(v) for v in change.variants], ensure_ascii=False),
        "allocation": json.dumps([[s.start, s.end, s.variant] for s in change.allocation]),
        "changed_at": now(),
        "changed_by": change.by,
    }


def _dump_variant(variant: VariantSpec) -> dict[str, object]:
    return {
        "name": variant.name,
        "model_version_id": variant.model_version_id,
        "weight": variant.weight,
        "system_prompt": variant.system_prompt,
        "sampling": variant.sampling.model_dump(),
    }


def _standing(row: Row) -> Standing:
    variants = tuple(
        VariantSpec(**{**stored, "sampling": Sampling(**stored["sampling"])})
        for stored in json.loads(row["variants"])
    )
    deployment = Deployment(
        id=row["id"],
        name=row["name"],
        revision=row["revision"],
        state=DeploymentState(row["state"]),
        variants=variants,
        changed_at=row["changed_at"],
        changed_by=row["changed_by"],
    )
    return Standing(deployment, tuple(Stretch(*parts) for parts in json.loads(row["allocation"])))


def _generation(row: Row) -> Generation:
    values = {name: row[name] for name in row.keys()}  # noqa: SIM118  # a sqlite3.Row iterates over values
    values["messages"] = tuple(ChatMessage(**m) for m in json.loads(row["messages"]))
    values["sampling"] = Sampling.model_validate_json(row["sampling"])
    return Generation(**values)


def _run(db: SqliteUtils, script: str) -> None:
    """Run statements one by one: ``executescript`` would commit the migration's transaction."""
    for statement in _statements(script):
        db.execute(statement)


def _statements(script: str) -> Sequence[str]:
    found: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    return found
