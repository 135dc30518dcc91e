"""What is known of a run that failed, its next try, comparing, reproducing, estimating, and older homes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from studio.core import LOCAL_ADMIN, Conflict, InvalidInput, Node, NotFound
from studio.jobs import JobState
from studio.training import FailureCard, FailureKind, Run, Stage, StartRun, parse_recipe
from studio.training.desk import RunDesk
from studio.training.metrics import MetricsWriter
from tests.unit.training.ends import end_job, give_weights
from tests.unit.training.room import RECIPE, Room, furnish, open_room

ADMIN = LOCAL_ADMIN
DIVERGED = "step 2: train/loss 9.1\nThe loss is nan at step 3: training has diverged.\n"


@pytest.fixture
def room(home: Path, tiny_model: Path) -> Iterator[Room]:
    made = open_room(home)
    furnish(made, tiny_model)
    yield made
    made.database.close()


def diverge(room: Room, run: Run) -> None:
    directory = room.jobs.get(ADMIN, run.job_id).directory
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "log.txt").write_text(DIVERGED)
    end_job(room, run, 1)


def test_a_failed_run_has_its_card_where_it_could_not_be_planned_any_more(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = room.start()

    def plan(*_: object) -> NoReturn:
        raise InvalidInput("Its rows are protected by now.", "Take others.")

    monkeypatch.setattr(RunDesk, "plan", plan)
    diverge(room, run)
    card = room.training.failure(ADMIN, run.id)
    assert card is not None
    assert card.kind is FailureKind.NOT_A_NUMBER


def test_a_failed_run_has_its_card_and_a_next_try(room: Room) -> None:
    run = room.start("epochs: 2\n")
    assert room.training.failure(ADMIN, run.id) is None
    with pytest.raises(Conflict, match="queued"):
        room.training.retry(ADMIN, run.id, with_fix=True)
    diverge(room, run)
    card = room.training.failure(ADMIN, run.id)
    assert card is not None
    assert card.kind is FailureKind.NOT_A_NUMBER
    assert any("diverged" in line for line in card.evidence)
    assert card.fix
    # As it was when the run ended, also for a studio that was opened since.
    stored = open_room(room.home)
    assert stored.training.failure(ADMIN, run.id) == card
    stored.database.close()
    # A newer version of the model and of the data must not slip into the next try.
    room.registry.alias(ADMIN, "best", "tiny")
    again = room.training.retry(ADMIN, run.id, with_fix=True)
    assert (again.retry_of, again.name, again.state) == (run.id, "tuned 1 (try 2)", JobState.QUEUED)
    assert (again.model_version_id, again.dataset_version_ids) == (
        run.model_version_id,
        run.dataset_version_ids,
    )
    before, after = (parse_recipe(Stage.SFT, one.recipe) for one in (run, again))
    changed = {name for name in type(before).model_fields if getattr(before, name) != getattr(after, name)}
    assert changed == {"model", "dataset"} | {path.split(".")[0] for path in card.fix}
    assert (after.model, after.dataset) == ("tiny@1", "talk@1")
    assert ("retry_of", Node("run", run.id)) in {
        (edge.relation, edge.parent) for edge in room.lineage.parents(Node("run", again.id))
    }
    assert room.get(run).state is JobState.FAILED
    end_job(room, again, 75)
    assert room.training.retry(ADMIN, again.id, with_fix=False).name == "tuned 1 (try 3)"


def test_one_request_makes_one_next_try(room: Room) -> None:
    run = room.start()
    diverge(room, run)
    tries = {room.training.retry(ADMIN, run.id, with_fix=True, request_id="again").id for _ in range(3)}
    assert len(tries) == 1
    assert len(room.training.list(ADMIN)) == 2


def test_a_fix_is_only_taken_where_there_is_one(room: Room) -> None:
    stopped = room.training.stop(ADMIN, room.start().id)
    assert room.training.failure(ADMIN, stopped.id) is None
    with pytest.raises(Conflict, match="No change is known"):
        room.training.retry(ADMIN, stopped.id, with_fix=True)
    done = room.start()
    end_job(room, done, 0, result=give_weights(room, done))
    with pytest.raises(Conflict, match="succeeded"):
        room.training.retry(ADMIN, done.id, with_fix=False)


def test_a_resumed_run_has_no_card_any_more(room: Room) -> None:
    run = room.start()
    diverge(room, run)
    room.training.resume(ADMIN, run.id)
    assert room.training.failure(ADMIN, run.id) is None
    assert room.training._store.get(run.id).failure is None


def test_a_card_that_cannot_be_made_does_not_keep_a_run_open(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explain(*_: object) -> FailureCard:
        raise RuntimeError("no idea")

    monkeypatch.setattr("studio.training.settling.explain", explain)
    run = room.start()
    end_job(room, run, 1)
    assert room.get(run).state is JobState.FAILED
    assert room.training.failure(ADMIN, run.id) is None
    assert "no idea" in caplog.text


def test_runs_beside_each_other(room: Room) -> None:
    one = room.start("seed: 1\n")
    writer = MetricsWriter(room.home / "runs" / one.id / "metrics.jsonl")
    writer.append(1, 1.0, 10, {"train/loss": 2.5})
    writer.close()
    end_job(room, one, 0, result=give_weights(room, one), usage={"peak_memory_bytes": 7})
    two = room.training.start(ADMIN, StartRun(Stage.SFT, RECIPE.replace("model: tiny", "model: tuned")))
    found = room.training.compare(ADMIN, (two.id, one.id, two.id))
    assert [run.id for run in found.runs] == [two.id, one.id]
    assert found.differences == {"model": ("tuned@1", "tiny@1"), "seed": (0, 1)}
    assert found.table["train/loss"] == (None, 2.5)
    assert found.table["memory/peak_bytes"] == (None, 7.0)
    for wrong in ((), tuple(f"run_{n}" for n in range(51))):
        with pytest.raises(InvalidInput):
            room.training.compare(ADMIN, wrong)
    with pytest.raises(NotFound):
        room.training.compare(ADMIN, ("run_x",))


def test_the_command_names_every_version(room: Room) -> None:
    run = room.training.start(ADMIN, StartRun(Stage.SFT, RECIPE + "seed: 7\n", name="it's\n`mine`"))
    text = room.training.command(ADMIN, run.id)
    head, _, rest = text.partition("RECIPE'\n")
    recipe, _, tail = rest.partition("RECIPE\n")
    assert all(line.startswith(("# ", "cat > ")) for line in head.splitlines())
    assert "torch" in head
    exact = parse_recipe(Stage.SFT, recipe)
    assert (exact.model, exact.dataset, exact.seed) == ("tiny@1", "talk@1", 7)
    assert tail.strip() == f"python -m studio train {run.id}.yaml --name 'it'\"'\"'s `mine`'"


def test_an_estimate_has_parts_and_starts_nothing(room: Room) -> None:
    found = room.training.estimate(ADMIN, Stage.SFT, RECIPE)
    assert found.total == sum(part.bytes for part in found.parts) > 0
    assert found.fits
    assert room.training.list(ADMIN) == ()
    with pytest.raises(InvalidInput):
        room.training.estimate(ADMIN, Stage.SFT, "model: nobody\ndataset: talk\n")


def test_few_points_of_many_keep_what_stands_out(room: Room) -> None:
    run = room.start()
    writer = MetricsWriter(room.home / "runs" / run.id / "metrics.jsonl")
    for step in range(1, 2001):
        writer.append(step, float(step), step, {"train/loss": 9.0 if step == 777 else 1.0})
    writer.close()
    whole = room.training.points(ADMIN, run.id)
    thin = room.training.points(ADMIN, run.id, most=100)
    assert (thin.cursor, thin.epoch) == (whole.cursor, whole.epoch)
    assert len(whole.columns["train/loss"]) == 2000
    assert 10 < len(thin.columns["train/loss"]) <= 110
    assert (777, 9.0, 777.0, 777) in thin.columns["train/loss"]
    with pytest.raises(InvalidInput):
        room.training.points(ADMIN, run.id, most=1)


def test_telemetry_is_read_where_there_is_some(room: Room) -> None:
    run = room.start()
    assert room.training.telemetry(ADMIN, run.id).samples == ()


def test_a_home_of_before_opens_and_its_runs_go_on(room: Room) -> None:
    """A home whose runs know nothing of queues, mixes or failures, and whose recipes lack newer fields."""
    run = room.start(request_id="old")
    end_job(room, run, 75)
    room.database.close()
    short = "stage: sft\nmodel: tiny\ndataset: talk\noutput: tuned\nlearning_rate: 0.001\n"
    short += "max_length: 128\nbatch_size: 2\n"
    with sqlite3.connect(room.home / "studio.db") as plain:
        for column in (
            "priority",
            "after_runs",
            "continue_on_error",
            "devices",
            "predicted_memory_bytes",
            "retry_of",
            "sweep_id",
            "paused",
            "resume_step",
            "failure",
        ):
            plain.execute(f"ALTER TABLE runs DROP COLUMN {column}")
        plain.execute("DELETE FROM _sqlite_migrations WHERE migration_set = 'training' AND name = 'queueing'")
        plain.execute("UPDATE runs SET recipe = ?", (short,))
    old = open_room(room.home)
    try:
        found = old.training.get(ADMIN, run.id)
        assert (found.priority, found.after, found.paused, found.retry_of) == (0, (), False, "")
        # The request that started it still stands for it, though its text is another one today.
        assert old.start(request_id="old").id == run.id
        with pytest.raises(Conflict, match="another recipe"):
            old.start("seed: 1\n", request_id="old")
        assert old.training.resume(ADMIN, run.id).attempts == 2
        assert "tiny@1" in old.training.command(ADMIN, run.id)
    finally:
        old.database.close()


def test_recipes_of_one_meaning_are_one(room: Room) -> None:
    first = room.start(request_id="r")
    text = json.dumps(_values(first))
    assert room.training.start(ADMIN, StartRun(Stage.SFT, text, request_id="r")).id == first.id


def _values(run: Run) -> dict[str, object]:
    return parse_recipe(run.stage, run.recipe).model_dump(mode="json")
