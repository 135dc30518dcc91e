"""Jobs that say nothing any more: noticed, asked where they stand, and ended."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from studio.core import LOCAL_ADMIN, Audit, Database
from studio.jobs import Job, JobService, JobSpec, JobState, Slot
from studio.jobs.stalls import Silence, stalled_reason


def test_silence_is_counted_from_the_last_change(tmp_path: Path) -> None:
    silence = Silence(tmp_path, 0.2)
    assert not silence.too_long()
    time.sleep(0.12)
    (tmp_path / "progress.json").write_text("{}")
    assert not silence.too_long()
    time.sleep(0.12)
    assert not silence.too_long()
    (tmp_path / "log.txt").write_text("still here\n")
    assert not silence.too_long()
    time.sleep(0.25)
    assert silence.too_long()


def test_nobody_is_ended_for_silence_where_that_is_off(tmp_path: Path) -> None:
    silence = Silence(tmp_path, 0)
    time.sleep(0.01)
    assert not silence.too_long()


def test_the_reason_names_the_time() -> None:
    assert "30 minutes" in stalled_reason(1800)
    assert "20 seconds" in stalled_reason(20)


@pytest.mark.parametrize("slot", [Slot.TRAINING, Slot.LIGHT])
def test_a_silent_training_job_is_ended_and_a_light_one_is_not(home: Path, slot: Slot) -> None:
    database = Database(home / "studio.db")
    jobs = JobService(
        database, home, Audit(database), training_slots=1, stop_grace_seconds=1.0, stall_seconds=1.0
    )
    spec = JobSpec("test", "tests.unit.jobs.children", "s", {"act": "sleep_silently", "seconds": 2.5}, slot)
    job: Job = jobs.submit(LOCAL_ADMIN, spec)
    jobs.tick()
    ended = jobs.wait(LOCAL_ADMIN, job.id, 30)
    jobs.close()
    database.close()
    if slot is Slot.LIGHT:
        assert ended.state is JobState.SUCCEEDED, ended
        return
    assert ended.state is JobState.FAILED
    assert ended.reason.startswith("It was stalled")
    # It was asked first, and answered with its stack.
    assert "sleep_silently" in (ended.directory / "log.txt").read_text()
