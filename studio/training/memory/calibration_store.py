"""Past runs' counted parts and measured peaks, for the calibration of this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.core.clock import now
from studio.core.database import Database
from studio.training.memory.calibration import Observation

#: Older runs than the newest so many are of another version of the machine or of the studio.
_NEWEST = 60

migrations = Migrations("training_memory")


@migrations()
def memory_observations(db: SqliteUtils) -> None:
    """One row a run; ``setting`` names what its figures hold for: machine, device, engine."""
    db.execute(
        """CREATE TABLE memory_observations (
            run_id TEXT PRIMARY KEY, setting TEXT NOT NULL, counted TEXT NOT NULL,
            measured INTEGER NOT NULL, at REAL NOT NULL
        ) STRICT"""
    )
    db.execute("CREATE INDEX memory_observations_setting ON memory_observations (setting, at)")


class CalibrationStore:
    """Reads and writes what runs were measured to need."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate(migrations)

    def add(self, run_id: str, setting: str, counted: Mapping[str, int], measured: int) -> None:
        """Keep what a run needed; a run that is measured again (a resume) replaces itself."""
        with self._database.write() as connection:
            connection.execute(
                """INSERT INTO memory_observations (run_id, setting, counted, measured, at)
                   VALUES (?, ?, ?, ?, ?) ON CONFLICT (run_id) DO UPDATE SET
                   setting = excluded.setting, counted = excluded.counted,
                   measured = max(measured, excluded.measured), at = excluded.at""",
                (run_id, setting, json.dumps(dict(counted)), measured, now()),
            )

    def observations(self, setting: str) -> tuple[Observation, ...]:
        """The newest runs of a setting."""
        rows = self._database.rows(
            "SELECT counted, measured FROM memory_observations WHERE setting = ? ORDER BY at DESC LIMIT ?",
            (setting, _NEWEST),
        )
        return tuple(Observation(json.loads(row["counted"]), int(row["measured"])) for row in rows)
