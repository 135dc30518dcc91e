"""The table of runs and the only SQL on it.

A run is open while ``ended_at`` is NULL: its state is then its job's. It is ended once, together with
everything it made; a resume opens it again under a new job.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, replace
from typing import Any

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.core.database import Database, Row, insert
from studio.jobs import JobState
from studio.training.records import Stage

migrations = Migrations("training")


@migrations()
def runs(db: SqliteUtils) -> None:
    db.execute(
        """CREATE TABLE runs (
            id TEXT PRIMARY KEY, request_id TEXT UNIQUE, name TEXT NOT NULL, stage TEXT NOT NULL,
            recipe TEXT NOT NULL, output TEXT NOT NULL, seed INTEGER NOT NULL,
            dataset_version_ids TEXT NOT NULL, model_version_id TEXT NOT NULL, packages TEXT NOT NULL,
            job_id TEXT NOT NULL UNIQUE, attempts INTEGER NOT NULL, state TEXT NOT NULL,
            reason TEXT NOT NULL, summary TEXT NOT NULL, output_version_id TEXT,
            peak_memory_bytes INTEGER, created_at REAL NOT NULL, created_by TEXT NOT NULL,
            role TEXT NOT NULL, ended_at REAL
        ) STRICT"""
    )
    db.execute("CREATE INDEX runs_created ON runs (created_at)")
    db.execute("CREATE INDEX runs_open ON runs (id) WHERE ended_at IS NULL")


@dataclass(frozen=True)
class Entry:
    """A run as it is stored; ``state`` of an open one is what it was opened with."""

    id: str
    request_id: str | None
    name: str
    stage: Stage
    recipe: str
    output: str
    seed: int
    dataset_version_ids: tuple[str, ...]
    model_version_id: str
    packages: dict[str, str]
    job_id: str
    attempts: int
    created_at: float
    created_by: str
    role: str
    state: JobState = JobState.QUEUED
    reason: str = ""
    summary: dict[str, float] | None = None
    output_version_id: str | None = None
    peak_memory_bytes: int | None = None
    ended_at: float | None = None


@dataclass(frozen=True)
class Ending:
    """How a run ended under the job ``job_id``."""

    job_id: str
    state: JobState
    reason: str
    summary: dict[str, float]
    output_version_id: str | None
    peak_memory_bytes: int | None
    ended_at: float


class RunStore:
    """Reads and writes runs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate(migrations)

    def add(self, entry: Entry) -> Entry:
        """Store a new run; where its request id is known already, the run of that request is returned."""
        name = entry.name
        try:
            with self._database.write() as connection:
                if not name:
                    made = "SELECT count(*) FROM runs WHERE output = ?"
                    count = connection.execute(made, (entry.output,)).fetchone()[0]
                    name = f"{entry.output} {count + 1}"
                insert(connection, "runs", _record(replace(entry, name=name)))
        except sqlite3.IntegrityError:
            known = self.by_request(entry.request_id)
            if known is None:
                raise
            return known
        return replace(entry, name=name)

    def get(self, run_id: str) -> Entry | None:
        """The run with an id."""
        return _entry(self._database.row("SELECT * FROM runs WHERE id = ?", (run_id,)))

    def by_request(self, request_id: str | None) -> Entry | None:
        """The run that a request started."""
        if not request_id:
            return None
        return _entry(self._database.row("SELECT * FROM runs WHERE request_id = ?", (request_id,)))

    def newest(self, limit: int) -> tuple[Entry, ...]:
        """The newest runs first."""
        sql = "SELECT * FROM runs ORDER BY created_at DESC, rowid DESC LIMIT ?"
        return _entries(self._database.rows(sql, (limit,)))

    def pseudonymise(self, name: str, pseudonym: str) -> None:
        """Put ``pseudonym`` where ``name`` stands as who started a run."""
        with self._database.write() as connection:
            connection.execute("UPDATE runs SET created_by = ? WHERE created_by = ?", (pseudonym, name))

    def open(self) -> tuple[Entry, ...]:
        """The runs that have not ended."""
        return _entries(self._database.rows("SELECT * FROM runs WHERE ended_at IS NULL"))

    def end(self, run_id: str, ending: Ending) -> bool:
        """Close an open run; False where someone else did, or where it has another job by now."""
        with self._database.write() as connection:
            done = connection.execute(
                """UPDATE runs SET state = ?, reason = ?, summary = ?, output_version_id = ?,
                   peak_memory_bytes = ?, ended_at = ?
                   WHERE id = ? AND job_id = ? AND ended_at IS NULL""",
                (
                    ending.state.value,
                    ending.reason,
                    json.dumps(ending.summary),
                    ending.output_version_id,
                    ending.peak_memory_bytes,
                    ending.ended_at,
                    run_id,
                    ending.job_id,
                ),
            )
        return done.rowcount == 1

    def reopen(self, run_id: str, job_id: str, packages: dict[str, str]) -> bool:
        """Open an ended run that has no output under a new job; False where it is not one."""
        with self._database.write() as connection:
            done = connection.execute(
                """UPDATE runs SET job_id = ?, attempts = attempts + 1, state = ?, reason = '',
                   packages = ?, ended_at = NULL
                   WHERE id = ? AND ended_at IS NOT NULL AND output_version_id IS NULL""",
                (job_id, JobState.QUEUED.value, json.dumps(packages), run_id),
            )
        return done.rowcount == 1


def _record(entry: Entry) -> dict[str, Any]:
    lists = {
        "dataset_version_ids": json.dumps(entry.dataset_version_ids),
        "packages": json.dumps(entry.packages),
        "summary": json.dumps(entry.summary or {}),
    }
    return vars(entry) | {"stage": entry.stage.value, "state": entry.state.value} | lists


def _entries(rows: list[Row]) -> tuple[Entry, ...]:
    return tuple(entry for row in rows if (entry := _entry(row)) is not None)


def _entry(row: Row | None) -> Entry | None:
    if row is None:
        return None
    values: dict[str, Any] = dict(row)
    values |= {
        "stage": Stage(row["stage"]),
        "state": JobState(row["state"]),
        "dataset_version_ids": tuple(json.loads(row["dataset_version_ids"])),
        "packages": json.loads(row["packages"]),
        "summary": json.loads(row["summary"]),
    }
    return Entry(**values)
