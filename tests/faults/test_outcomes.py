"""Every way in which a job can end, and what is said about it."""

from __future__ import annotations

import signal

import pytest

from studio.core import LOCAL_ADMIN
from studio.jobs import JobService, JobState
from tests.unit.jobs.conftest import service, spec

pytestmark = pytest.mark.faults

__all__ = ["service"]  # the fixture of the unit tests


@pytest.mark.parametrize(
    ("act", "payload", "state", "code", "words"),
    [
        ("succeed", {}, JobState.SUCCEEDED, 0, ""),
        ("leave", {"code": 0}, JobState.SUCCEEDED, 0, ""),
        ("leave", {"code": 1}, JobState.FAILED, 1, "exit code 1"),
        ("leave", {"code": 7}, JobState.FAILED, 7, "exit code 7"),
        ("crash", {}, JobState.FAILED, -signal.SIGSEGV, "SIGSEGV"),
        ("devour", {}, JobState.FAILED, 1, "MemoryError"),
        ("killed", {}, JobState.FAILED, -signal.SIGKILL, "the machine ran out of memory"),
    ],
)
def test_an_end_is_what_it_was(
    service: JobService, act: str, payload: dict[str, int], state: JobState, code: int, words: str
) -> None:
    job = service.submit(LOCAL_ADMIN, spec(act, **payload))
    job = service.wait(LOCAL_ADMIN, job.id, 20)
    assert (job.state, job.exit_code) == (state, code)
    assert words in job.reason
    if state is JobState.SUCCEEDED:
        assert job.reason == ""
