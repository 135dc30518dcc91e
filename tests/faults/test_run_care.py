"""A real run looked after: mixed sources, a checkpoint kept while it runs, a pause, an older checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core import LOCAL_ADMIN, read_json
from studio.datasets import NewVersion, SchemaKind, Split
from studio.jobs import JobState
from studio.registry import ModelKind
from tests.unit.training.room import Room, furnish, open_room

pytestmark = pytest.mark.faults
ADMIN = LOCAL_ADMIN
STEPS = 60


@pytest.fixture
def room(home: Path, tiny_model: Path) -> Iterator[Room]:
    made = open_room(home)
    furnish(made, tiny_model)
    yield made
    made.jobs.close()
    made.database.close()


def test_a_run_is_kept_paused_and_gone_on_from_an_older_checkpoint(room: Room) -> None:
    said = [{"role": "user", "content": "More?"}, {"role": "assistant", "content": "More of it."}]
    rows = {Split.TRAIN: [{"messages": [said[0] | {"content": f"More {n}?"}, said[1]]} for n in range(9)]}
    room.datasets.create(ADMIN, NewVersion("more", SchemaKind.INSTRUCTION, rows, ()))
    run = room.start(f"mix: [{{dataset: more}}]\nmax_steps: {STEPS}\nsave_every: 10\nkeep_checkpoints: 20\n")
    room.until(run, lambda _: len(room.training.checkpoints(ADMIN, run.id)) >= 2)
    kept = room.training.keep_checkpoint(ADMIN, run.id, 10, "early")
    assert kept.kind is ModelKind.ADAPTER
    room.until(run, lambda _: len(room.steps(run)) >= 25)
    room.training.pause(ADMIN, run.id)
    paused = room.until(run, lambda now: now.state.final)
    assert (paused.state, paused.paused) == (JobState.STOPPED, True)
    # The pages open what was kept, whatever became of its checkpoint.
    assert (kept.path / "adapter_model.safetensors").stat().st_size > 1000
    before = room.training.points(ADMIN, run.id)

    room.training.resume(ADMIN, run.id, 20)
    done = room.until(run, lambda now: now.state.final)
    log = room.training.log(ADMIN, run.id).text
    assert (done.state, done.attempts, done.paused) == (JobState.SUCCEEDED, 2, False), done.reason
    assert "resuming from step 20" in log
    assert "more@1" in log
    assert room.steps(run) == list(range(1, STEPS + 1))
    assert room.training.points(ADMIN, run.id).epoch == before.epoch + 1
    assert room.training.telemetry(ADMIN, run.id).samples
    assert done.predicted_memory_bytes
    assert done.peak_memory_bytes
    weights = room.registry.version(ADMIN, str(done.output_version_id)).path
    config = read_json(weights / "adapter_config.json")
    assert config["peft_type"] == "LORA"
