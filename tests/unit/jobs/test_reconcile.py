"""Starts that go wrong: a supervisor that does not appear, appears twice, or comes too late."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from studio.core import LOCAL_ADMIN, Database
from studio.jobs import JobService, JobState, Slot, reconcile
from studio.jobs.launchers.local import LocalLauncher
from tests.unit.jobs.conftest import make_service, spec, until_running

ADMIN = LOCAL_ADMIN


class Scripted:
    """A launcher that fails or does nothing as often as told, then launches so many times at once."""

    def __init__(self, *, errors: int = 0, silent: int = 0, times: int = 1) -> None:
        self.calls: list[Path] = []
        self._errors, self._silent, self._times = errors, silent, times

    def launch(self, directory: Path) -> None:
        self.calls.append(directory)
        if len(self.calls) <= self._errors:
            raise OSError("no more processes")
        if len(self.calls) <= self._errors + self._silent:
            return
        for _ in range(self._times):
            LocalLauncher().launch(directory)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "CLAIM_SECONDS", 0.0)


def test_two_supervisors_of_one_job_run_one_child(database: Database, home: Path):
    service = make_service(database, home, launcher=Scripted(times=3))
    job = service.submit(ADMIN, spec("once", seconds=0.5))
    job = service.wait(ADMIN, job.id, 20)
    assert job.state is JobState.SUCCEEDED
    assert (job.directory / "runs").read_text() == f"{job.pid}\n"
    assert (job.directory / "supervisor.log").read_text() == ""


def test_a_spawn_that_was_lost_is_made_again(database: Database, home: Path, impatient: None):
    launcher = Scripted(errors=1, silent=1)
    service = make_service(database, home, launcher=launcher)
    job = service.submit(ADMIN, spec("once"))
    for _ in range(3):
        assert not service.tick()
    assert len(launcher.calls) == 3
    # From here on the real limit: the third supervisor is on its way.
    reconcile.CLAIM_SECONDS = 10.0
    assert service.wait(ADMIN, job.id, 20).state is JobState.SUCCEEDED
    assert len(launcher.calls) == 3


def test_a_living_spawner_is_given_time_and_a_dead_one_is_not(database: Database, home: Path):
    nothing = Scripted(silent=9)
    service = make_service(database, home, launcher=nothing)
    job = service.submit(ADMIN, spec("once"))
    service.tick()
    service.tick()
    assert len(nothing.calls) == 1
    with database.write() as connection:
        connection.execute("UPDATE jobs SET spawner = json_set(spawner, '$.start_ticks', 1)")
    heir = make_service(database, home)
    assert heir.wait(ADMIN, job.id, 20).state is JobState.SUCCEEDED
    assert len(nothing.calls) == 1


def test_a_supervisor_that_never_comes_fails_and_cannot_come_later(
    database: Database, home: Path, impatient: None
):
    launcher = Scripted(silent=99)
    service = make_service(database, home, launcher=launcher)
    job = service.submit(ADMIN, spec("once", slot=Slot.TRAINING))
    job = service.wait(ADMIN, job.id, 5)
    assert job.state is JobState.FAILED
    assert "did not start in 3 attempts" in job.reason
    LocalLauncher().launch(launcher.calls[0])
    time.sleep(0.5)
    assert not (job.directory / "runs").exists()
    following = service.submit(ADMIN, spec("once", slot=Slot.TRAINING))
    service.tick()
    assert service.get(ADMIN, following.id).state is JobState.STARTING


def test_a_stop_before_the_supervisor_appears(database: Database, home: Path):
    launcher = Scripted(silent=99)
    service = make_service(database, home, launcher=launcher)
    job = service.submit(ADMIN, spec("once"))
    service.tick()
    assert service.request_stop(ADMIN, job.id).state is JobState.STOPPING
    job = service.wait(ADMIN, job.id, 5)
    assert (job.state, job.reason) == (JobState.STOPPED, "Stopped before it started.")
    LocalLauncher().launch(job.directory)
    time.sleep(0.5)
    assert not (job.directory / "runs").exists()


def test_a_stop_whose_file_was_not_written_is_repeated(service: JobService, database: Database):
    job = until_running(service, service.submit(ADMIN, spec("work")))
    with database.write() as connection:
        connection.execute("UPDATE jobs SET state = 'stopping'")
    assert service.wait(ADMIN, job.id, 10).state is JobState.STOPPED


def test_one_broken_directory_does_not_stop_the_others(database: Database, home: Path):
    (home / "jobs").mkdir()
    (home / "jobs" / "broken").write_text("a file where the directory should be")
    service = make_service(database, home)
    service.submit(ADMIN, spec("once"), job_id="broken")
    job = service.submit(ADMIN, spec("once"))
    assert service.wait(ADMIN, job.id, 20).state is JobState.SUCCEEDED


def test_an_exit_record_of_another_job_is_none(service: JobService):
    job = service.submit(ADMIN, spec("once", seconds=0.5))
    job.directory.mkdir(parents=True)
    (job.directory / "exit.json").write_text('{"token": "x", "code": 0, "at": 1.0}')
    assert not until_running(service, job).state.final
    assert service.wait(ADMIN, job.id, 20).state is JobState.SUCCEEDED


def test_many_threads_and_connections_launch_each_job_once(database: Database, home: Path):
    launcher = Scripted(silent=999)
    services = [make_service(Database(database.path), home, launcher=launcher) for _ in range(4)]
    for number in range(20):
        services[0].submit(ADMIN, spec("once", slot=Slot.TRAINING if number % 2 else Slot.LIGHT))
    threads = [threading.Thread(target=service.tick) for service in services for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(launcher.calls).most_common(1)[0][1] == 1
    assert len(launcher.calls) == 11  # ten light ones and one for the only training slot
    for service in services:
        service._store._database.close()
