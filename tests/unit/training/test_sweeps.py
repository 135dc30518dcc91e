"""Sweeps without a trainer: how trials are made, judged, ended early, stopped, resumed and told apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core import Actor, Conflict, Forbidden, InvalidInput, Node, NotFound, Role, Settings
from studio.core.access import SharingChange, Visibility
from studio.datasets import ImportRequest
from studio.jobs import JobState
from studio.registry import BaseSource
from studio.studio import open_studio
from studio.training import Stage, StartRun, parse_recipe
from studio.training.metrics import MetricsWriter
from studio.training.sweeps import SweepState, TrialState
from tests.unit.training.ends import end_job, give_weights
from tests.unit.training.room import furnish, open_room
from tests.unit.training.sweeping import ADMIN, RECIPE, Bench, open_sweeps, wanted

ADA = Actor("ada", Role.RESEARCHER)
BOB = Actor("bob", Role.RESEARCHER)


@pytest.fixture
def bench(home: Path, tiny_model: Path) -> Iterator[Bench]:
    room = open_room(home)
    furnish(room, tiny_model)
    yield Bench(room, open_sweeps(room))
    room.database.close()


def test_trials_are_made_one_by_one_and_the_best_is_trained(bench: Bench) -> None:
    sweep = bench.start(trials=3)
    assert bench.trials(sweep) == ()
    for number, loss in enumerate((2.0, 1.5, 1.8)):
        bench.beat()
        bench.beat()
        trial = bench.going(sweep)
        run = bench.run(trial)
        assert (trial.number, trial.state, run.state) == (number, TrialState.RUNNING, JobState.QUEUED)
        assert (run.name, run.sweep_id) == (f"tuned sweep #{number + 1}", sweep.id)
        recipe = parse_recipe(Stage.SFT, run.recipe)
        assert recipe.learning_rate == trial.params["learning_rate"]
        assert recipe.lora.r == trial.params["lora.r"] in (4, 8)
        assert recipe.output == "tuned-sweep"
        bench.complete(trial, 3.0, loss)
    bench.beat()
    ended = bench.sweeps.get(ADMIN, sweep.id)
    assert (ended.state, len(bench.runs(sweep))) == (SweepState.FINISHED, 3)
    assert [trial.value for trial in bench.trials(sweep)] == [2.0, 1.5, 1.8]
    assert len({trial.params["learning_rate"] for trial in bench.trials(sweep)}) == 3
    best = bench.sweeps.best(ADMIN, sweep.id)
    assert best is not None
    assert best.number == 1
    assert bench.sweeps.insight(ADMIN, sweep.id).best == ((0, 2.0), (1, 1.5), (2, 1.5))
    run = bench.sweeps.train_best(ADMIN, sweep.id, epochs=3.0, request_id="best")
    made = parse_recipe(Stage.SFT, run.recipe)
    assert (made.epochs, made.max_steps, made.output) == (3.0, -1, "tuned")
    assert made.learning_rate == best.params["learning_rate"]
    assert bench.sweeps.train_best(ADMIN, sweep.id, epochs=3.0, request_id="best").id == run.id
    with pytest.raises(Conflict):
        bench.sweeps.resume(ADMIN, sweep.id)


def test_the_same_seed_searches_the_same(bench: Bench) -> None:
    found = []
    for seed, fresh in ((3, False), (3, True), (4, False)):
        sweep = bench.start(method="random", seed=seed, trials=2, at_once=1)
        for _ in range(2):
            bench.beat()
            bench.complete(bench.going(sweep), 1.0)
            if fresh:
                bench.sweeps = open_sweeps(bench.room)  # a restart between two trials
        bench.beat()
        found.append([trial.params for trial in bench.trials(sweep)])
    assert found[0] == found[1] != found[2]


def test_a_grid_tries_every_combination_once(bench: Bench) -> None:
    space = {"lora.r": [4, 8], "learning_rate": [1e-3, 1e-2]}
    sweep = bench.start(method="grid", space=space, trials=9, at_once=2)
    for _ in range(2):
        bench.beat()
        bench.sweeps = open_sweeps(bench.room)
        going = [one for one in bench.trials(sweep) if not one.state.final]
        assert len(going) == 2
        for trial in going:
            bench.complete(trial, float(trial.number))
    bench.beat()
    assert bench.sweeps.get(ADMIN, sweep.id).state is SweepState.FINISHED
    assert "4 combinations" in bench.sweeps.get(ADMIN, sweep.id).reason
    tried = {(one.params["lora.r"], one.params["learning_rate"]) for one in bench.trials(sweep)}
    assert tried == {(4, 1e-3), (4, 1e-2), (8, 1e-3), (8, 1e-2)}


def test_a_trial_that_does_badly_is_ended_early_and_says_why(bench: Bench) -> None:
    sweep = bench.start(trials=5, pruning={"rule": "median", "after_trials": 2, "after_evaluations": 2})
    for losses in ((2.0, 1.0, 0.9), (2.0, 1.2, 1.1)):
        bench.beat()
        bench.complete(bench.going(sweep), *losses)
    bench.beat()
    bad = bench.going(sweep)
    bench.measure(bad, 9.0)
    bench.beat()
    # At its first evaluation nobody is judged.
    assert bench.run(bad).state is JobState.QUEUED
    bench.measure(bad, 9.0, 8.0)
    bench.beat()
    bench.beat()
    pruned = bench.trials(sweep)[2]
    assert (pruned.state, pruned.value) == (TrialState.PRUNED, 8.0)
    assert "at step 4" in pruned.reason
    assert "8" in pruned.reason
    assert "the median of the 2 trials" in pruned.reason
    assert (bench.run(bad).state, bench.run(bad).reason) == (JobState.STOPPED, pruned.reason)
    good = bench.going(sweep)
    bench.measure(good, 9.0, 1.05)
    bench.beat()
    bench.beat()
    assert bench.run(good).state is JobState.QUEUED
    bench.complete(good, 9.0, 1.05, 0.8)
    bench.beat()
    best = bench.sweeps.best(ADMIN, sweep.id)
    assert best is not None
    assert best.number == good.number


def test_accuracy_is_better_the_higher_it_is(bench: Bench) -> None:
    pairs = [{"prompt": f"Q{n}?", "chosen": f"Good {n}.", "rejected": f"Bad {n}."} for n in range(20)]
    source = bench.room.home.with_name("pairs.jsonl")
    source.write_text("".join(json.dumps(row) + "\n" for row in pairs))
    bench.room.datasets.import_file(ADMIN, ImportRequest(source, "pairs"))
    recipe = RECIPE | {"stage": "dpo", "dataset": "pairs"}
    sweep = bench.start(
        recipe=recipe,
        space={"beta": "0.01 to 0.5 log"},
        objective="eval/rewards_accuracy",
        trials=3,
        pruning={"rule": "percentile", "percentile": 50, "after_trials": 1},
    )
    bench.beat()
    first = bench.going(sweep)
    bench.measure(first, 0.7, 0.8, name="eval/rewards_accuracy")
    bench.complete(first)
    bench.beat()
    worse = bench.going(sweep)
    bench.measure(worse, 0.5, name="eval/rewards_accuracy")
    bench.beat()
    bench.beat()
    assert bench.trials(sweep)[1].state is TrialState.PRUNED
    assert "rewards accuracy so far, 0.5, is below 0.7" in bench.trials(sweep)[1].reason
    better = bench.going(sweep)
    bench.measure(better, 0.9, name="eval/rewards_accuracy")
    bench.complete(better)
    bench.beat()
    best = bench.sweeps.best(ADMIN, sweep.id)
    assert best is not None
    assert (best.number, best.value) == (2, 0.9)


def test_the_best_checkpoint_counts_where_it_is_given_out(bench: Bench) -> None:
    sweep = bench.start(recipe=RECIPE | {"keep_best": True}, trials=1)
    bench.beat()
    bench.complete(bench.going(sweep), 2.0, 1.0, 1.5)
    bench.beat()
    assert bench.trials(sweep)[0].value == 1.0


def test_a_stopped_sweep_goes_on_where_it_was(bench: Bench) -> None:
    sweep = bench.start(trials=3, at_once=2)
    bench.beat()
    first, second = bench.trials(sweep)
    bench.complete(first, 1.0)
    assert bench.sweeps.stop(ADMIN, sweep.id).state is SweepState.STOPPED
    assert bench.sweeps.stop(ADMIN, sweep.id).state is SweepState.STOPPED
    bench.beat()
    bench.beat()
    states = [trial.state for trial in bench.trials(sweep)]
    assert states == [TrialState.COMPLETE, TrialState.HELD]
    assert bench.run(second).state is JobState.STOPPED
    bench.sweeps = open_sweeps(bench.room)
    assert bench.sweeps.resume(ADMIN, sweep.id).state is SweepState.RUNNING
    bench.beat()
    assert bench.run(second).state is JobState.QUEUED
    assert bench.run(second).attempts == 2
    assert [trial.state for trial in bench.trials(sweep)][1:] == [TrialState.RUNNING] * 2
    for trial in bench.trials(sweep)[1:]:
        bench.complete(trial, 2.0)
    bench.beat()
    assert bench.sweeps.get(ADMIN, sweep.id).state is SweepState.FINISHED
    assert len(bench.runs(sweep)) == 3


def test_what_people_do_to_a_trials_run_is_taken_as_it_is(bench: Bench) -> None:
    sweep = bench.start(trials=3)
    bench.beat()
    paused = bench.going(sweep)
    bench.room.training.pause(ADMIN, paused.run_id)
    bench.beat()
    # Somebody means to take it up again: it keeps its place.
    assert bench.going(sweep).number == paused.number
    bench.room.training.resume(ADMIN, paused.run_id)
    bench.beat()
    bench.room.training.stop(ADMIN, paused.run_id)
    bench.beat()
    assert bench.trials(sweep)[0].state is TrialState.STOPPED
    assert bench.going(sweep).number == 1


def test_trials_that_fail_are_counted_and_a_row_of_them_ends_the_sweep(bench: Bench) -> None:
    sweep = bench.start(trials=9)
    bench.beat()
    end_job(bench.room, bench.run(bench.going(sweep)), 1)
    bench.beat()
    assert bench.trials(sweep)[0].state is TrialState.FAILED
    assert "exit code 1" in bench.trials(sweep)[0].reason
    bench.complete(bench.going(sweep))  # and measured nothing
    bench.beat()
    assert "measured no eval/loss" in bench.trials(sweep)[1].reason
    for _ in range(3):
        end_job(bench.room, bench.run(bench.going(sweep)), 1)
        bench.beat()
    ended = bench.sweeps.get(ADMIN, sweep.id)
    assert ended.state is SweepState.FAILED
    assert "5 trials in a row failed" in ended.reason
    with pytest.raises(Conflict, match="No trial"):
        bench.sweeps.train_best(ADMIN, sweep.id)


def test_values_that_contradict_each_other_fail_their_trial(bench: Bench) -> None:
    space = {"method": ["full", "lora"], "learning_rate": [1e-3, 5e-3]}
    sweep = bench.start(method="grid", space=space, trials=4, at_once=4)
    bench.beat()
    states = {(one.params["method"], one.params["learning_rate"]): one for one in bench.trials(sweep)}
    assert states["full", 5e-3].state is TrialState.FAILED
    assert "too high for method: full" in states["full", 5e-3].reason
    assert states["lora", 5e-3].state is TrialState.RUNNING


def test_who_may_not_use_the_data_does_not_see_the_sweep(settings: Settings, tiny_model: Path) -> None:
    studio = open_studio(settings)
    rows = [{"prompt": f"Q{n}?", "completion": f"A{n}."} for n in range(20)]
    source = settings.home.with_name("private.jsonl")
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    studio.registry.register_base(ADMIN, BaseSource(str(tiny_model), "tiny"))
    studio.datasets.import_file(ADA, ImportRequest(source, "talk"))
    sweep = studio.sweeps.start(ADA, wanted())
    assert studio.sweeps.list(BOB) == (sweep,)
    talk = Node("dataset", studio.datasets.version(ADA, "talk").dataset_id)
    studio.access.share(ADA, talk, SharingChange(visibility=Visibility.PRIVATE))
    assert studio.sweeps.get(ADA, sweep.id) == sweep
    assert studio.sweeps.list(BOB) == ()
    for ask in ("get", "trials", "best", "insight", "stop", "resume", "train_best"):
        with pytest.raises(NotFound, match="no sweep"):
            getattr(studio.sweeps, ask)(BOB, sweep.id)
    # Its trials are ada's runs, made with what ada may use.
    studio.sweeps.tick()
    [trial] = studio.sweeps.trials(ADA, sweep.id)
    assert trial.state is TrialState.RUNNING
    with pytest.raises(NotFound):
        studio.training.get(BOB, trial.run_id)
    studio.sweeps.pseudonymise(ADMIN, "ada", "erased-1")
    assert studio.sweeps.list(ADMIN)[0].created_by == "erased-1"
    studio.close()


def test_one_request_starts_one_sweep(bench: Bench) -> None:
    first = bench.sweeps.start(ADMIN, wanted(), "ask")
    assert bench.sweeps.start(ADMIN, wanted(), "ask").id == first.id
    with pytest.raises(Conflict):
        bench.sweeps.start(ADMIN, wanted(trials=2), "ask")
    assert len(bench.sweeps.list(ADMIN)) == 1


def test_a_sweep_that_cannot_be_started_is_refused_whole(bench: Bench) -> None:
    for wrong, said in (
        (wanted(recipe=RECIPE | {"model": "nobody"}), "model"),
        (wanted(recipe=RECIPE | {"dataset": "corpus"}), "corpus"),
        (wanted(trials=2, at_once=3), "at once"),
    ):
        with pytest.raises(InvalidInput, match=said):
            bench.sweeps.start(ADMIN, wrong)
    with pytest.raises(NotFound):
        bench.sweeps.get(ADMIN, "sweep_x")
    with pytest.raises(Forbidden):
        bench.sweeps.start(Actor("zoe", Role.STAKEHOLDER), wanted())
    assert bench.sweeps.list(ADMIN) == ()


def test_time_is_foretold_where_a_run_like_it_is_known(bench: Bench) -> None:
    assert bench.sweeps.outlook(ADMIN, wanted()).seconds is None
    recipe = "model: tiny\ndataset: talk\nbatch_size: 2\nmax_steps: 3\n"
    run = bench.room.training.start(ADMIN, StartRun(Stage.SFT, recipe))
    writer = MetricsWriter(bench.room.home / "runs" / run.id / "metrics.jsonl")
    writer.append(3, 30.0, 300, {"train/loss": 1.0})
    writer.close()
    end_job(bench.room, run, 0, result=give_weights(bench.room, run))
    found = bench.sweeps.outlook(ADMIN, wanted())
    assert (found.trials, found.trial_seconds, found.seconds) == (4, 60.0, 240.0)
    grid = wanted(method="grid", space={"lora.r": [4, 8]}, trials=9)
    assert bench.sweeps.outlook(ADMIN, grid).trials == 2


def test_what_mattered_is_found_once_there_are_trials(bench: Bench) -> None:
    sweep = bench.start(trials=6, at_once=6, method="random")
    bench.beat()
    assert bench.sweeps.insight(ADMIN, sweep.id).importance == {}
    for trial in bench.trials(sweep):
        bench.complete(trial, float(trial.params["learning_rate"]))
    bench.beat()
    found = bench.sweeps.insight(ADMIN, sweep.id).importance
    assert set(found) == {"learning_rate", "lora.r"}
    assert sum(found.values()) == pytest.approx(1.0)
