"""SIGKILL of the studio at points all around the spawn of a job.

The studio under test lives in a process of its own, which kills itself at the n-th line that it executes in
the modules that claim and start a job. Whatever line that is, another studio on the same home then brings
the job to its end: it ran once, nothing of it is left, and nothing is said to run that does not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.core import LOCAL_ADMIN, Database
from studio.jobs import JobState
from studio.jobs.devices import Devices
from studio.jobs.identity import TOKEN_VARIABLE
from tests.unit.jobs.conftest import gone, make_service, training

pytestmark = pytest.mark.faults
ADMIN = LOCAL_ADMIN
POINTS = 20 if os.environ.get("STUDIO_TEST_FULL") == "1" else 6

# Forks a studio for each line of its input, a home and a number of lines; 0 says how many lines it took to
# see the job run.
STUDIOS = """
import os, signal, sys, time
from pathlib import Path
from studio.core import LOCAL_ADMIN, Database
from studio.jobs import launchers, reconcile, store
from studio.jobs.devices import Devices
from studio.jobs.launchers import local
from tests.unit.jobs.conftest import make_service, training

WATCHED = {module.__file__ for module in (reconcile, store, local)}

def studio(home, last):
    lines = 0
    def line(frame, event, _):
        nonlocal lines
        lines += event == "line"
        if lines == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return line
    service = make_service(Database(home / "studio.db"), home, devices=Devices("0"))
    sys.settrace(lambda frame, event, _: line if frame.f_code.co_filename in WATCHED else None)
    job = service.submit(LOCAL_ADMIN, training("run_1", payload={"seconds": 0.4}), job_id="job_1")
    while last or not job.pid:
        service.tick()
        job = service.get(LOCAL_ADMIN, "job_1")
        time.sleep(0.02)
    print(lines, flush=True)

for pair in sys.stdin:
    home, _, last = pair.strip().rpartition(":")
    child = os.fork()
    if not child:
        studio(Path(home), int(last))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if int(last):
        print(os.waitstatus_to_exitcode(status), flush=True)
"""


@pytest.fixture
def studios() -> Iterator[Callable[[Path, int], int]]:
    """Lets a studio live on a home until so many lines; how it ended, or with 0 lines how many it took."""
    with subprocess.Popen(
        [sys.executable, "-c", STUDIOS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def live(home: Path, last: int) -> int:
            home.mkdir()
            process.stdin.write(f"{home}:{last}\n")
            return int(process.stdout.readline())

        yield live
        process.stdin.close()


def kin(directory: Path, token: bytes) -> list[int]:
    """The living processes that work for a job: those that name its directory or carry its token."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and not gone(int(entry.name)):
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(directory).encode() in text or token in text:
                found.append(int(entry.name))
    return found


def taken_over(home: Path) -> None:
    """Another studio opens the home; whoever had asked for the job asks again, as people do."""
    database = Database(home / "studio.db")
    service = make_service(database, home, devices=Devices("0"))
    wanted = training("run_1", payload={"seconds": 0.4})
    job = service.submit(ADMIN, wanted, job_id="job_1")
    following = service.submit(ADMIN, training("run_2"))
    job = service.wait(ADMIN, job.id, 30)
    following = service.wait(ADMIN, following.id, 30)
    assert (job.state, following.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED), (job, following)
    assert (job.directory / "runs").read_text() == f"{job.pid}\n"
    assert job.ended_at is not None
    assert following.started_at is not None
    assert job.ended_at <= following.started_at
    [row] = database.rows("SELECT token FROM jobs WHERE id = ?", (job.id,))
    assert kin(job.directory, row["token"].encode()) == []
    assert service.live(ADMIN) == ()
    assert not database.rows("SELECT * FROM leases")
    database.close()


def test_kill_9_at_every_joint_of_a_spawn(tmp_path: Path, studios: Callable[[Path, int], int]) -> None:
    lines = studios(tmp_path / "counted", 0)
    assert lines > 100
    taken_over(tmp_path / "counted")
    for point in (1 + number * (lines - 1) // (POINTS - 1) for number in range(POINTS)):
        home = tmp_path / f"killed_at_{point}"
        assert studios(home, point) == -signal.SIGKILL
        taken_over(home)


def test_what_is_left_would_be_seen() -> None:
    wait = [sys.executable, "-c", "import time; time.sleep(60)"]
    directory = Path("/nowhere/jobs/job_1")
    for arguments, environment in (([str(directory)], {}), ([], {TOKEN_VARIABLE: "a" * 32})):
        with subprocess.Popen([*wait, *arguments], env=environment) as process:
            assert kin(directory, b"a" * 32) == [process.pid]
            process.kill()
