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
from studio.training.records import FailureCard, FailureKind, Stage

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


@migrations()
def queueing(db: SqliteUtils) -> None:
    """What a run waits for and expects to need, why it failed, and what it is another try of."""
    for column in (
        "priority INTEGER NOT NULL DEFAULT 0",
        "after_runs TEXT NOT NULL DEFAULT '[]'",
        "continue_on_error INTEGER NOT NULL DEFAULT 0",
        "devices TEXT NOT NULL DEFAULT '[]'",
        "predicted_memory_bytes INTEGER",
        "retry_of TEXT NOT NULL DEFAULT ''",
        "sweep_id TEXT NOT NULL DEFAULT ''",
        "paused INTEGER NOT NULL DEFAULT 0",
        "resume_step INTEGER",
        "failure TEXT",
    ):
        db.execute(f"ALTER TABLE runs ADD COLUMN {column}")


@dataclass(frozen=True)
class Entry:
    """A run as it is stored; ``state`` of an open one is what it was opened with.

    ``resume_step`` is the checkpoint that its newest attempt was told to go on from.
    """

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
    priority: int = 0
    after_runs: tuple[str, ...] = ()
    continue_on_error: bool = False
    devices: tuple[int, ...] = ()
    predicted_memory_bytes: int | None = None
    retry_of: str = ""
    sweep_id: str = ""
    paused: bool = False
    resume_step: int | None = None
    failure: FailureCard | None = None


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
    failure: FailureCard | None = None


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
                   peak_memory_bytes = ?, failure = ?, ended_at = ?
                   WHERE id = ? AND job_id = ? AND ended_at IS NULL""",
                (
                    ending.state.value,
                    ending.reason,
                    json.dumps(ending.summary),
                    ending.output_version_id,
                    ending.peak_memory_bytes,
                    _failure_text(ending.failure),
                    ending.ended_at,
                    run_id,
                    ending.job_id,
                ),
            )
        return done.rowcount == 1

    def reopen(self, run_id: str, job_id: str, packages: dict[str, str], step: int | None) -> bool:
        """Open an ended run that has no output under a new job; False where it is not one.

        ``step`` is the checkpoint to go on from; None is the newest.
        """
        with self._database.write() as connection:
            done = connection.execute(
                """UPDATE runs SET job_id = ?, attempts = attempts + 1, state = ?, reason = '',
                   packages = ?, ended_at = NULL, paused = 0, failure = NULL, resume_step = ?
                   WHERE id = ? AND ended_at IS NOT NULL AND output_version_id IS NULL""",
                (job_id, JobState.QUEUED.value, json.dumps(packages), step, run_id),
            )
        return done.rowcount == 1

    def pause(self, run_id: str, job_id: str, *, paused: bool) -> bool:
        """Note whether somebody means to take a run up again.

        Returns:
            False where it has made its weights, or has another job by now.
        """
        with self._database.write() as connection:
            done = connection.execute(
                "UPDATE runs SET paused = ? WHERE id = ? AND job_id = ? AND output_version_id IS NULL",
                (paused, run_id, job_id),
            )
        return done.rowcount == 1

    def explain(self, run_id: str, reason: str) -> None:
        """Note why a run that was stopped was stopped."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE runs SET reason = ? WHERE id = ? AND state = ? AND ended_at IS NOT NULL",
                (reason, run_id, JobState.STOPPED.value),
            )

    def prioritise(self, run_id: str, priority: int) -> None:
        """Note a run's priority; its job is what stands in the queue."""
        with self._database.write() as connection:
            connection.execute("UPDATE runs SET priority = ? WHERE id = ?", (priority, run_id))


def _record(entry: Entry) -> dict[str, Any]:
    lists = {
        "dataset_version_ids": json.dumps(entry.dataset_version_ids),
        "packages": json.dumps(entry.packages),
        "summary": json.dumps(entry.summary or {}),
        "after_runs": json.dumps(entry.after_runs),
        "devices": json.dumps(entry.devices),
        "failure": _failure_text(entry.failure),
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
        "after_runs": tuple(json.loads(row["after_runs"])),
        "devices": tuple(json.loads(row["devices"])),
        "continue_on_error": bool(row["continue_on_error"]),
        "paused": bool(row["paused"]),
        "failure": _failure(row["failure"]),
    }
    return Entry(**values)


def _failure_text(card: FailureCard | None) -> str | None:
    return None if card is None else json.dumps(vars(card), default=str)


def _failure(text: str | None) -> FailureCard | None:
    if text is None:
        return None
    values = json.loads(text)
    kind, evidence = FailureKind(values["kind"]), tuple(values["evidence"])
    return FailureCard(**(values | {"kind": kind, "evidence": evidence}))
