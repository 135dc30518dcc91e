"""A run of two processes on the CPU: the losses of one with twice the batch.

With STUDIO_TEST_FULL=1 it is also stopped on the way and resumed; each start costs two imports of torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.jobs import STOPPED_EXIT
from studio.training import Stage, checkpoints, load_config, parse_recipe, stage_of
from studio.training.engines import launch
from studio.training.task import TrainTask
from tests.unit.training.plans import Plan, Trained

FULL = os.environ.get("STUDIO_TEST_FULL") == "1"
STEPS = 12 if FULL else 6
TEXT = f"lora: {{r: 8}}\nlearning_rate: 1e-2\nmax_steps: {STEPS}\neval_every: 5\nsave_every: 4\n"
PROCESSES = "batch_size: 2\nprocesses: 2\n"


def work(task: TrainTask, job: Path, until: Callable[[], bool] | None = None) -> int:
    """Run the worker; once ``until`` holds it is asked to stop. Returns its exit code."""
    job.mkdir()
    (job / "payload.json").write_text(json.dumps(task.payload()))
    command = [sys.executable, "-m", "studio.training.worker", str(job)]
    with (job / "log.txt").open("w") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "2"})
    deadline = time.monotonic() + 180
    while child.poll() is None:
        if until is not None and until():
            (job / "stop").touch()
        if time.monotonic() > deadline:
            child.kill()
        time.sleep(0.02)
    assert child.returncode in (0, STOPPED_EXIT), (job / "log.txt").read_text()[-3000:]
    return child.returncode


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("processes")
    plan = Plan(root, tiny_model)
    plan.add("one", Stage.SFT, TEXT + "batch_size: 4\n")
    task = plan.task("two", Stage.SFT, TEXT + PROCESSES)

    def begun() -> bool:
        return task.metrics.exists() and task.metrics.read_text().count("train/loss") >= 3

    codes = [work(task, root / "stopped", begun)] if FULL else []
    codes.append(work(task, root / "done"))
    plan.probe("sharded", "sharded_settings", target=root)
    done = plan.run()
    return Trained(root, {**done.outcomes, "two": {"codes": codes}})


def test_a_run_of_two_processes_ends_or_stops_in_order(trained: Trained) -> None:
    assert trained.outcomes["two"]["codes"] == ([STOPPED_EXIT, 0] if FULL else [0])
    assert trained.result("two")["kind"] == "adapter"
    assert (trained.root / "two/adapter/adapter_model.safetensors").exists()
    newest = checkpoints.newest(trained.root / "two/checkpoints")
    assert newest is not None
    assert {path.name for path in newest.glob("rng_state*")} == {"rng_state_0.pth", "rng_state_1.pth"}


@pytest.mark.parametrize("metric", ["train/loss", "train/grad_norm", "eval/loss"])
def test_two_processes_have_the_losses_of_one_with_twice_the_batch(trained: Trained, metric: str) -> None:
    one, two = trained.series("one", metric), trained.series("two", metric)
    assert list(two) == list(one)
    assert list(two.values()) == pytest.approx(list(one.values()), abs=1e-4)


def test_only_the_first_process_writes(trained: Trained) -> None:
    steps = [point[0] for point in trained.columns("two")["train/loss"]]
    assert steps == list(range(1, STEPS + 1))
    tokens = {name: trained.columns(name)["train/loss"][-1][3] for name in ("one", "two")}
    assert tokens["one"] == tokens["two"]
    log = (trained.root / "done/log.txt").read_text()
    assert log.count(f"step {STEPS}: train/loss") == 1
    assert log.count("resuming from step") == int(FULL)


def test_the_settings_of_sharded_runs_are_good_to_the_libraries_that_read_them(trained: Trained) -> None:
    assert trained.found("sharded") == [2, "TRANSFORMER_BASED_WRAP", True, 2]


@pytest.mark.parametrize("name", ["sft-ddp", "sft-fsdp", "sft-deepspeed"])
def test_the_recipe_of_each_way_names_its_settings(name: str) -> None:
    recipe = parse_recipe(stage_of(load_config(name)), load_config(name))
    assert recipe.processes > 1
    assert name.endswith(recipe.parallel)


def test_the_command_starts_as_many_workers_as_the_recipe_says(tmp_path: Path) -> None:
    from studio.jobs import JobContext

    command = launch.command(4, JobContext(tmp_path))
    assert command[command.index("--nproc_per_node") + 1] == "4"
    assert command[-2:] == ["studio.training.worker", str(tmp_path)]
    assert launch.is_rank({"RANK": "1", "TORCHELASTIC_RUN_ID": "x"})
    assert not launch.is_rank({"PATH": ""})
