"""The tables of sweeps and trials and the only SQL on them."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.core.database import Database, Row, insert
from studio.training.records import Stage
from studio.training.sweeps.records import Sweep, SweepPlan, SweepState, Trial, TrialState

migrations = Migrations("sweeps")

_OPEN = ", ".join(f"'{state.value}'" for state in TrialState if not state.final)


@migrations()
def sweeps(db: SqliteUtils) -> None:
    db.execute(
        """CREATE TABLE sweeps (
            id TEXT PRIMARY KEY, request_id TEXT UNIQUE, name TEXT NOT NULL, stage TEXT NOT NULL,
            plan TEXT NOT NULL, model_version_id TEXT NOT NULL, dataset_version_ids TEXT NOT NULL,
            output TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, created_at REAL NOT NULL,
            created_by TEXT NOT NULL, role TEXT NOT NULL, ended_at REAL
        ) STRICT"""
    )
    db.execute(
        """CREATE TABLE sweep_trials (
            sweep_id TEXT NOT NULL REFERENCES sweeps (id), number INTEGER NOT NULL,
            params TEXT NOT NULL, state TEXT NOT NULL, run_id TEXT NOT NULL, value REAL,
            reason TEXT NOT NULL, created_at REAL NOT NULL, ended_at REAL,
            PRIMARY KEY (sweep_id, number)
        ) STRICT"""
    )


class SweepStore:
    """Reads and writes sweeps and their trials."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate(migrations)

    def add(self, sweep: Sweep, request_id: str) -> Sweep:
        """Store a new sweep; where its request id is known already, the sweep of that request is returned."""
        record = vars(sweep) | {
            "request_id": request_id or None,
            "stage": sweep.stage.value,
            "plan": sweep.plan.model_dump_json(),
            "dataset_version_ids": json.dumps(sweep.dataset_version_ids),
            "state": sweep.state.value,
        }
        try:
            with self._database.write() as connection:
                insert(connection, "sweeps", record)
        except sqlite3.IntegrityError:
            known = self.by_request(request_id)
            if known is None:
                raise
            return known
        return sweep

    def get(self, sweep_id: str) -> Sweep | None:
        """The sweep with an id."""
        return _sweep(self._database.row("SELECT * FROM sweeps WHERE id = ?", (sweep_id,)))

    def by_request(self, request_id: str) -> Sweep | None:
        """The sweep that a request started."""
        if not request_id:
            return None
        return _sweep(self._database.row("SELECT * FROM sweeps WHERE request_id = ?", (request_id,)))

    def newest(self, limit: int) -> tuple[Sweep, ...]:
        """The newest sweeps first."""
        sql = "SELECT * FROM sweeps ORDER BY created_at DESC, rowid DESC LIMIT ?"
        return _sweeps(self._database.rows(sql, (limit,)))

    def live(self) -> tuple[Sweep, ...]:
        """The sweeps that go on, or have a trial that has not ended."""
        sql = f"""SELECT * FROM sweeps WHERE state = ? OR EXISTS (
            SELECT 1 FROM sweep_trials WHERE sweep_id = sweeps.id AND sweep_trials.state IN ({_OPEN}))"""
        return _sweeps(self._database.rows(sql, (SweepState.RUNNING.value,)))

    def move(
        self,
        sweep_id: str,
        before: tuple[SweepState, ...],
        state: SweepState,
        reason: str,
        ended_at: float | None,
    ) -> bool:
        """Put a sweep from one of some states into another; False where it is in none of them."""
        marks = ", ".join("?" * len(before))
        with self._database.write() as connection:
            done = connection.execute(
                f"UPDATE sweeps SET state = ?, reason = ?, ended_at = ? WHERE id = ? AND state IN ({marks})",
                (state.value, reason, ended_at, sweep_id, *(one.value for one in before)),
            )
        return done.rowcount == 1

    def add_trial(self, trial: Trial) -> None:
        """Store a new trial; one that is there stays as it is."""
        record = vars(trial) | {"params": json.dumps(trial.params), "state": trial.state.value}
        with self._database.write() as connection:
            sql = "SELECT 1 FROM sweep_trials WHERE sweep_id = ? AND number = ?"
            if connection.execute(sql, (trial.sweep_id, trial.number)).fetchone() is None:
                insert(connection, "sweep_trials", record)

    def change_trial(self, trial: Trial) -> None:
        """Store what has become of a trial."""
        with self._database.write() as connection:
            connection.execute(
                """UPDATE sweep_trials SET state = ?, run_id = ?, value = ?, reason = ?, ended_at = ?
                   WHERE sweep_id = ? AND number = ?""",
                (
                    trial.state.value,
                    trial.run_id,
                    trial.value,
                    trial.reason,
                    trial.ended_at,
                    trial.sweep_id,
                    trial.number,
                ),
            )

    def trials(self, sweep_id: str) -> tuple[Trial, ...]:
        """The trials of a sweep in the order in which they were made."""
        sql = "SELECT * FROM sweep_trials WHERE sweep_id = ? ORDER BY number"
        return tuple(_trial(row) for row in self._database.rows(sql, (sweep_id,)))

    def pseudonymise(self, name: str, pseudonym: str) -> None:
        """Put ``pseudonym`` where ``name`` stands as who started a sweep."""
        with self._database.write() as connection:
            connection.execute("UPDATE sweeps SET created_by = ? WHERE created_by = ?", (pseudonym, name))


def _sweeps(rows: list[Row]) -> tuple[Sweep, ...]:
    return tuple(sweep for row in rows if (sweep := _sweep(row)) is not None)


def _sweep(row: Row | None) -> Sweep | None:
    if row is None:
        return None
    values: dict[str, Any] = dict(row)
    del values["request_id"]
    values |= {
        "stage": Stage(row["stage"]),
        "state": SweepState(row["state"]),
        "plan": SweepPlan.model_validate_json(row["plan"]),
        "dataset_version_ids": tuple(json.loads(row["dataset_version_ids"])),
    }
    return Sweep(**values)


def _trial(row: Row) -> Trial:
    values: dict[str, Any] = dict(row)
    return Trial(**(values | {"params": json.loads(row["params"]), "state": TrialState(row["state"])}))
