"""The queue as researchers see it, pausing, and what a request says of when and where a run goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core import LOCAL_ADMIN, Access, Actor, Conflict, Forbidden, InvalidInput, Node, NotFound, Role
from studio.core.access import SharingChange, Visibility
from studio.jobs import JobState
from studio.jobs.devices import Devices
from studio.training import Run, Stage, StartRun
from tests.unit.training.ends import end_job, give_weights
from tests.unit.training.room import RECIPE, Room, furnish, open_room

ADMIN = LOCAL_ADMIN
ROSA = Actor("rosa", Role.RESEARCHER)


@pytest.fixture
def room(home: Path, tiny_model: Path) -> Iterator[Room]:
    made = open_room(home)
    furnish(made, tiny_model)
    yield made
    made.database.close()


def start(room: Room, **said: object) -> Run:
    return room.training.start(ADMIN, StartRun(Stage.SFT, RECIPE, **said))  # type: ignore[arg-type]


def waiting(room: Room, actor: Actor = ADMIN) -> list[str]:
    return [one.run.id for one in room.training.queue(actor)]


def hide(room: Room, node: Node) -> None:
    Access(room.database, room.audit).share(ADMIN, node, SharingChange(visibility=Visibility.PRIVATE))


def test_runs_wait_in_the_order_of_priority_and_of_hands(room: Room) -> None:
    one, two, three = start(room), start(room, priority=5), start(room)
    assert waiting(room) == [two.id, one.id, three.id]
    assert [found.place for found in room.training.queue(ADMIN)] == [1, 2, 3]
    room.training.move(ADMIN, three.id, one.id)
    assert waiting(room) == [two.id, three.id, one.id]
    assert room.training.prioritise(ADMIN, one.id, 9).priority == 9
    assert waiting(room) == [one.id, two.id, three.id]
    # A place before a run of a higher priority is that priority.
    assert room.training.move(ADMIN, three.id, two.id).priority == 5
    assert waiting(room) == [one.id, three.id, two.id]
    room.training.move(ADMIN, one.id)
    assert waiting(room)[-1] == one.id
    end_job(room, one, 75)
    assert room.training.get(ADMIN, three.id).priority == 5


def test_only_what_waits_has_a_place(room: Room) -> None:
    one, two = start(room), start(room)
    end_job(room, one, 1)
    for call in (
        lambda: room.training.move(ADMIN, one.id, two.id),
        lambda: room.training.move(ADMIN, two.id, one.id),
        lambda: room.training.prioritise(ADMIN, one.id, 1),
    ):
        with pytest.raises(Conflict, match="does not wait"):
            call()
    with pytest.raises(InvalidInput):
        room.training.prioritise(ADMIN, two.id, 10**6)
    with pytest.raises(InvalidInput):
        start(room, priority=10**6)
    assert waiting(room) == [two.id]


def test_a_run_waits_for_another_by_name(room: Room) -> None:
    first = start(room, name="the first")
    then = start(room, after=(first.id, first.id))
    assert then.after == (first.id,)
    assert "the first" in room.training.queue(ADMIN)[1].waits_for
    assert first.id not in room.training.queue(ADMIN)[1].waits_for
    end_job(room, first, 1)
    [still] = room.training.queue(ADMIN)
    assert (still.run.id, still.run.state) == (then.id, JobState.QUEUED)
    assert "failed" in still.waits_for
    either = start(room, after=(first.id,), continue_on_error=True)
    words = {one.run.id: one.waits_for for one in room.training.queue(ADMIN)}[either.id]
    assert "the first" not in words


@pytest.mark.parametrize("result", [{"kind": "adapter"}, {"kind": "?", "path": "x", "parameters": 1}])
def test_weights_that_cannot_be_registered_are_no_success_for_whoever_waits(
    room: Room, result: dict[str, object]
) -> None:
    first = start(room, name="the first")
    start(room, after=(first.id,))
    # Its job has succeeded, and what it left cannot be used.
    end_job(room, first, 0, result=result)
    assert room.get(first).state is JobState.FAILED
    [still] = room.training.queue(ADMIN)
    assert still.waits_for.startswith("Waits for the first to succeed: it failed")


def test_what_it_cannot_wait_for_or_run_on_is_refused_before_anything_is_written(room: Room) -> None:
    with pytest.raises(InvalidInput) as caught:
        start(room, after=("run_x",), devices=(0, 1))
    assert [line.split(":")[0] for line in caught.value.details] == ["after", "devices"]
    with pytest.raises(InvalidInput, match="GPUs"):
        start(room, devices=(-1,))
    assert room.training.list(ADMIN) == room.jobs.list(ADMIN) == ()


def test_what_it_waits_for_and_needs_reaches_the_job(room: Room) -> None:
    first = start(room)
    run = start(room, after=(first.id,), continue_on_error=True, priority=3, devices=(0,))
    spec = room.jobs._store.spec(run.job_id)
    assert spec is not None
    assert (spec.after, spec.after_any, spec.priority, spec.devices) == ((first.id,), True, 3, (0,))
    assert spec.device_count == 1
    assert run.predicted_memory_bytes
    assert spec.memory_bytes == run.predicted_memory_bytes
    assert spec.payload["tokens"] == str(room.home / "tokens")
    assert room.get(run).predicted_memory_bytes == run.predicted_memory_bytes


def test_a_paused_run_is_a_stopped_one_that_goes_on(room: Room) -> None:
    run = room.training.pause(ADMIN, start(room).id)
    assert (run.state, run.paused) == (JobState.STOPPED, True)
    assert not room.training.resume(ADMIN, run.id).paused
    assert room.training.pause(ADMIN, run.id).paused
    # Nobody means to take it up any more.
    assert not room.training.stop(ADMIN, run.id).paused
    assert room.training.pause(ADMIN, run.id).paused
    failed = start(room)
    end_job(room, failed, 1)
    with pytest.raises(Conflict, match="failed"):
        room.training.pause(ADMIN, failed.id)
    done = start(room)
    end_job(room, done, 0, result=give_weights(room, done))
    with pytest.raises(Conflict, match="succeeded"):
        room.training.pause(ADMIN, done.id)


@pytest.mark.parametrize("paused", [True, False])
def test_who_was_looking_at_an_earlier_attempt_does_not_halt_the_next(room: Room, paused: bool) -> None:
    run = start(room)
    earlier = room.training._store.get(run.id)
    end_job(room, run, 75)
    room.training.resume(ADMIN, run.id)
    with pytest.raises(Conflict, match="was just taken up again"):
        room.training._halt(ADMIN, earlier, paused=paused)
    assert (room.get(run).paused, room.get(run).state) == (False, JobState.QUEUED)


def test_one_that_fails_while_it_is_paused_is_not_paused(room: Room) -> None:
    run = start(room)
    room.training._store.pause(run.id, run.job_id, paused=True)
    end_job(room, run, 1)
    assert not room.get(run).paused


def test_who_may_not_use_its_data_does_not_know_of_a_run(room: Room) -> None:
    hidden = start(room, name="secret")
    corpus = room.training.start(
        ADMIN,
        StartRun(Stage.CPT, "model: tiny\ndataset: corpus\noutput: read\n", after=(hidden.id,), name="open"),
    )
    hide(room, Node("dataset", room.datasets.version(ADMIN, "talk").dataset_id))
    [seen] = room.training.queue(ROSA)
    assert (seen.run.id, seen.run.after) == (corpus.id, ())
    assert hidden.id not in seen.waits_for
    assert "secret" not in seen.waits_for
    assert room.training.get(ROSA, corpus.id).after == ()
    assert room.training.get(ADMIN, corpus.id).after == (hidden.id,)
    calls = (
        lambda: room.training.move(ROSA, hidden.id, None),
        lambda: room.training.move(ROSA, corpus.id, hidden.id),
        lambda: room.training.prioritise(ROSA, hidden.id, 1),
        lambda: room.training.pause(ROSA, hidden.id),
        lambda: room.training.retry(ROSA, hidden.id, with_fix=False),
        lambda: room.training.failure(ROSA, hidden.id),
        lambda: room.training.checkpoints(ROSA, hidden.id),
        lambda: room.training.keep_checkpoint(ROSA, hidden.id, 1),
        lambda: room.training.delete_checkpoint(ROSA, hidden.id, 1),
        lambda: room.training.compare(ROSA, (corpus.id, hidden.id)),
        lambda: room.training.command(ROSA, hidden.id),
        lambda: room.training.telemetry(ROSA, hidden.id),
        lambda: room.training.points(ROSA, hidden.id, most=10),
    )
    for call in calls:
        with pytest.raises(NotFound) as caught:
            call()
        # As for a run that never was.
        assert caught.value.message == f"There is no run {hidden.id}."
    with pytest.raises(InvalidInput) as refused:
        room.training.start(ROSA, StartRun(Stage.CPT, corpus.recipe, after=(hidden.id,)))
    assert refused.value.details[0].startswith("after: There is no run")
    with pytest.raises(InvalidInput, match="cannot be started"):
        room.training.estimate(ROSA, Stage.SFT, RECIPE)
    assert waiting(room) == [hidden.id, corpus.id]


def test_what_a_hidden_run_is_called_comes_back_from_no_act(room: Room) -> None:
    hidden = start(room, name="secret")
    corpus = room.training.start(
        ADMIN,
        StartRun(
            Stage.CPT,
            "model: tiny\ndataset: corpus\noutput: read\n",
            request_id="once",
            after=(hidden.id,),
        ),
    )
    hide(room, Node("dataset", room.datasets.version(ADMIN, "talk").dataset_id))
    same = room.training.start(ROSA, StartRun(Stage.CPT, corpus.recipe, request_id="once"))
    assert (same.id, same.after) == (corpus.id, ())
    room.training.stop(ADMIN, corpus.id)
    # Whoever may not see what the first try waited for may try again, and the next one waits as well.
    again = room.training.retry(ROSA, corpus.id, with_fix=False)
    assert (again.after, room.get(again).after) == ((), (hidden.id,))
    assert room.training.resume(ROSA, corpus.id).after == ()


def test_what_cannot_go_on_stays_as_it_was(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(room, devices=(3,))
    paused = room.training.pause(ADMIN, run.id)
    monkeypatch.setattr(room.jobs, "_devices", Devices("0,1", lambda: ()))
    with pytest.raises(InvalidInput, match="GPU 3"):
        room.training.resume(ADMIN, run.id)
    room.training.settle(())
    assert room.get(run) == paused


def test_roles(room: Room) -> None:
    run = start(room)
    stakeholder = Actor("s", Role.STAKEHOLDER)
    calls = (
        lambda: room.training.queue(stakeholder),
        lambda: room.training.move(stakeholder, run.id, None),
        lambda: room.training.prioritise(stakeholder, run.id, 1),
        lambda: room.training.pause(stakeholder, run.id),
        lambda: room.training.retry(stakeholder, run.id, with_fix=False),
        lambda: room.training.failure(stakeholder, run.id),
        lambda: room.training.checkpoints(stakeholder, run.id),
        lambda: room.training.keep_checkpoint(stakeholder, run.id, 1),
        lambda: room.training.delete_checkpoint(stakeholder, run.id, 1),
        lambda: room.training.command(stakeholder, run.id),
        lambda: room.training.telemetry(stakeholder, run.id),
        lambda: room.training.estimate(stakeholder, Stage.SFT, RECIPE),
    )
    for call in calls:
        with pytest.raises(Forbidden):
            call()
