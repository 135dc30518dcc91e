"""The records of the job room."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class JobState(StrEnum):
    """Where a job stands; the last four are final."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"

    @property
    def final(self) -> bool:
        """Whether nothing can change any more."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.STOPPED, JobState.LOST)


class Slot(StrEnum):
    """What a job competes for: training jobs take turns, light jobs run as they come."""

    TRAINING = "training"
    LIGHT = "light"


@dataclass(frozen=True)
class JobSpec:
    """What to run: ``python -m module`` with the job's directory as its only argument.

    The payload is written to ``payload.json`` in that directory before the spawn. ``subject`` is the
    id of what the job works for (a run, a dataset import).
    """

    kind: str
    module: str
    subject: str
    payload: dict[str, object]
    slot: Slot = Slot.LIGHT
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """How far a job is, as it says itself: ``done`` of ``total`` units, and the phase in words.

    ``eta_seconds`` is the time left where the job can tell.
    """

    phase: str
    done: float
    total: float
    eta_seconds: float | None = None


@dataclass(frozen=True)
class Job:
    """One supervised subprocess; ``directory`` holds its payload, log, progress and exit record."""

    id: str
    kind: str
    subject: str
    slot: Slot
    state: JobState
    directory: Path
    created_at: float
    started_at: float | None
    ended_at: float | None
    exit_code: int | None
    reason: str
    pid: int | None


@dataclass(frozen=True)
class LogChunk:
    """A piece of a job's log; ask again with ``offset`` (bytes) for what came after it."""

    text: str
    offset: int
