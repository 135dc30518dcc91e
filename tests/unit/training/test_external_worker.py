"""Runs by another engine, which a stand-in plays: taken over, stopped, resumed, and failed.

The real ones are in tests/engines, which ``make test-engines`` runs.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from studio.core import LOCAL_ADMIN, InvalidInput, StudioError, read_json, write_json
from studio.datasets import SchemaKind
from studio.datasets.parquet_files import RowWriter
from studio.jobs import JobState
from studio.registry import ModelKind
from studio.training import Stage, checkpoints, parse_recipe
from studio.training.engines.external import environments
from studio.training.engines.external.worker import train
from studio.training.metrics import read_points
from studio.training.task import RESULT, TrainTask
from studio.training.telemetry import read_telemetry
from tests.unit.training.drive import Context
from tests.unit.training.room import Room, furnish, open_room

ADMIN = LOCAL_ADMIN
_STAND_IN = Path(__file__).with_name("stand_in_engine.py")
_TALK = [
    {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n}."}]}
    for n in range(6)
]


def install_stand_in(home: Path, name: str = "llamafactory") -> None:
    """Put the stand-in where the engine would be installed."""
    folder = environments.known(name).folder(home)
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{_STAND_IN}" "$@"\n')
    python.chmod(0o755)
    write_json(folder / environments.MARK, {"packages": {"torch": "2.9.1", "llamafactory": "0.9.5"}})


@pytest.fixture
def task(home: Path) -> TrainTask:
    return make_task(home, "max_steps: 6\nsave_every: 3\neval_every: 3\n")


def make_task(home: Path, recipe: str, engine: str = "llamafactory") -> TrainTask:
    if environments.find(home, engine) is None:
        install_stand_in(home, engine)
    directory = home / "runs" / "run_1"
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("train", "validation"):
        with RowWriter(home / f"{name}.parquet", SchemaKind.INSTRUCTION) as writer:
            for row in _TALK:
                writer.write(row, 10)
    base = home / "base"
    base.mkdir(exist_ok=True)
    (base / "config.json").write_text("{}")
    asked = parse_recipe(Stage.SFT, f"model: m\ndataset: d\nengine: {engine}\n{recipe}")
    files = (home / "train.parquet", home / "validation.parquet")
    return TrainTask("run_1", asked, directory, base, None, *files)


def go(task: TrainTask, stop_after: int | None = None) -> bool:
    directory = task.directory.parent.parent / "job"
    directory.mkdir(exist_ok=True)
    context = Context(directory)
    context.stop_after = stop_after
    return train(task, context)


def curve(task: TrainTask, name: str) -> dict[int, float]:
    points = read_points(task.metrics, "run_1", 0, -1)
    return {point[0]: point[1] for point in points.columns.get(name, ())}


def weight(folder: Path) -> float:
    return float(load_file(folder / "adapter_model.safetensors")["lora_A"][0, 0])


def test_what_it_measures_and_saves_is_the_runs_own(task: TrainTask) -> None:
    assert go(task)
    assert list(curve(task, "train/loss")) == [1, 2, 3, 4, 5, 6]
    assert list(curve(task, "eval/loss")) == [0, 3, 6]
    assert curve(task, "train/epoch")[6] == pytest.approx(0.6)
    assert list((task.directory / "tensorboard").iterdir())
    points = read_points(task.metrics, "run_1", 0, -1).columns["train/loss"]
    assert [point[3] for point in points] == [100, 200, 300, 400, 500, 600]
    assert points[-1][2] > points[0][2]
    kept = {one.step: one for one in checkpoints.listing(task.checkpoints)}
    assert {step: one.eval_loss for step, one in kept.items()} == pytest.approx({3: 4.7, 6: 4.4})
    result = read_json(task.directory / RESULT)
    assert (result["kind"], result["parameters"], result["steps"]) == ("adapter", 6, 6)
    config = read_json(task.output / "adapter_config.json")
    assert config["base_model_name_or_path"] == str(task.base)
    assert (read_json(task.usage) or {})["peak_memory_bytes"] > 0
    assert read_telemetry(task.directory / "telemetry.jsonl", "run_1").samples
    assert (task.directory / "engine" / "settings.yaml").exists()
    assert not (task.directory / "engine" / "rows").exists()


@pytest.mark.parametrize("engine", ["llamafactory", "axolotl"])
def test_a_stop_saves_and_a_resume_goes_on(home: Path, engine: str) -> None:
    task = make_task(home, "max_steps: 60\nsave_every: 100\npacking: false\n", engine)
    assert not go(task, stop_after=2)
    [kept] = checkpoints.listing(task.checkpoints)
    assert 2 <= kept.step < 60
    assert go(task)
    assert list(curve(task, "train/loss")) == list(range(1, 61))
    points = {point[0]: point for point in read_points(task.metrics, "run_1", 0, -1).columns["train/loss"]}
    assert points[kept.step + 1][2] > points[kept.step][2] > 0
    assert weight(task.output) == 60


def test_what_a_killed_attempt_saved_is_taken_over_by_the_next(task: TrainTask) -> None:
    assert go(task)
    left = checkpoints.directory_for(task.checkpoints, 6)
    output = task.directory / "engine" / "output"
    output.mkdir(parents=True)
    (left / checkpoints.MARK).unlink()
    shutil.move(left, output / "checkpoint-6")
    half = output / "checkpoint-9"
    half.mkdir()
    (half / "trainer_state.json").write_text('{"global_st')
    longer = task.recipe.model_copy(update={"max_steps": 8})
    assert go(TrainTask(**{**vars(task), "recipe": longer}))
    assert list(curve(task, "train/loss")) == [1, 2, 3, 4, 5, 6, 7, 8]
    mark = checkpoints.counted(checkpoints.at(task.checkpoints, 6) or Path())
    assert (mark["tokens"], mark["eval_loss"]) == (600, pytest.approx(4.4))


def test_the_best_weights_are_given_out_and_patience_ends(home: Path) -> None:
    recipe = (
        "max_steps: 200\nsave_every: 2\neval_every: 2\nkeep_best: true\nearly_stop_patience: 2\nseed: 11\n"
    )
    task = make_task(home, recipe)
    assert go(task)
    result = read_json(task.directory / RESULT)
    assert (result["step"], weight(task.output)) == (4, 4.0)
    assert 8 <= result["steps"] < 200


@pytest.mark.parametrize(
    ("seed", "said"), [(3, "The loss is nan at step 3"), (7, "LLaMA-Factory ended with exit code 7")]
)
def test_what_goes_wrong_is_said(home: Path, seed: int, said: str) -> None:
    task = make_task(home, f"max_steps: 50\nsave_every: 2\nseed: {seed}\n")
    with pytest.raises(StudioError, match=said):
        go(task)
    assert [one.step for one in checkpoints.listing(task.checkpoints)] == [2]
    assert not task.output.exists()


def test_an_engine_that_is_not_there_or_cannot_is_refused(task: TrainTask, home: Path) -> None:
    cannot = parse_recipe(
        Stage.DPO, "model: m\ndataset: d\nengine: llamafactory\nloss: robust\nlabel_smoothing: 0.1"
    )
    with pytest.raises(InvalidInput) as refused:
        go(TrainTask(**{**vars(task), "recipe": cannot}))
    assert refused.value.details[0].startswith("loss: ")
    shutil.rmtree(home / "engines")
    with pytest.raises(InvalidInput, match="LLaMA-Factory is not installed"):
        go(task)


@pytest.fixture
def room(home: Path, tiny_model: Path) -> Room:
    made = open_room(home)
    furnish(made, tiny_model)
    yield made
    made.jobs.close()
    made.database.close()


def test_the_service_runs_and_registers_it_as_its_own(room: Room) -> None:
    install_stand_in(room.home)
    run = room.start("engine: llamafactory\nmax_steps: 4\nsave_every: 2\n")
    done = room.until(run, lambda now: now.state.final)
    assert done.state is JobState.SUCCEEDED, done.reason
    assert done.packages == {"torch": "2.9.1", "llamafactory": "0.9.5"}
    assert done.peak_memory_bytes
    made = room.registry.version(ADMIN, done.output_version_id or "")
    assert (made.kind, made.parameters) == (ModelKind.ADAPTER, 6)
    log = room.training.log(ADMIN, run.id).text
    assert "step 4: train/loss" in log
    kept = room.training.keep_checkpoint(ADMIN, run.id, 2, "kept")
    assert kept.parameters == 6
    failing = room.start("engine: llamafactory\nmax_steps: 9\nsave_every: 2\nseed: 7\n")
    failed = room.until(failing, lambda now: now.state is JobState.FAILED)
    assert "exit code 7" in failed.reason
    card = room.training.failure(ADMIN, failing.id)
    assert card is not None
    assert json.dumps(card.evidence)
