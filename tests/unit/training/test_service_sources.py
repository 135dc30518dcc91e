"""What a run learns from and goes on from: several datasets at once, every stage's kind, any version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.core import LOCAL_ADMIN, Actor, Conflict, InvalidInput, Node, NotFound, Role
from studio.datasets import NewVersion, SchemaKind, Split
from studio.jobs import JobState
from studio.registry import ModelKind, NewWeights
from studio.training import Run, Stage, StartRun
from studio.training.preflight import PreflightService
from studio.training.preflight.machine_checks import Machine
from studio.training.service import TrainingService
from tests.unit.training.ends import end_job, give_weights
from tests.unit.training.room import RECIPE, Room, furnish, open_room
from tests.unit.training.test_service_queue import hide

ADMIN = LOCAL_ADMIN
ROSA = Actor("rosa", Role.RESEARCHER)
MIX = RECIPE + "weight: 3\nmix:\n- dataset: more\n- dataset: most@1\n  weight: 2\n"


@pytest.fixture
def room(home: Path, tiny_model: Path) -> Iterator[Room]:
    made = open_room(home)
    furnish(made, tiny_model)
    for name in ("more", "most"):
        create(made, name, SchemaKind.INSTRUCTION, [talk(name, n) for n in range(8)])
    yield made
    made.database.close()


def talk(name: str, number: int) -> dict[str, Any]:
    asked = {"role": "user", "content": f"{name} {number}?"}
    return {"messages": [asked, {"role": "assistant", "content": f"As {name} says: {number}."}]}


def create(room: Room, name: str, kind: SchemaKind, rows: list[dict[str, Any]]) -> str:
    return room.datasets.create(ADMIN, NewVersion(name, kind, {Split.TRAIN: rows}, ())).id


def start(room: Room, recipe: str, stage: Stage = Stage.SFT, actor: Actor = ADMIN) -> Run:
    return room.training.start(actor, StartRun(stage, recipe))


def refusal(room: Room, recipe: str, stage: Stage = Stage.SFT, actor: Actor = ADMIN) -> tuple[str, ...]:
    with pytest.raises(InvalidInput) as caught:
        start(room, recipe, stage, actor)
    return caught.value.details


def test_a_mix_holds_every_source_in_its_order(room: Room) -> None:
    run = start(room, MIX)
    ids = tuple(room.datasets.version(ADMIN, name).id for name in ("talk", "more", "most"))
    assert run.dataset_version_ids == ids
    edges = room.lineage.parents(Node("run", run.id))
    assert {edge.parent.id for edge in edges if edge.relation == "trained_on"} == set(ids)
    payload = room.jobs._store.spec(run.job_id).payload
    assert [(one["name"], one["weight"]) for one in payload["mix"]] == [("more@1", 1.0), ("most@1", 2.0)]
    assert all(Path(one["train"]).exists() for one in payload["mix"])
    assert "dataset: more@1" in room.training.command(ADMIN, run.id)
    # A newer version of a source is not what the run learns from when it goes on.
    create(room, "more", SchemaKind.INSTRUCTION, [talk("newer", n) for n in range(3)])
    end_job(room, run, 75)
    again = room.training.resume(ADMIN, run.id)
    assert room.jobs._store.spec(again.job_id).payload["mix"] == payload["mix"]


def test_every_source_is_checked(room: Room) -> None:
    mix = RECIPE + "mix:\n- dataset: corpus\n- dataset: nothing\n- dataset: more@1\n- dataset: more\n"
    found = refusal(room, mix)
    assert [line.split(":")[0] for line in found] == ["mix.0.dataset", "mix.1.dataset", "mix.3.dataset"]
    assert "kind corpus" in found[0]
    assert "named twice" in found[2]
    exam = create(room, "exam", SchemaKind.INSTRUCTION, [talk("most", 3)])
    room.datasets.protect(ADMIN, exam, None, "evaluation")
    [protected] = refusal(room, MIX)
    assert protected.startswith("mix.1.dataset: 1 prompt of most@1 would be trained on")


def test_a_source_that_is_hidden_is_not_there(room: Room) -> None:
    run = start(room, MIX)
    room.registry.alias(ADMIN, "open", "tiny")
    hide(room, Node("dataset", room.datasets.version(ADMIN, "most").dataset_id))
    with pytest.raises(NotFound):
        room.training.get(ROSA, run.id)
    assert room.training.list(ROSA) == ()
    [found] = refusal(room, MIX.replace("output: tuned", "output: mine"), actor=ROSA)
    assert found.startswith("mix.1.dataset:")
    assert "No dataset" in found or "There is no" in found
    # What an admin makes of it under a shared name would tell what is in it.
    other = start(room, RECIPE.replace("tuned", "shared"))
    end_job(room, other, 0, result=give_weights(room, other))
    [output] = refusal(room, MIX.replace("output: tuned", "output: shared"))
    assert output.startswith("output:")


ANSWER = [{"role": "assistant", "content": "This one."}]
OTHER = [{"role": "assistant", "content": "That one."}]


@pytest.mark.parametrize("stage", [Stage.KTO, Stage.REWARD, Stage.DPO])
def test_the_stages_that_learn_from_judgements_start(room: Room, stage: Stage) -> None:
    prompt = [{"role": "user", "content": "Which?"}]
    create(room, "pairs", SchemaKind.PREFERENCE, [{"prompt": prompt, "chosen": ANSWER, "rejected": OTHER}])
    thumbs = [{"prompt": prompt, "completion": ANSWER, "label": True}]
    thumbs.append({"prompt": prompt, "completion": OTHER, "label": False})
    create(room, "thumbs", SchemaKind.UNPAIRED, thumbs)
    right, wrong = ("thumbs", "pairs") if stage is Stage.KTO else ("pairs", "thumbs")
    run = start(room, f"model: tiny\ndataset: {right}\n", stage)
    assert (run.stage, run.name) == (stage, f"tiny-{stage.value} 1")
    assert room.jobs._store.spec(run.job_id).payload["stage"] == stage.value
    [found] = refusal(room, f"model: tiny\ndataset: {wrong}\n", stage)
    assert found.startswith("dataset:")
    assert f"{stage.value.upper()} learns from kind" in found


def register(room: Room, name: str, folder: Path, kind: ModelKind) -> str:
    base = room.registry.version(ADMIN, "tiny")
    new = NewWeights(name, kind, folder, base.id, base.id, f"run_of_{name}", 2)
    return room.registry.register_weights(ADMIN, new).id


def test_a_run_goes_on_from_any_version(room: Room, tiny_model: Path) -> None:
    first = start(room, RECIPE)
    end_job(room, first, 0, result=give_weights(room, first))
    adapter = room.registry.version(ADMIN, "tuned")
    register(room, "merged", tiny_model, ModelKind.MERGED)
    base = str(tiny_model)
    for model, wanted in (("tiny", (base, None)), ("merged", (base, None)), ("tuned", (base, adapter.path))):
        run = start(room, f"model: {model}\ndataset: talk\noutput: next\n")
        payload = room.jobs._store.spec(run.job_id).payload
        assert (payload["base"], payload["adapter"]) == (wanted[0], wanted[1] and str(wanted[1]))
        edges = {(edge.relation, edge.parent.id) for edge in room.lineage.parents(Node("run", run.id))}
        assert ("warm_start", room.registry.version(ADMIN, model).id) in edges


def test_a_model_that_scores_is_not_taught_to_write(room: Room) -> None:
    judge = start(room, RECIPE.replace("tuned", "judge"))
    weights = give_weights(room, judge)
    Path(str(weights["path"]), "adapter_config.json").write_text('{"task_type": "SEQ_CLS"}')
    end_job(room, judge, 0, result=weights)
    [found] = refusal(room, "model: judge\ndataset: talk\noutput: x\n")
    assert found.startswith("model: judge@1 scores answers")
    writer = start(room, RECIPE)
    end_job(room, writer, 0, result=give_weights(room, writer))
    prompt = [{"role": "user", "content": "Which?"}]
    create(room, "pairs", SchemaKind.PREFERENCE, [{"prompt": prompt, "chosen": ANSWER, "rejected": OTHER}])
    [found] = refusal(room, "model: tuned\ndataset: pairs\noutput: x\n", Stage.REWARD)
    assert "take its base" in found
    again = start(room, "model: judge\ndataset: pairs\noutput: x\n", Stage.REWARD)
    assert again.state is JobState.QUEUED


def test_an_engine_has_its_worker(room: Room) -> None:
    run = start(room, RECIPE + "engine: llamafactory\n")
    job = room.jobs._store.spec(run.job_id)
    assert job.module == "studio.training.engines.external"


def gated(room: Room, free_disk: int) -> TrainingService:
    machine = Machine(room.home, estimate=_no_estimate, free_disk=lambda _: free_disk, gpus=lambda: ())
    checks = PreflightService(
        room.database, room.home, room.jobs, room.datasets, room.registry, machine=machine
    )
    below = (room.jobs, room.datasets, room.registry, room.lineage, room.audit)
    return TrainingService(room.database, room.home, *below, checks)


def _no_estimate(_: object) -> Any:
    raise InvalidInput("No estimate.")


def test_an_error_that_a_pre_flight_knows_refuses_a_start_and_no_resume(room: Room) -> None:
    run = gated(room, free_disk=10**12).start(ADMIN, StartRun(Stage.SFT, RECIPE))
    full = gated(room, free_disk=1)
    with pytest.raises(InvalidInput) as caught:
        full.start(ADMIN, StartRun(Stage.SFT, RECIPE))
    assert any("disk" in line for line in caught.value.details)
    assert [one.id for one in full.list(ADMIN)] == [run.id]
    end_job(room, run, 1)
    with pytest.raises(InvalidInput):
        full.retry(ADMIN, run.id, with_fix=False)
    assert full.resume(ADMIN, run.id).state is JobState.QUEUED
    with pytest.raises(Conflict):
        full.resume(ADMIN, run.id)
