"""The jobs table: one row a job, and every change of state is one conditional UPDATE.

Any number of processes may do this at once on one database. Whoever changed the row acts on it (spawns
the supervisor, reports the end); for everyone else the UPDATE matched nothing.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.core.database import Database, Row, insert
from studio.jobs.identity import Identity, from_record
from studio.jobs.outcome import Outcome
from studio.jobs.records import Job, JobSpec, JobState, Slot

migrations = Migrations("jobs")

_LIVE = "('starting', 'running', 'stopping')"
# All but the payload, which may be large and is needed once.
_COLUMNS = """id, token, kind, subject, slot, state, created_at, spawned_at, started_at, ended_at,
    attempts, spawner, exit_code, reason, pid, handed_to, priority, place, after_subjects, after_any,
    devices, device_count, memory_bytes, leased"""
_FINAL = "('succeeded', 'failed', 'stopped', 'lost')"
# A training job without devices needs one of the slots; those that have devices do not take any.
_CLAIM = f"""UPDATE jobs SET state = 'starting', attempts = 1, spawned_at = :at, spawner = :spawner,
        leased = :leased
    WHERE id = :id AND state = 'queued' AND (slot != 'training' OR :leased != '[]' OR :slots > (
        SELECT count(*) FROM jobs INDEXED BY jobs_open
        WHERE settled = 0 AND slot = 'training' AND leased = '[]' AND state IN {_LIVE}))
    RETURNING {_COLUMNS}"""


@migrations()
def jobs(db: SqliteUtils) -> None:
    db.execute(
        """CREATE TABLE jobs (
            sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, token TEXT NOT NULL UNIQUE,
            kind TEXT NOT NULL, module TEXT NOT NULL, subject TEXT NOT NULL, slot TEXT NOT NULL,
            payload TEXT NOT NULL, environment TEXT NOT NULL, state TEXT NOT NULL,
            created_at REAL NOT NULL, spawned_at REAL, started_at REAL, ended_at REAL,
            attempts INTEGER NOT NULL DEFAULT 0, spawner TEXT,
            exit_code INTEGER, reason TEXT NOT NULL DEFAULT '', pid INTEGER,
            handed_to TEXT, settled INTEGER NOT NULL DEFAULT 0
        ) STRICT"""
    )
    # The clock asks four times a second, and history only grows: it looks at what is open and nothing else.
    db.execute("CREATE INDEX jobs_open ON jobs (sequence) WHERE settled = 0")
    db.execute("CREATE INDEX jobs_kind ON jobs (kind, sequence)")


# ``leases`` says who has a device now, and one row a device is what keeps two jobs off it; ``leased`` in the
# row of a job says what it was given, also after its end.
_ORDERLY = """
    ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN place REAL;
    ALTER TABLE jobs ADD COLUMN after_subjects TEXT NOT NULL DEFAULT '[]';
    ALTER TABLE jobs ADD COLUMN after_any INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN devices TEXT NOT NULL DEFAULT '[]';
    ALTER TABLE jobs ADD COLUMN device_count INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE jobs ADD COLUMN memory_bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN leased TEXT NOT NULL DEFAULT '[]';
    UPDATE jobs SET place = sequence;
    CREATE INDEX jobs_subject ON jobs (subject, sequence);
    CREATE TABLE leases (
        device INTEGER PRIMARY KEY, job_id TEXT NOT NULL REFERENCES jobs (id)
    ) STRICT"""


@migrations()
def order_and_leases(db: SqliteUtils) -> None:
    for statement in _ORDERLY.split(";"):
        db.execute(statement)


@dataclass(frozen=True)
class OpenJob:
    """A job that is not settled yet, with what only this room needs to know of it.

    ``spawner`` is the process that last tried to start it, ``handed_to`` the one that was told its end.
    Of two jobs of the same priority the one with the smaller ``place`` goes first.
    """

    job: Job
    token: str
    attempts: int
    spawned_at: float
    spawner: Identity | None
    handed_to: str | None
    place: float
    after: tuple[str, ...]
    after_any: bool
    devices: tuple[int, ...]
    device_count: int
    memory_bytes: int


class JobStore:
    """Reads and changes the rows of jobs; directories lie in ``root``."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self._root = root
        database.migrate(migrations)

    def add(self, job_id: str, token: str, spec: JobSpec, created_at: float) -> bool:
        """Commit a queued job; False where the id is taken already."""
        record = {
            "id": job_id,
            "token": token,
            "kind": spec.kind,
            "module": spec.module,
            "subject": spec.subject,
            "slot": spec.slot.value,
            "payload": json.dumps(spec.payload),
            "environment": json.dumps(spec.environment),
            "state": JobState.QUEUED.value,
            "created_at": created_at,
            "priority": spec.priority,
            "after_subjects": json.dumps(spec.after),
            "after_any": int(spec.after_any),
            "devices": json.dumps(spec.devices),
            "device_count": spec.device_count,
            "memory_bytes": spec.memory_bytes,
        }
        with self._database.write() as connection:
            if connection.execute("SELECT 1 FROM jobs WHERE id = ?", (job_id,)).fetchone():
                return False
            insert(connection, "jobs", record)
            connection.execute("UPDATE jobs SET place = sequence WHERE id = ?", (job_id,))
        return True

    def job(self, job_id: str) -> Job | None:
        """One job, or None."""
        row = self._database.row(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job_id,))
        return None if row is None else self._job(row)

    def spec(self, job_id: str) -> JobSpec | None:
        """What was submitted under this id, or None."""
        row = self._database.row("SELECT * FROM jobs WHERE id = ?", (job_id,))
        return None if row is None else _spec(row)

    def newest_of(self, subject: str) -> Job | None:
        """The newest job that works for ``subject``, or None."""
        row = self._database.row(
            f"SELECT {_COLUMNS} FROM jobs WHERE subject = ? ORDER BY sequence DESC LIMIT 1", (subject,)
        )
        return None if row is None else self._job(row)

    def newest(self, kind: str | None, limit: int) -> tuple[Job, ...]:
        """The newest jobs first."""
        rows = self._database.rows(
            f"""SELECT {_COLUMNS} FROM jobs WHERE :kind IS NULL OR kind = :kind
                ORDER BY sequence DESC LIMIT :limit""",
            {"kind": kind, "limit": limit},
        )
        return tuple(self._job(row) for row in rows)

    def unsettled(self) -> tuple[OpenJob, ...]:
        """Every job that is not final, or whose end was not acted on yet, in order of submission."""
        # Left alone, SQLite walks the whole table for the order instead.
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM jobs INDEXED BY jobs_open WHERE settled = 0 ORDER BY sequence"
        )
        return tuple(self._open(row) for row in rows)

    def claim(
        self, found: OpenJob, slots: int, devices: tuple[int, ...], spawner: Identity, at: float
    ) -> OpenJob | None:
        """Take a queued job for spawning; of many callers one gets it.

        A training job gets ``devices`` if nobody has them, or without any a slot if one is free.
        """
        values = {
            "id": found.job.id,
            "at": at,
            "spawner": json.dumps(spawner.record()),
            "slots": slots,
            "leased": json.dumps(devices),
        }
        try:
            with self._database.write() as connection:
                rows = connection.execute(_CLAIM, values).fetchall()
                if not rows:
                    return None
                for device in devices:
                    insert(connection, "leases", {"device": device, "job_id": found.job.id})
        except sqlite3.IntegrityError:
            return None  # Another job has one of the devices, and all of this was undone.
        return self._open(rows[0])

    def claim_again(self, found: OpenJob, spawner: Identity, at: float) -> OpenJob | None:
        """Take over the spawning of a job whose supervisor did not appear; one caller gets it."""
        return self._change(
            found,
            f"""UPDATE jobs SET attempts = attempts + 1, spawned_at = :at, spawner = :spawner
                WHERE id = :id AND state IN {_LIVE} AND attempts = :attempts RETURNING {_COLUMNS}""",
            {"at": at, "spawner": json.dumps(spawner.record()), "attempts": found.attempts},
        )

    def started(self, found: OpenJob, pid: int, at: float) -> None:
        """The child of a job runs; one that is stopping already goes on stopping."""
        self._change(
            found,
            f"""UPDATE jobs SET state = iif(state = 'starting', 'running', state),
                    pid = :pid, started_at = :at
                WHERE id = :id AND state IN {_LIVE} RETURNING {_COLUMNS}""",
            {"pid": pid, "at": at},
        )

    def finish(self, found: OpenJob, outcome: Outcome) -> bool:
        """Make a live job final and free its devices; False where someone else did.

        Only for a job of which no process is left: until then its devices are in use.
        """
        values = {
            "id": found.job.id,
            "state": outcome.state.value,
            "at": outcome.ended_at,
            "code": outcome.exit_code,
            "reason": outcome.reason,
            "pid": outcome.pid,
            "started_at": outcome.started_at,
        }
        with self._database.write() as connection:
            changed = connection.execute(
                f"""UPDATE jobs SET state = :state, ended_at = :at, exit_code = :code, reason = :reason,
                        pid = coalesce(pid, :pid), started_at = coalesce(started_at, :started_at)
                    WHERE id = :id AND state IN {_LIVE}""",
                values,
            ).rowcount
            if changed:
                connection.execute("DELETE FROM leases WHERE job_id = ?", (found.job.id,))
        return changed > 0

    def stop(self, job_id: str, at: float, reason: str) -> bool:
        """End a queued job, or mark a live one as stopping; False where it is final or stopping already."""
        with self._database.write() as connection:
            ended = connection.execute(
                """UPDATE jobs SET state = 'stopped', ended_at = ?, reason = ?
                   WHERE id = ? AND state = 'queued'""",
                (at, reason, job_id),
            )
            asked = connection.execute(
                "UPDATE jobs SET state = 'stopping' WHERE id = ? AND state IN ('starting', 'running')",
                (job_id,),
            )
        return ended.rowcount + asked.rowcount > 0

    def hand_over(self, found: OpenJob, receiver: str) -> bool:
        """Give the end of a job to one receiver; False where another one got it."""
        changed = self._change(
            found,
            f"""UPDATE jobs SET handed_to = :receiver
                WHERE id = :id AND settled = 0 AND state IN {_FINAL} AND handed_to IS :before
                RETURNING {_COLUMNS}""",
            {"receiver": receiver, "before": found.handed_to},
        )
        return changed is not None

    def settle(self, receiver: str) -> None:
        """Close what was handed to this receiver: it has acted on it."""
        with self._database.write() as connection:
            connection.execute("UPDATE jobs SET settled = 1 WHERE settled = 0 AND handed_to = ?", (receiver,))

    def _change(self, found: OpenJob, sql: str, values: dict[str, Any]) -> OpenJob | None:
        with self._database.write() as connection:
            rows = connection.execute(sql, {"id": found.job.id, **values}).fetchall()
        return self._open(rows[0]) if rows else None

    def _open(self, row: Row) -> OpenJob:
        return OpenJob(
            job=self._job(row),
            token=row["token"],
            attempts=row["attempts"],
            spawned_at=row["spawned_at"] or 0.0,
            spawner=from_record(json.loads(row["spawner"] or "null")),
            handed_to=row["handed_to"],
            place=row["place"],
            after=_subjects(row["after_subjects"]),
            after_any=bool(row["after_any"]),
            devices=_numbers(row["devices"]),
            device_count=row["device_count"],
            memory_bytes=row["memory_bytes"],
        )

    def _job(self, row: Row) -> Job:
        return Job(
            id=row["id"],
            kind=row["kind"],
            subject=row["subject"],
            slot=Slot(row["slot"]),
            state=JobState(row["state"]),
            directory=self._root / row["id"],
            created_at=row["created_at"],
            started_at=row["started_at"],
            ended_at=row["ended_at"],
            exit_code=row["exit_code"],
            reason=row["reason"],
            pid=row["pid"],
            priority=row["priority"],
            devices=_numbers(row["leased"]),
        )


# Nearly all lists are empty, and each waiting job is read several times a second.
@lru_cache(maxsize=1024)
def _subjects(text: str) -> tuple[str, ...]:
    return tuple(str(one) for one in json.loads(text))


@lru_cache(maxsize=1024)
def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in json.loads(text))


def _spec(row: Row) -> JobSpec:
    return JobSpec(
        kind=row["kind"],
        module=row["module"],
        subject=row["subject"],
        payload=json.loads(row["payload"]),
        slot=Slot(row["slot"]),
        environment=json.loads(row["environment"]),
        priority=row["priority"],
        after=_subjects(row["after_subjects"]),
        after_any=bool(row["after_any"]),
        devices=_numbers(row["devices"]),
        device_count=row["device_count"],
        memory_bytes=row["memory_bytes"],
    )
