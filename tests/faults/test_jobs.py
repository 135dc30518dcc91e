"""What jobs survive and what they do not: processes are killed at every joint."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.core import LOCAL_ADMIN, Database, now, read_json, write_json
from studio.jobs import Job, JobService, JobState, Slot
from tests.unit.jobs.conftest import gone, make_service, service, spec, until, until_running

pytestmark = pytest.mark.faults
ADMIN = LOCAL_ADMIN

__all__ = ["service"]  # the fixture of the unit tests

# A studio in a process of its own, that submits one job and sees it run.
OWNER = """
import json, sys, time
from pathlib import Path
from studio.core import LOCAL_ADMIN, Audit, Database
from studio.jobs import JobService, JobSpec, Slot
home, payload, slot = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
database = Database(home / "studio.db")
service = JobService(database, home, Audit(database), training_slots=1, stop_grace_seconds=0.3)
spec = JobSpec("test", "tests.unit.jobs.children", "s", payload, Slot(slot))
service.submit(LOCAL_ADMIN, spec, job_id="job_1")
print("submitted", flush=True)
while True:
    service.tick()
    if service.get(LOCAL_ADMIN, "job_1").pid:
        print("running", flush=True)
    time.sleep(0.02)
"""


@pytest.fixture
def owner(home: Path) -> Iterator[Callable[[str, str], None]]:
    """Runs ``OWNER`` until it says a word, then kills it and its whole process group."""
    started: list[subprocess.Popen[str]] = []

    def live_until(word: str, payload: str) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(home), payload, "training"],
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        started.append(process)
        assert process.stdout is not None
        while process.stdout.readline().strip() != word:
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()

    yield live_until
    for process in started:
        process.kill()


def supervisor_of(job: Job) -> int:
    return int(read_json(job.directory / "supervisor.json")["pid"])


def wait_gone(pid: int, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not gone(pid):
        assert time.monotonic() < deadline, f"{pid} is still there"
        time.sleep(0.02)


def test_kill_9_of_the_studio_while_a_job_runs(owner, database: Database, home: Path):
    owner("running", '{"act": "once", "seconds": 1.5}')
    child = read_json(home / "jobs" / "job_1" / "child.json")["pid"]
    assert not gone(child)
    heir = make_service(database, home)
    # The slot is still taken, though by a job of another process.
    waiting = heir.submit(ADMIN, spec("once", slot=Slot.TRAINING))
    heir.tick()
    assert heir.get(ADMIN, waiting.id).state is JobState.QUEUED
    job = heir.wait(ADMIN, "job_1", 20)
    assert (job.state, job.pid) == (JobState.SUCCEEDED, child)
    assert (job.directory / "runs").read_text() == f"{child}\n"
    assert heir.wait(ADMIN, waiting.id, 20).state is JobState.SUCCEEDED


def test_a_job_that_ends_while_no_studio_runs(owner, database: Database, home: Path):
    owner("running", '{"act": "once", "seconds": 0.3}')
    exit_record = home / "jobs" / "job_1" / "exit.json"
    deadline = time.monotonic() + 10
    while not exit_record.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.1)
    opened = now()
    (job,) = make_service(database, home).tick()
    assert job.state is JobState.SUCCEEDED
    assert job.ended_at < opened


def test_a_studio_that_dies_before_it_starts_its_job(owner, database: Database, home: Path):
    owner("submitted", '{"act": "once"}')
    job = make_service(database, home).wait(ADMIN, "job_1", 20)
    assert job.state is JobState.SUCCEEDED
    assert (job.directory / "runs").read_text() == f"{job.pid}\n"


def test_two_studios_on_one_home_run_each_job_once(owner, database: Database, home: Path):
    script = OWNER.replace('job_id="job_1"', "job_id=None").replace(
        '"job_1"', "service.list(LOCAL_ADMIN)[0].id"
    )
    others = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(home), '{"act": "once", "seconds": 0.2}', "light"],
            stdout=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    service = make_service(database, home)
    until(service, lambda: len(service.list(ADMIN)) == 2)
    for _ in range(6):
        service.submit(ADMIN, spec("once"))
    jobs = [service.wait(ADMIN, job.id, 20) for job in service.list(ADMIN)]
    for process in others:
        process.kill()
        process.wait()
    assert len(jobs) == 8
    for job in jobs:
        assert job.state is JobState.SUCCEEDED
        assert (job.directory / "runs").read_text() == f"{job.pid}\n"


def test_a_killed_supervisor_makes_its_job_lost_and_nothing_survives(service: JobService):
    job = until_running(service, service.submit(ADMIN, spec("ignore", slot=Slot.TRAINING)))
    until(service, lambda: service.log(ADMIN, job.id).text == "ready\n")
    family = family_of(job)
    assert len(family) == 3
    following = service.submit(ADMIN, spec("once", slot=Slot.TRAINING))
    os.kill(supervisor_of(job), signal.SIGKILL)
    until(service, lambda: service.get(ADMIN, job.id).state.final)
    assert all(gone(pid) for pid in family)
    lost = service.get(ADMIN, job.id)
    assert (lost.state, lost.exit_code) == (JobState.LOST, None)
    assert "not known" in lost.reason
    assert service.wait(ADMIN, following.id, 20).state is JobState.SUCCEEDED


def test_a_child_that_was_not_recorded_is_found_all_the_same(service: JobService):
    job = until_running(service, service.submit(ADMIN, spec("work")))
    os.kill(supervisor_of(job), signal.SIGKILL)
    (job.directory / "child.json").unlink()
    assert service.wait(ADMIN, job.id, 10).state is JobState.LOST
    assert gone(job.pid)


def test_a_running_job_whose_directory_was_removed_is_ended(service: JobService):
    job = until_running(service, service.submit(ADMIN, spec("ignore")))
    supervisor = supervisor_of(job)
    shutil.rmtree(job.directory)
    assert service.wait(ADMIN, job.id, 10).state is JobState.LOST
    assert gone(job.pid)
    wait_gone(supervisor)


def test_a_pid_that_someone_else_got_is_left_alone(service: JobService):
    job = until_running(service, service.submit(ADMIN, spec("work")))
    supervisor, child = supervisor_of(job), job.pid
    os.kill(supervisor, signal.SIGKILL)
    os.kill(child, signal.SIGKILL)
    wait_gone(supervisor)
    wait_gone(child)
    # Started only now, as whoever gets a freed pid is: never within the clock tick of the one before.
    with subprocess.Popen(["sleep", "60"], process_group=0) as bystander:
        try:
            for name in ("supervisor.json", "child.json"):
                record = read_json(job.directory / name)
                write_json(job.directory / name, {**record, "pid": bystander.pid})
            assert service.wait(ADMIN, job.id, 10).state is JobState.LOST
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_a_record_of_an_earlier_boot_is_lost(service: JobService):
    job = until_running(service, service.submit(ADMIN, spec("work")))
    record = read_json(job.directory / "supervisor.json")
    os.kill(supervisor_of(job), signal.SIGKILL)
    write_json(job.directory / "supervisor.json", {**record, "boot_id": "before", "pid": os.getpid()})
    assert service.wait(ADMIN, job.id, 10).state is JobState.LOST
    assert gone(job.pid)


def test_a_child_that_will_not_stop_is_killed_with_all_it_started(service: JobService):
    job = until_running(service, service.submit(ADMIN, spec("ignore")))
    until(service, lambda: service.log(ADMIN, job.id).text == "ready\n")
    family = family_of(job)
    assert len(family) == 3
    asked = time.monotonic()
    service.request_stop(ADMIN, job.id)
    job = service.wait(ADMIN, job.id, 15)
    assert time.monotonic() - asked < 0.3 + 5.0
    assert all(gone(pid) for pid in family)
    assert (job.state, job.exit_code) == (JobState.STOPPED, -signal.SIGKILL)
    assert "SIGKILL" in job.reason


def test_what_ignores_a_stop_that_its_trainer_heard_is_gone_as_soon(service: JobService):
    """The trainer goes at SIGTERM, late; what it forked does not and gets no time of its own."""
    job = until_running(service, service.submit(ADMIN, spec("late", seconds=3.0)))
    until(service, lambda: service.log(ADMIN, job.id).text == "ready\n")
    family = family_of(job)
    assert len(family) == 3
    asked = time.monotonic()
    service.request_stop(ADMIN, job.id)
    job = service.wait(ADMIN, job.id, 15)
    assert time.monotonic() - asked < 0.3 + 5.0
    assert all(gone(pid) for pid in family)
    assert job.state is JobState.STOPPED


def test_what_a_child_leaves_behind_is_gone_before_its_job_is_final(service: JobService):
    job = service.submit(ADMIN, spec("abandon"))
    job = service.wait(ADMIN, job.id, 20)
    assert job.state is JobState.SUCCEEDED
    assert gone(read_json(job.directory / "result.json")["left"])


def test_sigterm_to_the_supervisor_stops_its_job_in_order(service: JobService):
    job = until_running(service, service.submit(ADMIN, spec("work")))
    os.kill(supervisor_of(job), signal.SIGTERM)
    assert service.wait(ADMIN, job.id, 10).state is JobState.STOPPED
    assert "steps" in read_json(job.directory / "result.json")


def test_the_supervisor_has_a_session_of_its_own_and_only_files(service: JobService):
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    job = until_running(service, service.submit(ADMIN, spec("work")))
    os.close(reading)
    os.close(writing)
    supervisor = supervisor_of(job)
    assert os.getsid(supervisor) == supervisor
    assert os.getpgid(job.pid) == job.pid
    for pid in (supervisor, job.pid):
        opened = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
        assert not [name for name in opened if name.startswith(("pipe:", "socket:"))]
        assert "/dev/null" in opened


def test_no_zombie_is_left_in_the_studio(service: JobService):
    job = service.submit(ADMIN, spec("succeed"))
    job = service.wait(ADMIN, job.id, 20)
    wait_reaped = time.monotonic() + 5
    while Path(f"/proc/{supervisor_of(job)}").exists():
        assert time.monotonic() < wait_reaped
        time.sleep(0.01)


def family_of(job: Job) -> list[int]:
    """The living processes that carry the job's token, found without the code under test."""
    token = read_json(job.directory / "spec.json")["token"].encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if token in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
