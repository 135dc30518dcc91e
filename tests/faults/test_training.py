"""What a training run survives: the death of the studio that started it, of its trainer, and a stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core import LOCAL_ADMIN, read_json
from studio.jobs import JobState
from studio.training import Run
from tests.unit.training.room import Room, furnish, open_room

pytestmark = pytest.mark.faults
ADMIN = LOCAL_ADMIN

# A studio in a process of its own, that starts a run and says when it has seen its fifth step.
OWNER = """
import sys, time
from pathlib import Path
from tests.unit.training.room import open_room
room = open_room(Path(sys.argv[1]))
run = room.start(sys.argv[2])
room.until(run, lambda _: len(room.steps(run)) >= 5)
print(run.id, flush=True)
while True:
    room.tick()
    time.sleep(0.02)
"""


@pytest.fixture
def room(home: Path, tiny_model: Path) -> Iterator[Room]:
    made = open_room(home)
    furnish(made, tiny_model)
    yield made
    for job in made.jobs.list(ADMIN):
        pid = (read_json(job.directory / "child.json") or {}).get("pid")
        if not job.state.final and pid:
            os.kill(pid, signal.SIGKILL)
    made.jobs.close()
    made.database.close()


def trainer_pid(room: Room, run: Run) -> int:
    return int(read_json(room.jobs.get(ADMIN, room.get(run).job_id).directory / "child.json")["pid"])


def test_a_run_outlives_the_studio_that_started_it(room: Room) -> None:
    steps = 300
    # Evaluation and the steps before and after it must not be seen twice either.
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(room.home), f"max_steps: {steps}\neval_every: 100\n"],
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    try:
        assert owner.stdout is not None
        run = room.training.get(ADMIN, owner.stdout.readline().strip())
        pid = trainer_pid(room, run)
    finally:
        os.killpg(owner.pid, signal.SIGKILL)
        owner.wait()
        owner.stdout.close()
    assert len(room.steps(run)) < steps
    assert Path(f"/proc/{pid}").exists()
    assert not room.get(run).state.final

    done = room.until(run, lambda now: now.state.final)
    assert (done.state, done.attempts) == (JobState.SUCCEEDED, 1), done.reason
    assert trainer_pid(room, run) == pid
    assert room.steps(run) == list(range(1, steps + 1))
    version = room.registry.version(ADMIN, "tuned")
    assert (version.id, version.run_id) == (done.output_version_id, run.id)
    assert (version.path / "adapter_model.safetensors").exists()
    evaluated = room.training.points(ADMIN, run.id).columns["eval/loss"]
    assert [point[0] for point in evaluated] == [0, 100, 200, 300]


def test_a_run_is_stopped_resumed_killed_and_resumed_again(room: Room) -> None:
    steps = 200
    run = room.start(f"max_steps: {steps}\nsave_every: 10\n")
    room.until(run, lambda _: len(room.steps(run)) >= 15)
    room.training.stop(ADMIN, run.id)
    stopped = room.until(run, lambda now: now.state.final)
    assert stopped.state is JobState.STOPPED
    seen = room.steps(run)
    assert 15 <= len(seen) < steps
    before = room.training.points(ADMIN, run.id)

    room.training.resume(ADMIN, run.id)
    room.until(run, lambda _: len(room.steps(run)) >= len(seen) + 15)
    assert room.training.points(ADMIN, run.id, before.cursor, before.epoch).epoch == before.epoch + 1
    os.kill(trainer_pid(room, run), signal.SIGKILL)
    failed = room.until(run, lambda now: now.state.final)
    assert failed.state is JobState.FAILED
    assert "SIGKILL" in failed.reason
    assert failed.output_version_id is None

    room.training.resume(ADMIN, run.id)
    done = room.until(run, lambda now: now.state.final)
    assert (done.state, done.attempts) == (JobState.SUCCEEDED, 3), done.reason
    assert room.steps(run) == list(range(1, steps + 1))
    assert "resuming from step" in room.training.log(ADMIN, run.id).text
    assert done.peak_memory_bytes
