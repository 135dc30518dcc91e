"""The order of the jobs that wait, and what those of another subject came to.

The order is: higher priority first, then the smaller place. A job's place is its number of submission until
somebody moves it; then it is a number between those of its new neighbours. Only jobs that wait are moved,
and every change is one transaction.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from studio.core.database import Database
from studio.jobs.records import JobState, Slot

_WAITING = """SELECT id, priority, place FROM jobs INDEXED BY jobs_open
    WHERE settled = 0 AND slot = ? AND state = 'queued' ORDER BY priority DESC, place, sequence"""
_NEXT = "SELECT coalesce(max(sequence), 0) + 1 FROM jobs"


@dataclass(frozen=True)
class Standing:
    """What the newest job of a subject came to; ``settled`` is whether everyone has acted on its end."""

    state: JobState
    settled: bool


@dataclass(frozen=True)
class _Waiting:
    id: str
    priority: int
    place: float


class QueueStore:
    """Reads and changes the order of waiting jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def standing(self, subject: str) -> Standing | None:
        """What the newest job of ``subject`` came to, or None where there is no job of it."""
        row = self._database.row(
            "SELECT state, settled FROM jobs WHERE subject = ? ORDER BY sequence DESC LIMIT 1", (subject,)
        )
        return None if row is None else Standing(JobState(row["state"]), bool(row["settled"]))

    def awaited(self, subject: str) -> tuple[str, ...]:
        """The subjects that the waiting jobs of ``subject`` wait for."""
        rows = self._database.rows(
            """SELECT DISTINCT value FROM jobs, json_each(jobs.after_subjects)
               WHERE subject = ? AND state = 'queued'""",
            (subject,),
        )
        return tuple(str(row["value"]) for row in rows)

    def move(self, job_id: str, slot: Slot, before: str | None) -> bool:
        """Put a waiting job directly before another one, or last; it takes over its neighbour's priority.

        Returns:
            False where either of them does not wait in this slot (any more).
        """
        with self._database.write() as connection:
            waiting = _waiting(connection, slot)
            moved = [one for one in waiting if one.id == job_id]
            others = [one for one in waiting if one.id != job_id]
            ids = [one.id for one in others]
            if not moved or (before is not None and before not in ids):
                return False
            if others:
                at = len(others) if before is None else ids.index(before)
                _put(connection, moved[0], others, at)
        return True

    def prioritise(self, job_id: str, priority: int) -> bool:
        """Give a waiting job another priority; False where it does not wait (any more)."""
        with self._database.write() as connection:
            changed = connection.execute(
                "UPDATE jobs SET priority = ? WHERE id = ? AND state = 'queued'", (priority, job_id)
            )
        return changed.rowcount > 0


def _waiting(connection: sqlite3.Connection, slot: Slot) -> list[_Waiting]:
    return [_Waiting(*row) for row in connection.execute(_WAITING, (slot.value,))]


def _put(connection: sqlite3.Connection, moved: _Waiting, others: list[_Waiting], at: int) -> None:
    """Give ``moved`` the place between ``others[at - 1]`` and ``others[at]``."""
    neighbour = others[min(at, len(others) - 1)]
    same = [one for one in others[:at] if one.priority == neighbour.priority]
    if at < len(others):
        low, high = same[-1].place if same else neighbour.place - 2, neighbour.place
    else:
        # Whoever is submitted next stands behind it, because its place is the next number.
        low, high = neighbour.place, float(connection.execute(_NEXT).fetchone()[0])
    place = (low + high) / 2
    if low < place < high:
        connection.execute(
            "UPDATE jobs SET priority = ?, place = ? WHERE id = ?", (neighbour.priority, place, moved.id)
        )
        return
    # After some fifty moves into one gap no number is left in it: all places are dealt out anew.
    connection.execute("UPDATE jobs SET priority = ? WHERE id = ?", (neighbour.priority, moved.id))
    _deal(connection, [*others[:at], moved, *others[at:]])


def _deal(connection: sqlite3.Connection, ordered: list[_Waiting]) -> None:
    """Give jobs their numbers of submission as places, the smallest to the first."""
    marks = ", ".join("?" * len(ordered))
    ids = [one.id for one in ordered]
    numbers = connection.execute(f"SELECT sequence FROM jobs WHERE id IN ({marks}) ORDER BY sequence", ids)
    dealt = [(float(row[0]), job_id) for row, job_id in zip(numbers.fetchall(), ids, strict=True)]
    connection.executemany("UPDATE jobs SET place = ? WHERE id = ?", dealt)
