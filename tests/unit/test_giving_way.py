"""The chat gives way to training: real jobs and a real model server, and memory as the test says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from studio import giving_way
from studio.core import LOCAL_ADMIN, Node, Settings, SharingChange, Unavailable, Visibility
from studio.datasets import ImportRequest
from studio.giving_way import GivingWay
from studio.jobs import JobSpec, JobState, Slot
from studio.jobs.devices import Devices, Gpu
from studio.registry import BaseSource
from studio.serving import ChatMessage, RowRequest, Sampling
from studio.studio import Studio, open_studio
from studio.training import Stage, StartRun
from tests.server import ROOT

ADMIN = LOCAL_ADMIN
GIB = 1 << 30


class Memory:
    """How much is free."""

    def __init__(self, free: int) -> None:
        self.free = free

    def __call__(self) -> int:
        return self.free


@pytest.fixture
def studio(settings: Settings) -> Iterator[Studio]:
    made = open_studio(settings)
    yield made
    for job in made.jobs.list(ADMIN):
        made.jobs.request_stop(ADMIN, job.id)
        made.jobs.wait(ADMIN, job.id, 10)
    made.close()


def wired(studio: Studio, memory: Memory, devices: Devices | None = None) -> GivingWay:
    """The studio's own wiring, with ``memory`` instead of this machine's."""
    way = GivingWay(studio.jobs, studio.serving, studio.training, devices or Devices("none"), memory)
    studio.jobs.hold_when(way.hold)
    studio.serving.refuse_when(way.refuses)
    return way


def work(subject: str, memory: int = 0, **more) -> JobSpec:
    payload = {"act": "work"}
    return JobSpec(
        "test", "tests.unit.jobs.children", subject, payload, Slot.TRAINING, memory_bytes=memory, **more
    )


def until(studio: Studio, way: GivingWay, holds: Callable[[], object], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        studio.jobs.tick()
        way.tick()
        time.sleep(0.02)


def test_a_run_gets_the_memory_of_the_chat_and_the_chat_comes_back(
    studio: Studio, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    base = studio.registry.register_base(ADMIN, BaseSource(str(tiny_model), "tiny"))
    memory = Memory(100 * GIB)
    way = wired(studio, memory)
    asked = RowRequest(base.id, (ChatMessage(role="user", content="Hi"),), Sampling(max_tokens=2))

    def chat() -> str:
        return studio.serving.complete(ADMIN, asked, user="u", source="chat").error

    assert chat() == ""
    memory.free = 2 * GIB
    job = studio.jobs.submit(ADMIN, work("run_1", 5 * GIB))
    studio.jobs.tick()
    [waiting] = studio.jobs.queue(ADMIN)
    assert waiting.waits_for == "Waits for memory, which a model server is freeing"
    [engine] = studio.serving.engines(ADMIN)
    assert (engine.state, engine.gives_way_to) == ("stopped", "a job")

    # Its memory is not enough, but nothing is left to end, so the job starts.
    until(studio, way, lambda: studio.jobs.get(ADMIN, job.id).state is JobState.RUNNING)
    with pytest.raises(Unavailable, match="The model gives way to a job, which needs the memory"):
        chat()
    assert studio.serving.engines(ADMIN)[0].gives_way_to == "a job"
    studio.jobs.request_stop(ADMIN, job.id)
    until(studio, way, lambda: studio.jobs.get(ADMIN, job.id).state.final)
    way.tick()
    assert studio.serving.engines(ADMIN)[0].gives_way_to == ""
    assert way.refuses(tiny_model) == ""


def test_where_memory_is_enough_nobody_gives_way(studio: Studio, tiny_model: Path) -> None:
    memory = Memory(10 * GIB)
    way = wired(studio, memory)
    job = studio.jobs.submit(ADMIN, work("run_1", 5 * GIB))
    other = studio.jobs.submit(ADMIN, work("run_2"))
    until(studio, way, lambda: studio.jobs.get(ADMIN, job.id).state is JobState.RUNNING)
    assert way.refuses(tiny_model) == ""
    # What the run has yet to take counts as taken: 5 of 5.5 GiB leave no room for a model server.
    memory.free = 5 * GIB + GIB // 2
    assert way.refuses(tiny_model) == "a job"
    assert studio.jobs.get(ADMIN, other.id).state is JobState.QUEUED


def test_nothing_is_held_for_ever(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    way = wired(studio, Memory(0))
    monkeypatch.setattr(studio.serving, "give_way", lambda *_: "a model server is freeing")
    job = studio.jobs.submit(ADMIN, work("run_1", GIB))
    studio.jobs.tick()
    assert studio.jobs.get(ADMIN, job.id).state is JobState.QUEUED
    monkeypatch.setattr(giving_way, "PATIENCE_SECONDS", 0.0)
    studio.jobs.tick()
    assert studio.jobs.get(ADMIN, job.id).state is not JobState.QUEUED
    assert way.refuses(Path("nowhere")) == "a job"


def test_memory_for_one_is_not_given_to_two(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    wired(studio, Memory(6 * GIB))
    monkeypatch.setattr(studio.serving, "give_way", lambda *_: "a model server is freeing")
    wanted = (replace(work(name, 5 * GIB), slot=Slot.LIGHT) for name in ("run_1", "run_2"))
    one, two = (studio.jobs.submit(ADMIN, spec) for spec in wanted)
    studio.jobs.tick()
    assert studio.jobs.get(ADMIN, one.id).state is not JobState.QUEUED
    assert studio.jobs.get(ADMIN, two.id).state is JobState.QUEUED
    [waiting] = studio.jobs.queue(ADMIN, Slot.LIGHT)
    assert waiting.waits_for == "Waits for memory, which a model server is freeing"


def test_a_run_that_leaves_the_queue_lets_the_model_servers_be(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = wired(studio, Memory(0))
    said: list[str] = []
    monkeypatch.setattr(studio.serving, "give_way", lambda *_: "a model server is freeing")
    monkeypatch.setattr(studio.serving, "keep", lambda _: said.append("keep"))
    monkeypatch.setattr(studio.serving, "take_back", lambda _: said.append("take back"))
    job = studio.jobs.submit(ADMIN, work("run_1", GIB))
    studio.jobs.tick()
    way.tick()
    assert said == []
    studio.jobs.request_stop(ADMIN, job.id)
    way.tick()
    way.tick()
    assert said == ["take back"]


def test_free_memory_of_gpus_is_what_counts_where_there_are_some(studio: Studio, tiny_model: Path) -> None:
    cards = {0: 2 * GIB, 1: 6 * GIB}

    def read() -> tuple[Gpu, ...]:
        return tuple(Gpu(index, f"GPU-{index}", "A card", 8 * GIB, free) for index, free in cards.items())

    way = wired(studio, Memory(0), Devices("0,1", read))
    spec, two = work("run_1", 5 * GIB), work("run_2", 5 * GIB, device_count=2)
    job = studio.jobs.submit(ADMIN, work("run_1"))
    assert way._fits(job, spec)
    assert not way._fits(job, two)
    assert not way._fits(job, work("run_1", 5 * GIB, devices=(0,)))
    # A job on the CPU needs main memory.
    assert not way._fits(job, work("run_1", 5 * GIB, device_count=0))
    assert way.refuses(tiny_model) == ""


def test_a_run_is_named_unless_it_is_private(studio: Studio, tiny_model: Path) -> None:
    studio.registry.register_base(ADMIN, BaseSource(str(tiny_model), "tiny"))
    studio.datasets.import_file(ADMIN, ImportRequest(ROOT / "data" / "instructions.jsonl", "rows"))
    recipe = "model: tiny\ndataset: rows\noutput: tuned\n"
    run = studio.training.start(ADMIN, StartRun(Stage.SFT, recipe, name="First"))
    way = wired(studio, Memory(0))
    job = studio.jobs.get(ADMIN, run.job_id)
    assert way._name(job) == "the run “First”"
    [rows] = studio.datasets.list(ADMIN)
    node = Node("dataset", rows.latest.dataset_id)
    studio.access.share(ADMIN, node, SharingChange(visibility=Visibility.PRIVATE))
    assert way._name(job) == "a training run"
