"""The service: what it refuses, that a retry is harmless, and what it makes of ended jobs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from studio.core import (
    LOCAL_ADMIN,
    Actor,
    Conflict,
    Forbidden,
    InvalidInput,
    Node,
    NotFound,
    Role,
    StudioError,
)
from studio.datasets import NewVersion, SchemaKind, Split
from studio.jobs import JobState
from studio.registry import ModelKind, NewWeights
from studio.training import Stage, StartRun
from tests.unit.training.ends import end_job, give_weights
from tests.unit.training.room import RECIPE, Room, furnish, open_room

ADMIN = LOCAL_ADMIN


@pytest.fixture
def room(home: Path, tiny_model: Path) -> Iterator[Room]:
    made = open_room(home)
    furnish(made, tiny_model)
    yield made
    made.database.close()


def refusal(room: Room, recipe: str, stage: Stage = Stage.SFT) -> tuple[str, ...]:
    with pytest.raises(InvalidInput) as caught:
        room.training.start(ADMIN, StartRun(stage, recipe))
    assert room.jobs.list(ADMIN) == ()
    assert room.training.list(ADMIN) == ()
    return caught.value.details


def test_a_start_is_written_down_before_anything_runs(room: Room) -> None:
    run = room.start(request_id="r1")
    assert (run.state, run.attempts, run.name) == (JobState.QUEUED, 1, "tuned 1")
    assert "learning_rate: 0.001" in run.recipe
    assert run.packages["torch"]
    job = room.jobs.get(ADMIN, run.job_id)
    assert (job.kind, job.subject) == ("training", run.id)
    dataset = room.datasets.version(ADMIN, "talk")
    parents = {(edge.relation, edge.parent.id) for edge in room.lineage.parents(Node("run", run.id))}
    model = room.registry.version(ADMIN, "tiny")
    assert parents == {("trained_on", dataset.id), ("warm_start", model.id)}
    assert room.training.points(ADMIN, run.id).columns == {}
    assert room.training.log(ADMIN, run.id).text == ""


def test_fifty_starts_with_one_request_id_make_one_run(room: Room) -> None:
    with ThreadPoolExecutor(25) as pool:
        runs = list(pool.map(lambda _: room.start(request_id="same"), range(50)))
    assert len({run.id for run in runs}) == 1
    assert len(room.training.list(ADMIN)) == len(room.jobs.list(ADMIN)) == 1
    with pytest.raises(Conflict, match="another recipe"):
        room.start("seed: 9\n", request_id="same")


def test_starts_without_a_request_id_are_different_runs(room: Room) -> None:
    assert [room.start().name, room.start().name] == ["tuned 1", "tuned 2"]


def test_everything_that_does_not_fit_is_said_at_once(room: Room) -> None:
    found = refusal(room, "model: nobody\ndataset: corpus\n")
    assert [line.split(":")[0] for line in found] == ["model", "dataset"]
    assert "is of kind corpus, and SFT learns from kind instruction" in found[1]
    found = refusal(room, "model: tiny\ndataset: nothing\nmax_length: 4096\noutput: tiny\n")
    assert [line.split(":")[0] for line in found] == ["dataset", "max_length", "output"]
    assert refusal(room, "model: tiny\ndataset: talk\noutput: a/b\n")[0].startswith("output:")
    assert refusal(room, "model: tiny\ndataset: talk\n", Stage.DPO)[0].startswith("dataset:")
    room.registry.alias(ADMIN, "best", "tiny")
    assert refusal(room, "model: best\ndataset: talk\noutput: best\n")[0].startswith("output:")


def test_a_protected_prompt_is_not_trained_on(room: Room) -> None:
    prompts = [{"role": "user", "content": f"QUESTION {n}?"} for n in range(12)]
    rows = [{"messages": [one, {"role": "assistant", "content": "Else."}]} for one in prompts]
    held_out = NewVersion("exam", SchemaKind.INSTRUCTION, {Split.VALIDATION: rows}, ())
    exam = room.datasets.create(ADMIN, held_out)
    trained = {row["messages"][0]["content"] for row in train_rows(room, "talk")}
    shared = [one for one in prompts if one["content"].capitalize() in trained]
    room.datasets.protect(ADMIN, exam.id, None, "evaluation")
    [found] = refusal(room, "model: tiny\ndataset: talk\n")
    assert found.startswith(f"dataset: {len(shared)} prompts of talk@1 would be trained on")
    assert found.count("evaluation (exam@1)") == min(len(shared), 10) > 1


def test_a_versions_own_held_out_rows_do_not_block_it(room: Room) -> None:
    version = room.datasets.version(ADMIN, "talk")
    assert version.rows[Split.VALIDATION] > 0
    room.datasets.protect(ADMIN, version.id, Split.VALIDATION, "evaluation")
    run = room.start()
    assert run.state is JobState.QUEUED
    # What a run was accepted with reaches its job, whatever is protected a moment later.
    room.datasets.protect(ADMIN, version.id, Split.TRAIN, "gold")
    end_job(room, run, 1)
    with pytest.raises(InvalidInput, match="cannot be started"):
        room.training.resume(ADMIN, run.id)


def train_rows(room: Room, name: str) -> list[dict]:
    version = room.datasets.version(ADMIN, name)
    return list(room.datasets.page(ADMIN, version.id, Split.TRAIN, 0, 100).rows)


def test_full_training_needs_whole_weights(room: Room) -> None:
    run = room.start()
    end_job(room, run, 0, result=give_weights(room, run))
    with pytest.raises(InvalidInput) as caught:
        full = "model: tuned\ndataset: talk\nmethod: full\n"
        room.training.start(ADMIN, StartRun(Stage.SFT, full))
    assert caught.value.details[0].startswith("method: tuned@1 is an adapter")


def test_a_done_job_becomes_a_model_version_once(room: Room) -> None:
    run = room.start()
    metrics = '{"epoch": 0}\n{"step": 0, "time": 0, "tokens": 0, "eval/loss": 3.0}\n'
    metrics += '{"step": 1, "time": 1, "tokens": 5, "eval/loss": 2.0}\n'
    (room.home / "runs" / run.id / "metrics.jsonl").write_text(metrics)
    assert room.get(run).summary == {"eval/loss": 2.0, "eval/loss/first": 3.0}
    end_job(room, run, 0, result=give_weights(room, run), usage={"peak_memory_bytes": 7})
    room.training.settle(())
    done = room.get(run)
    assert (done.state, done.ended_at, done.peak_memory_bytes) == (JobState.SUCCEEDED, 5.0, 7)
    assert done.summary == {"eval/loss": 2.0, "eval/loss/first": 3.0}
    version = room.registry.version(ADMIN, "tuned")
    assert (version.id, version.run_id, version.kind) == (done.output_version_id, run.id, ModelKind.ADAPTER)
    relations = {edge.relation for edge in room.lineage.parents(Node("model_version", version.id))}
    assert "made_by" in relations
    with pytest.raises(Conflict, match="succeeded"):
        room.training.resume(ADMIN, run.id)
    assert room.training.stop(ADMIN, run.id) == done


def test_it_is_not_over_before_it_is_settled(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    run = room.start()
    monkeypatch.setattr(room.training._store, "end", lambda *_: False)
    end_job(room, run, 0, result=give_weights(room, run))
    assert room.get(run).state is JobState.RUNNING


@pytest.mark.parametrize("missing", ["result", "weights"])
def test_a_done_job_without_weights_is_a_failure(room: Room, missing: str) -> None:
    run = room.start()
    result = {"path": "/x/adapter", "kind": "adapter", "parameters": 2}
    end_job(room, run, 0, **({} if missing == "result" else {"result": result}))
    done = room.get(run)
    assert done.state is JobState.FAILED
    assert "could not be registered" in done.reason
    assert done.output_version_id is None


def test_a_stopped_run_goes_on_under_a_new_job(room: Room) -> None:
    run = room.training.stop(ADMIN, room.start().id)
    assert run.state is JobState.STOPPED
    assert run.ended_at is not None
    again = room.training.resume(ADMIN, run.id)
    assert (again.state, again.attempts, again.ended_at) == (JobState.QUEUED, 2, None)
    assert again.job_id != run.job_id
    with pytest.raises(Conflict, match="queued"):
        room.training.resume(ADMIN, run.id)


def test_a_failed_run_says_why_and_goes_on_with_what_it_was_started_with(room: Room) -> None:
    run = room.start()
    end_job(room, run, 1)
    assert (room.get(run).state, room.get(run).reason) == (JobState.FAILED, "exit code 1")
    base = room.registry.version(ADMIN, "tiny")
    # The names mean something else by now: there is a newer model of that name.
    made = give_weights(room, run)
    room.registry.register_weights(
        ADMIN, NewWeights("tiny", ModelKind.ADAPTER, Path(str(made["path"])), base.id, base.id, "other", 2)
    )
    again = room.training.resume(ADMIN, run.id)
    assert room.jobs._store.spec(again.job_id).payload["adapter"] is None


def test_a_run_whose_job_was_never_submitted_gets_it(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(room.training._desk, "submit", crash)
        with pytest.raises(KeyboardInterrupt):
            room.start(request_id="r")
    (run,) = room.training.list(ADMIN)
    assert run.state is JobState.QUEUED
    room.training.settle(())
    assert room.jobs.get(ADMIN, run.job_id).subject == run.id
    assert room.start(request_id="r").id == run.id


def test_a_broken_run_does_not_keep_others_from_being_settled(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken, good = room.start(), room.start()
    settler = room.training._settler
    real = settler.settle

    def settle(entry) -> None:
        if entry.id == broken.id:
            raise RuntimeError("broken")
        real(entry)

    monkeypatch.setattr(settler, "settle", settle)
    end_job(room, good, 75)
    assert room.get(good).state is JobState.STOPPED
    assert broken.id in caplog.text


def test_what_is_not_there_is_said(room: Room) -> None:
    for call in ("get", "stop", "resume", "points", "log"):
        with pytest.raises(NotFound):
            getattr(room.training, call)(ADMIN, "run_x")


def test_roles(room: Room) -> None:
    run = room.start()
    stakeholder = Actor("s", Role.STAKEHOLDER)
    assert room.training.get(stakeholder, run.id).id == run.id
    calls = (
        lambda: room.training.start(stakeholder, StartRun(Stage.SFT, RECIPE)),
        lambda: room.training.stop(stakeholder, run.id),
        lambda: room.training.resume(stakeholder, run.id),
        lambda: room.training.log(stakeholder, run.id),
    )
    for call in calls:
        with pytest.raises(Forbidden):
            call()
    assert issubclass(Forbidden, StudioError)
