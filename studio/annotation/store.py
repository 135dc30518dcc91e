"""What the annotation room keeps: projects, guidelines, items, and the labels that stand.

One store serves the whole process: projects are read for every label, so they are held in memory until
this store changes them. Labels and leases have stores of their own beside it (``label_store``,
``place_store``), over the same tables.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.annotation.entries import entry_of, project_of
from studio.annotation.items import dump_texts, item_id, load_texts
from studio.annotation.records import (
    Entry,
    ItemKind,
    Members,
    NewProject,
    Project,
    ProjectChange,
    ProjectState,
    Standing,
    StoredItem,
)
from studio.annotation.schema_store import LABELLED, migrations
from studio.core import Conflict, Database, new_id, now
from studio.core.database import Row, insert

#: SQLite takes more bound values than this in one statement.
_AT_ONCE = 500


@dataclass(frozen=True)
class Known:
    """A project with its secret; ``single`` says that its items have one answer."""

    project: Project
    salt: str
    single: bool


class AnnotationStore:
    """Reads and changes projects and their items; reads the labels that stand."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, Known] = {}
        self._changes = 0
        self._lock = threading.Lock()
        database.migrate(migrations)

    def open(
        self,
        new: NewProject,
        state: ProjectState,
        version_id: str | None,
        gold_id: str | None,
        items: Sequence[StoredItem],
        by: str,
        *,
        single: bool = False,
    ) -> Project:
        """Store a project with its items.

        Raises:
            Conflict: There is a project of that name.
        """
        project_id, salt = new_id("project"), secrets.token_hex(16)
        record = {
            "id": project_id,
            "name": new.name,
            "task": new.task.value,
            "source": new.source.value,
            "state": state.value,
            "problem": "",
            "dataset_version_id": version_id,
            "overlap": new.overlap,
            "target": new.target,
            "single": int(single),
            **_members(new.members),
            "models": json.dumps(new.models),
            "suggestion_model": new.suggestion_model,
            "gold_version_id": gold_id,
            "gold_every": new.gold_every,
            "repeat_every": new.repeat_every,
            "lease_seconds": new.lease_seconds,
            "items": 0,
            "stored": 0,
            "salt": salt,
            "cursor": 0,
            "created_at": now(),
            "created_by": by,
        }
        with self._database.write() as connection:
            _name_is_free(connection, new.name, project_id)
            insert(connection, "projects", record)
            _add_guideline(connection, project_id, 1, new.guideline, by)
            _add_items(connection, project_id, items)
        return self.known(project_id).project

    def change(self, project_id: str, change: ProjectChange, by: str) -> Project:
        """Apply what is not None.

        Raises:
            Conflict: There is another project of that name.
        """
        plain = ("name", "overlap", "state", "lease_seconds", "gold_every", "repeat_every")
        values: dict[str, Any] = {name: getattr(change, name) for name in plain}
        if change.members is not None:
            values |= _members(change.members)
        values = {name: value for name, value in values.items() if value is not None}
        with self._database.write() as connection:
            row = _project_row(connection, project_id)
            if change.name is not None:
                _name_is_free(connection, change.name, project_id)
            if change.overlap is not None:
                connection.execute(
                    "UPDATE items SET missing = missing + ? WHERE project_id = ? AND kind = 'data'",
                    (change.overlap - row["overlap"], project_id),
                )
            if change.guideline is not None and change.guideline != row["guideline"]:
                _add_guideline(connection, project_id, row["guideline_version"] + 1, change.guideline, by)
            _update_project(connection, project_id, values)
        self._forget()
        return self.known(project_id).project

    def set_state(self, project_id: str, state: ProjectState, problem: str = "") -> None:
        """Say where a project stands; ``problem`` says why it failed, or what is to be known of it."""
        self._set(project_id, {"state": state.value, "problem": problem})

    def set_job(self, project_id: str, job_id: str) -> None:
        """Name the job that works for a project."""
        self._set(project_id, {"job_id": job_id})

    def project(self, project_id: str) -> Project | None:
        """The project with that id."""
        known = self.find(project_id)
        return known.project if known else None

    def find(self, project_id: str) -> Known | None:
        """The same with its secret."""
        known = self._known.get(project_id)
        if known is not None:
            return known
        changes = self._changes
        row = self._database.row(f"{_PROJECTS} WHERE projects.id = ?", (project_id,))
        if row is None:
            return None
        known = Known(project_of(row), row["salt"], bool(row["single"]))
        with self._lock:
            # What was changed while it was read is not kept.
            if changes == self._changes:
                self._known[project_id] = known
        return known

    def known(self, project_id: str) -> Known:
        """The same of a project that is certainly there."""
        found = self.find(project_id)
        assert found is not None
        return found

    def projects(self) -> tuple[Project, ...]:
        """All projects, the newest first."""
        rows = self._database.rows(f"{_PROJECTS} ORDER BY projects.number DESC")
        return tuple(project_of(row) for row in rows)

    def guideline(self, project_id: str, version: int) -> str | None:
        """A version of the guideline, from 1."""
        sql = "SELECT text FROM project_guidelines WHERE project_id = ? AND version = ?"
        row = self._database.row(sql, (project_id, version))
        return str(row["text"]) if row else None

    def add_items(self, project_id: str, items: Sequence[StoredItem]) -> None:
        """Add items; the store gives them their ids and positions, those that they carry are ignored."""
        with self._database.write() as connection:
            _add_items(connection, project_id, items)
        self._forget()

    def cursor(self, project_id: str) -> int:
        """How far the project's source was read."""
        return int(self._database.rows("SELECT cursor FROM projects WHERE id = ?", (project_id,))[0][0])

    def add_from(self, project_id: str, after: int, cursor: int, items: Sequence[StoredItem]) -> bool:
        """Add what was read of a source between two cursors; False where somebody else did it first."""
        with self._database.write() as connection:
            sql = "UPDATE projects SET cursor = ? WHERE id = ? AND cursor = ?"
            if not connection.execute(sql, (cursor, project_id, after)).rowcount:
                return False
            _add_items(connection, project_id, items)
        self._forget()
        return True

    def untold(self) -> tuple[Project, ...]:
        """The projects with items that have no texts, because a migration could not read them."""
        where = "EXISTS (SELECT 1 FROM items WHERE project_id = projects.id AND NOT EXISTS (" + (
            "SELECT 1 FROM texts WHERE project_id = items.project_id AND position = items.position))"
        )
        return tuple(project_of(row) for row in self._database.rows(f"{_PROJECTS} WHERE {where}"))

    def add_texts(self, project_id: str, items: Sequence[StoredItem]) -> None:
        """Give the items of ``untold`` their texts, in the order of their positions."""
        with self._database.write() as connection:
            sql = "INSERT OR IGNORE INTO texts VALUES (?, ?, ?)"
            connection.executemany(sql, _texts(project_id, 0, items))

    def items(self, project_id: str, positions: Collection[int] | None = None) -> tuple[StoredItem, ...]:
        """A project's items with their texts, all or those at some positions, in order."""
        if positions is None:
            return tuple(_item(row) for row in self._database.rows(f"{_ITEMS} ORDER BY 1", (project_id,)))
        wanted = sorted(set(positions))
        rows: list[Row] = []
        for start in range(0, len(wanted), _AT_ONCE):
            part = wanted[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(part))
            sql = f"{_ITEMS} AND items.position IN ({marks}) ORDER BY 1"
            rows += self._database.rows(sql, (project_id, *part))
        return tuple(_item(row) for row in rows)

    def standing(self, project_id: str, annotator: str = "") -> tuple[Entry, ...]:
        """The newest entry of each person for each item, withdrawn ones left out; oldest first."""
        own = "AND places.annotator = :annotator" if annotator else ""
        sql = f"""SELECT labels.* FROM places JOIN labels ON labels.number = places.label
            WHERE places.project_id = :project {own} AND places.state > 0 ORDER BY labels.number"""
        rows = self._database.rows(sql, {"project": project_id, "annotator": annotator})
        return tuple(entry_of(row) for row in rows)

    def first_entries(self, project_id: str) -> tuple[Entry, ...]:
        """The first answer of each person to each gold item and repeat, and to what they saw repeated.

        These are what people are scored by: a later correction or an undo changes nothing of them, and to
        skip first does not hide the answer that came after. Oldest first.
        """
        rows = self._database.rows(_FIRSTS, {"project": project_id})
        return tuple(entry_of(row) for row in rows)

    def standing_at(self, project_id: str, position: int) -> tuple[Entry, ...]:
        """The standing labels of an item, oldest first; skips and repeats are left out."""
        sql = """SELECT labels.* FROM places JOIN labels ON labels.number = places.label
            WHERE places.project_id = ? AND places.position = ? AND places.state = ?
            AND places.kind <> 'repeat' ORDER BY labels.number"""
        return tuple(entry_of(row) for row in self._database.rows(sql, (project_id, position, LABELLED)))

    def add_suggestions(self, project_id: str, found: Mapping[int, tuple[Standing, float]]) -> None:
        """Keep what a model thinks of the items at some positions; ``margin`` is in nats."""
        rows = [(project_id, place, standing.value, margin) for place, (standing, margin) in found.items()]
        with self._database.write() as connection:
            connection.executemany("INSERT OR REPLACE INTO suggestions VALUES (?, ?, ?, ?)", rows)

    def suggestions(self, project_id: str, positions: Collection[int]) -> dict[int, tuple[Standing, float]]:
        """What a model thinks of the items at some positions, where it was asked."""
        wanted = list(positions)[:_AT_ONCE]
        marks = ", ".join("?" * len(wanted))
        sql = f"SELECT * FROM suggestions WHERE project_id = ? AND position IN ({marks})"
        rows = self._database.rows(sql, (project_id, *wanted))
        return {row["position"]: (Standing(row["standing"]), row["margin"]) for row in rows}

    def pseudonymise(self, name: str, pseudonym: str) -> tuple[str, ...]:
        """Put ``pseudonym`` (``erased-...``) in the place of a name; the ids of all labels under it."""
        with self._database.write() as connection:
            sql = "SELECT id FROM labels WHERE annotator IN (?, ?)"
            rows = connection.execute(sql, (name, pseudonym)).fetchall()
            for table, column in _NAMES:
                sql = f"UPDATE {table} SET {column} = ? WHERE {column} = ?"
                connection.execute(sql, (pseudonym, name))
            connection.execute("DELETE FROM places WHERE annotator = ? AND label IS NULL", (pseudonym,))
            for row in connection.execute("SELECT id, people FROM projects").fetchall():
                people = [person for person in json.loads(row["people"]) if person != name]
                _update_project(connection, row["id"], {"people": json.dumps(people)})
        self._forget()
        return tuple(str(row["id"]) for row in rows)

    def _forget(self) -> None:
        with self._lock:
            self._changes += 1
            self._known.clear()

    def _set(self, project_id: str, values: dict[str, Any]) -> None:
        with self._database.write() as connection:
            _update_project(connection, project_id, values)
        self._forget()


#: Where people's names stand.
_NAMES = (
    ("labels", "annotator"),
    ("places", "annotator"),
    ("tallies", "annotator"),
    ("looks", "annotator"),
    ("projects", "created_by"),
    ("project_guidelines", "by"),
)

_PROJECTS = """SELECT projects.*, g.text AS guideline, g.version AS guideline_version
    FROM projects JOIN project_guidelines AS g ON g.project_id = projects.id AND g.version = (
        SELECT max(version) FROM project_guidelines WHERE project_id = projects.id)"""

# The newest row of a place may withdraw the first one; the first one itself never does.
_FIRSTS = """SELECT * FROM labels WHERE number IN (
    SELECT min(number) FROM labels AS one WHERE project_id = :project AND verdict <> 'skip'
    AND (kind <> 'data' OR EXISTS (SELECT 1 FROM places WHERE project_id = :project
        AND annotator = one.annotator AND position = one.position AND kind = 'repeat'))
    GROUP BY annotator, item_id) ORDER BY number"""

_ITEMS = """SELECT items.position, items.id, kind, truth, battle_id, content FROM items JOIN texts
    ON texts.project_id = items.project_id AND texts.position = items.position WHERE items.project_id = ?"""


def _project_row(connection: sqlite3.Connection, project_id: str) -> Row:
    row: Row = connection.execute(f"{_PROJECTS} WHERE projects.id = ?", (project_id,)).fetchone()
    return row


def _name_is_free(connection: sqlite3.Connection, name: str, project_id: str) -> None:
    sql = "SELECT 1 FROM projects WHERE name = ? AND id <> ?"
    if connection.execute(sql, (name, project_id)).fetchone():
        raise Conflict(f"There is a project called {name}.", "Give this one another name.")


def _update_project(connection: sqlite3.Connection, project_id: str, values: Mapping[str, Any]) -> None:
    if values:
        changes = ", ".join(f"{name} = :{name}" for name in values)
        connection.execute(f"UPDATE projects SET {changes} WHERE id = :id", {**values, "id": project_id})


def _add_guideline(connection: sqlite3.Connection, project_id: str, version: int, text: str, by: str) -> None:
    record = {"project_id": project_id, "version": version, "text": text, "at": now(), "by": by}
    insert(connection, "project_guidelines", record)


def _add_items(connection: sqlite3.Connection, project_id: str, items: Sequence[StoredItem]) -> None:
    row = connection.execute("SELECT * FROM projects WHERE id = ?", (project_id,)).fetchone()
    first, overlap, salt = row["stored"], row["overlap"], row["salt"]
    connection.executemany(
        "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                project_id,
                place,
                item_id(salt, place),
                item.kind.value,
                item.truth.value if item.truth else None,
                item.battle_id,
                overlap if item.kind is ItemKind.DATA else 0,
            )
            for place, item in enumerate(items, first)
        ],
    )
    connection.executemany("INSERT INTO texts VALUES (?, ?, ?)", _texts(project_id, first, items))
    data = sum(item.kind is ItemKind.DATA for item in items)
    values = {"stored": first + len(items), "items": row["items"] + data}
    _update_project(connection, project_id, values)


def _texts(project_id: str, first: int, items: Iterable[StoredItem]) -> list[tuple[Any, ...]]:
    return [
        (project_id, place, dump_texts(item.prompt, item.first, item.second))
        for place, item in enumerate(items, first)
    ]


def _members(members: Members) -> dict[str, str]:
    return {"roles": json.dumps(members.roles), "people": json.dumps(members.people)}


def _item(row: Row) -> StoredItem:
    prompt, first, second = load_texts(row["content"])
    truth = Standing(row["truth"]) if row["truth"] else None
    return StoredItem(
        row["id"], row["position"], ItemKind(row["kind"]), prompt, first, second, truth, row["battle_id"]
    )
