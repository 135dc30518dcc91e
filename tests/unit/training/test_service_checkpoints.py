"""Checkpoints of a run: listed, kept as models, deleted, and gone on from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core import LOCAL_ADMIN, Actor, Conflict, InvalidInput, Node, NotFound, Role
from studio.registry import ModelKind
from studio.registry.folders import publish
from studio.training import Run, Stage, StartRun, upkeep
from tests.unit.training.ends import end_job, give_checkpoint, give_weights
from tests.unit.training.room import Room, furnish, open_room

ADMIN = LOCAL_ADMIN


@pytest.fixture
def room(home: Path, tiny_model: Path) -> Iterator[Room]:
    made = open_room(home)
    furnish(made, tiny_model)
    yield made
    made.database.close()


@pytest.fixture
def run(room: Room) -> Run:
    """A run with checkpoints at steps 10, 20 and 30, the middle one the best."""
    made = room.start("keep_best: true\neval_every: 10\n")
    for step, loss in ((10, 2.0), (20, 1.0), (30, 1.5)):
        give_checkpoint(room, made, step, loss)
    return made


def steps(room: Room, run: Run) -> list[int]:
    return [one.step for one in room.training.checkpoints(ADMIN, run.id)]


def test_they_are_listed_with_their_losses_newest_first(room: Room, run: Run) -> None:
    folder = room.home / "runs" / run.id / "checkpoints"
    (folder / "step-000040").mkdir()  # one that is being written
    found = room.training.checkpoints(ADMIN, run.id)
    assert [(one.step, one.eval_loss, one.best, one.newest) for one in found] == [
        (30, 1.5, False, True),
        (20, 1.0, True, False),
        (10, 2.0, False, False),
    ]
    assert all(one.bytes > 0 and one.written_at > 0 for one in found)


def test_who_keeps_one_at_the_same_time_gets_the_same(
    room: Room, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(staging: Path, target: Path) -> None:
        shutil.copytree(staging, target)  # Somebody else is faster by this much.
        publish(staging, target)

    monkeypatch.setattr(upkeep, "publish", late)
    version = room.training.keep_checkpoint(ADMIN, run.id, 20, "kept")
    monkeypatch.undo()
    assert room.training.keep_checkpoint(ADMIN, run.id, 20, "kept") == version
    assert [path.name for path in version.path.parent.iterdir()] == [version.path.name]


def test_an_unfinished_run_keeps_what_it_may_need(room: Room, run: Run) -> None:
    for step, why in ((30, "newest"), (20, "best")):
        with pytest.raises(Conflict, match=why):
            room.training.delete_checkpoint(ADMIN, run.id, step)
    room.training.delete_checkpoint(ADMIN, run.id, 10)
    assert steps(room, run) == [30, 20]
    with pytest.raises(NotFound, match="step 10"):
        room.training.delete_checkpoint(ADMIN, run.id, 10)
    end_job(room, run, 0, result=give_weights(room, run))
    for step in (30, 20):
        room.training.delete_checkpoint(ADMIN, run.id, step)
    assert steps(room, run) == []


def test_a_kept_checkpoint_is_a_model_that_outlives_it(room: Room, run: Run) -> None:
    kept = room.training.keep_checkpoint(ADMIN, run.id, 20, "early")
    assert (kept.reference, kept.kind, kept.run_id) == ("early@1", ModelKind.ADAPTER, None)
    assert kept.origin == f"Step 20 of run {run.id}"
    assert kept.parameters == 2
    assert {path.name for path in kept.path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert room.training.keep_checkpoint(ADMIN, run.id, 20, "early").id == kept.id
    edges = {(edge.relation, edge.parent) for edge in room.lineage.parents(Node("model_version", kept.id))}
    assert ("made_by", Node("run", run.id)) in edges
    assert ("continued_from", Node("model_version", run.model_version_id)) in edges
    second = room.training.keep_checkpoint(ADMIN, run.id, 30)
    assert second.reference == "tuned@1"
    shutil.rmtree(room.home / "runs" / run.id / "checkpoints")
    assert (kept.path / "adapter_model.safetensors").read_bytes().endswith((20).to_bytes(8, "little"))
    # The run's own version comes beside it, and the run may still make it.
    end_job(room, run, 0, result=give_weights(room, run))
    done = room.get(run)
    assert room.registry.version(ADMIN, str(done.output_version_id)).reference == "tuned@2"


def test_what_cannot_be_kept(room: Room, run: Run) -> None:
    with pytest.raises(NotFound, match="30, 20, 10"):
        room.training.keep_checkpoint(ADMIN, run.id, 15)
    with pytest.raises(InvalidInput):
        room.training.keep_checkpoint(ADMIN, run.id, 20, "a/b")
    weights = room.home / "runs" / run.id / "checkpoints" / "step-000020" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")  # of the right size, and not what was saved
    with pytest.raises(NotFound):
        room.training.keep_checkpoint(ADMIN, run.id, 20, "broken")
    assert [version.name for version in room.registry.list(ADMIN)] == ["tiny"]


def test_whole_weights_are_kept_with_what_a_server_needs(room: Room, tiny_model: Path) -> None:
    recipe = "model: tiny\ndataset: talk\nmethod: full\nlearning_rate: 1e-5\noutput: whole\n"
    run = room.training.start(ADMIN, StartRun(Stage.SFT, recipe))
    give_checkpoint(room, run, 5, whole=tiny_model)
    kept = room.training.keep_checkpoint(ADMIN, run.id, 5)
    assert (kept.kind, kept.base_id) == (ModelKind.MERGED, kept.id)
    assert (kept.path / "tokenizer.json").exists()
    assert '"use_cache": true' in (kept.path / "config.json").read_text()
    again = room.training.start(ADMIN, StartRun(Stage.SFT, f"model: {kept.reference}\ndataset: talk\n"))
    assert room.jobs._store.spec(again.job_id).payload["base"] == str(kept.path)


def test_a_private_dataset_makes_a_private_model(room: Room, run: Run) -> None:
    from tests.unit.training.test_service_queue import hide

    hide(room, Node("dataset", room.datasets.version(ADMIN, "talk").dataset_id))
    kept = room.training.keep_checkpoint(ADMIN, run.id, 20, "early")
    assert kept.id in room.registry.hidden(Actor("rosa", Role.RESEARCHER))


def test_a_run_goes_on_from_a_chosen_checkpoint(room: Room, run: Run) -> None:
    with pytest.raises(Conflict, match="queued"):
        room.training.resume(ADMIN, run.id, 10)
    end_job(room, run, 75)
    with pytest.raises(NotFound, match="step 11"):
        room.training.resume(ADMIN, run.id, 11)
    again = room.training.resume(ADMIN, run.id, 10)
    assert room.jobs._store.spec(again.job_id).payload["resume_step"] == 10
    with pytest.raises(Conflict, match="goes on from"):
        room.training.delete_checkpoint(ADMIN, run.id, 10)
    assert steps(room, run) == [30, 20, 10]  # given up by the trainer, and not before it begins
    end_job(room, again, 1)
    newest = room.training.resume(ADMIN, run.id)
    assert room.jobs._store.spec(newest.job_id).payload["resume_step"] is None
