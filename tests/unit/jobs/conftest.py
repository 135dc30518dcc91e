"""What the tests of jobs share: a service, jobs by name, and a patient look."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.core import LOCAL_ADMIN, Audit, Database
from studio.jobs import Job, JobService, JobSpec, JobState, Slot

MODULE = "tests.unit.jobs.children"


def spec(
    act: str, *, slot: Slot = Slot.LIGHT, environment: dict[str, str] | None = None, **payload
) -> JobSpec:
    return JobSpec("test", MODULE, "subject_1", {"act": act, **payload}, slot, environment or {})


def training(subject: str, act: str = "once", *, payload: dict[str, object] | None = None, **more) -> JobSpec:
    """A job of the training slot that works for ``subject``."""
    return JobSpec("test", MODULE, subject, {"act": act, **(payload or {})}, Slot.TRAINING, **more)


def make_service(database: Database, home: Path, *, grace: float = 0.3, **more) -> JobService:
    return JobService(database, home, Audit(database), training_slots=1, stop_grace_seconds=grace, **more)


def until(service: JobService, holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Tick until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        service.tick()
        time.sleep(0.02)


def until_running(service: JobService, job: Job) -> Job:
    until(service, lambda: service.get(LOCAL_ADMIN, job.id).state is not JobState.QUEUED)
    until(service, lambda: service.get(LOCAL_ADMIN, job.id).state is not JobState.STARTING)
    return service.get(LOCAL_ADMIN, job.id)


def gone(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


@pytest.fixture
def service(database: Database, home: Path) -> Iterator[JobService]:
    """A service whose jobs are stopped when the test is over, however it ended."""
    made = make_service(database, home)
    yield made
    for job in made.list(LOCAL_ADMIN):
        made.request_stop(LOCAL_ADMIN, job.id)
    for job in made.list(LOCAL_ADMIN):
        made.wait(LOCAL_ADMIN, job.id, 10)
