"""SIGKILL of the studio at points all around the making and the end of a sweep's trials.

The studio under test lives in a process of its own, which kills itself at the n-th line that it executes in
the modules that ask for trials, start their runs and tell their ends. Whatever line that is, another studio
on the same home then brings the sweep to its end: every trial has one run and one end, and the search was
told of each.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest

from studio.training.sweeps import SweepState, TrialState
from tests.unit.training.room import furnish, open_room
from tests.unit.training.sweeping import ADMIN, Bench, open_sweeps, run_to_the_end

pytestmark = pytest.mark.faults
POINTS = 20 if os.environ.get("STUDIO_TEST_FULL") == "1" else 6

# Forks a studio for each line of its input, a home and a number of lines; 0 says how many lines it took.
STUDIOS = """
import os, signal, sys
from pathlib import Path
from studio.training import starting
from studio.training.sweeps import course, search, store
from tests.unit.training.room import open_room
from tests.unit.training.sweeping import ADMIN, Bench, open_sweeps, run_to_the_end
import optuna, sqlalchemy.dialects.sqlite

WATCHED = {module.__file__ for module in (course, search, store, starting)}

def studio(home, last):
    lines = 0
    def line(frame, event, _):
        nonlocal lines
        lines += event == "line"
        if lines == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return line
    room = open_room(home)
    bench = Bench(room, open_sweeps(room))
    [sweep] = bench.sweeps.list(ADMIN)
    sys.settrace(lambda frame, event, _: line if frame.f_code.co_filename in WATCHED else None)
    run_to_the_end(bench, sweep)
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
            process.stdin.write(f"{home}:{last}\n")
            return int(process.stdout.readline())

        yield live
        process.stdin.close()


@pytest.fixture
def prepared(tmp_path: Path, tiny_model: Path) -> Callable[[str], Path]:
    """Makes a home in which a sweep has been asked for and nothing has happened yet."""
    origin = tmp_path / "origin"
    origin.mkdir()
    room = open_room(origin)
    furnish(room, tiny_model)
    Bench(room, open_sweeps(room)).start(trials=3, method="grid")
    room.database.close()

    def copy(name: str) -> Path:
        return Path(shutil.copytree(origin, tmp_path / name))

    return copy


def taken_over(home: Path) -> None:
    """Another studio opens the home and brings the sweep to its end."""
    room = open_room(home)
    bench = Bench(room, open_sweeps(room))
    [sweep] = bench.sweeps.list(ADMIN)
    run_to_the_end(bench, sweep)
    trials = bench.trials(sweep)
    assert bench.sweeps.get(ADMIN, sweep.id).state is SweepState.FINISHED
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert len({(one.params["learning_rate"], one.params["lora.r"]) for one in trials}) == 3
    # One run a trial, and no run of none.
    runs = bench.runs(sweep)
    assert sorted(run.id for run in runs) == sorted(trial.run_id for trial in trials)
    assert all(run.attempts == 1 for run in runs)
    study = optuna.load_study(
        study_name=None, storage=f"sqlite:///{home / 'sweeps' / sweep.id / 'optuna.db'}"
    )
    told = {one.number: one.value for one in study.trials if one.state.name == "COMPLETE"}
    assert told == {trial.number: trial.value for trial in trials}
    # What a kill cut short while it was asked for is told to be over, too.
    assert {one.state.name for one in study.trials} <= {"COMPLETE", "FAIL"}
    room.database.close()


def test_kill_9_at_every_joint_of_a_trial(
    prepared: Callable[[str], Path], studios: Callable[[Path, int], int]
) -> None:
    counted = prepared("counted")
    lines = studios(counted, 0)
    assert lines > 200
    taken_over(counted)
    for point in (1 + number * (lines - 1) // (POINTS - 1) for number in range(POINTS)):
        home = prepared(f"killed_at_{point}")
        assert studios(home, point) == -signal.SIGKILL
        taken_over(home)
