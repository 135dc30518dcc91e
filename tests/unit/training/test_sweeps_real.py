"""A real sweep: three short trainings chosen by TPE, one of which is ended early."""

from __future__ import annotations

import time
from pathlib import Path

from studio.jobs import JobState
from studio.training.sweeps import SweepState, TrialState
from tests.unit.training.room import furnish, open_room
from tests.unit.training.sweeping import ADMIN, RECIPE, Bench, open_sweeps


def test_three_trials_are_trained_and_the_bad_one_is_ended_early(home: Path, tiny_model: Path) -> None:
    room = open_room(home)
    furnish(room, tiny_model)
    bench = Bench(room, open_sweeps(room))
    # A rate at which nothing is learnt beside one at which a lot is.
    recipe = RECIPE | {"max_steps": 20, "eval_every": 5, "scheduler": "constant", "eval_rows": 3}
    sweep = bench.start(
        recipe=recipe,
        space={"learning_rate": [1e-7, 5e-3]},
        trials=3,
        pruning={"rule": "median", "after_trials": 1},
        seed=0,  # which tries the good rate first
    )
    deadline = time.monotonic() + 240
    while bench.sweeps.get(ADMIN, sweep.id).state is SweepState.RUNNING:
        assert time.monotonic() < deadline, bench.trials(sweep)
        room.tick()
        bench.sweeps.tick()
        time.sleep(0.05)
    trials = bench.trials(sweep)
    states = [trial.state for trial in trials]
    assert set(states) == {TrialState.COMPLETE, TrialState.PRUNED}, trials
    best = bench.sweeps.best(ADMIN, sweep.id)
    assert best is not None
    assert best.params["learning_rate"] == 5e-3
    for trial in trials:
        run = bench.run(trial)
        assert run.summary["eval/loss"] == trial.value
        pruned = trial.state is TrialState.PRUNED
        assert run.state is (JobState.STOPPED if pruned else JobState.SUCCEEDED)
        assert not pruned or (run.reason == trial.reason and trial.params["learning_rate"] == 1e-7)
    room.database.close()
