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

    A higher ``priority`` starts first. ``after`` names subjects whose newest job must have succeeded first,
    or with ``after_any`` only ended. ``devices`` are exact GPUs; where it is empty the job gets any
    ``device_count`` of them. On a machine without GPUs training jobs share its slots instead.
    ``memory_bytes`` is what the job is expected to need.
    """

    kind: str
    module: str
    subject: str
    payload: dict[str, object]
    slot: Slot = Slot.LIGHT
    environment: dict[str, str] = field(default_factory=dict)
    priority: int = 0
    after: tuple[str, ...] = ()
    after_any: bool = False
    devices: tuple[int, ...] = ()
    device_count: int = 1
    memory_bytes: int = 0


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
    """One supervised subprocess; ``directory`` holds its payload, log, progress and exit record.

    ``devices`` are the GPUs that it was given; of a job that waits there are none yet.
    """

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
    priority: int = 0
    devices: tuple[int, ...] = ()


@dataclass(frozen=True)
class LogChunk:
    """A piece of a job's log; ask again with ``offset`` (bytes) for what came after it."""

    text: str
    offset: int


@dataclass(frozen=True)
class QueuedJob:
    """A job that waits; ``place`` counts from 1.

    ``waits_for`` is a sentence without its full stop, and names other jobs by their subject: ``Waits for
    run_1 to end``, ``Waits for run_3 to succeed: it failed, so start it again or stop this one``.
    """

    job: Job
    place: int
    waits_for: str


@dataclass(frozen=True)
class LiveJob:
    """A job whose processes run or are about to; ``memory_bytes`` is what it was expected to need."""

    job: Job
    memory_bytes: int
