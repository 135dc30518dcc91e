"""Checkpoints survive SIGKILL while they are written, files that were cut short, and a full disk."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from studio.training import Stage, checkpoints
from studio.training.task import TrainTask
from tests.unit.training.plans import Plan, Trained

pytestmark = pytest.mark.faults

FULL = os.environ.get("STUDIO_TEST_FULL") == "1"
KILLS = 20 if FULL else 5
STEPS = 3 * KILLS + 5
TEXT = (
    f"lora: {{r: 8, dropout: 0.1}}\nlearning_rate: 1e-2\nmax_steps: {STEPS}\nsave_every: 1\n"
    f"keep_checkpoints: 4\nweight: 2\nmix: [{{dataset: other}}]\n"
)
#: Megabytes: room for some checkpoints of the tiny model.
SMALL_DISK = 2


@dataclass
class Attempts:
    """Jobs for ``training_attempts``."""

    root: Path
    items: list[dict[str, Any]]

    def add(self, name: str, task: TrainTask, **how: Any) -> None:
        """Add a job; its directory lies beside its run's."""
        job = task.directory.parent / f"{name}-job"
        job.mkdir()
        (job / "payload.json").write_text(json.dumps(task.payload()))
        self.items.append({"job": str(job), "run": str(task.directory), **how})

    def run(self) -> list[dict[str, Any]]:
        """Work every job."""
        path = self.root / "attempts.json"
        path.write_text(json.dumps(self.items))
        subprocess.run([sys.executable, "-m", "tests.faults.training_attempts", str(path)], check=True)
        done: list[dict[str, Any]] = json.loads(path.with_suffix(".json.out").read_text())
        return done


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """A file system of a few megabytes; None where none may be mounted."""
    path = tmp_path_factory.mktemp("small")
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}m", "tmpfs", str(path)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.fixture(scope="module")
def survived(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, small_disk: Path | None) -> Trained:
    root = tmp_path_factory.mktemp("attempts")
    plan = Plan(root, tiny_model)
    attempts = Attempts(root, [])
    names = ["whole", "killed"]
    attempts.add("whole", plan.task("whole", Stage.SFT, TEXT))
    attempts.add("killed", plan.task("killed", Stage.SFT, TEXT), kills=KILLS, tear=True)
    if small_disk is not None:
        (small_disk / "full").mkdir()
        many = TEXT.replace("keep_checkpoints: 4", "keep_checkpoints: 99")
        task = plan.task("full", Stage.SFT, many.replace(f"max_steps: {STEPS}", "max_steps: 99"))
        attempts.add("full", task.__class__(**{**task.__dict__, "directory": small_disk / "full"}))
        names.append("full")
    outcomes = attempts.run()
    return Trained(root, dict(zip(names, outcomes, strict=True)))


def test_a_run_that_is_killed_while_it_saves_has_the_curve_of_one_that_was_not(survived: Trained) -> None:
    outcome = survived.outcomes["killed"]
    assert (outcome["killed"], outcome["code"]) == (KILLS, 0)
    for metric in ("train/loss", "train/grad_norm"):
        whole, other = survived.series("whole", metric), survived.series("killed", metric)
        assert list(other) == list(whole) == list(range(1, STEPS + 1))
        assert list(other.values()) == pytest.approx(list(whole.values()), abs=1e-5)


def test_a_resume_takes_the_newest_whole_checkpoint(survived: Trained) -> None:
    log = (survived.root / "killed-job/log.txt").read_text()
    resumed = [int(step) for step in re.findall(r"resuming from step (\d+)", log)]
    assert len(resumed) == KILLS
    # The newest was cut short before the last attempt, so the one before it was taken.
    assert resumed[-1] == survived.outcomes["killed"]["steps"][-2]


def test_no_checkpoint_is_left_half_written(survived: Trained) -> None:
    root = survived.root / "killed/checkpoints"
    assert len(checkpoints.complete(root)) == len(list(root.iterdir())) <= 5
    assert all(checkpoints.whole(path) for path in checkpoints.complete(root))


def test_a_full_disk_is_said_and_the_last_checkpoint_stays(
    survived: Trained, small_disk: Path | None
) -> None:
    if small_disk is None:
        pytest.skip("no file system may be mounted here")
    assert survived.outcomes["full"]["code"] == 1
    failure = json.loads((small_disk / "full-job/failure.json").read_text())
    assert failure["message"].startswith("The disk is full: the checkpoint of step ")
    newest = checkpoints.newest(small_disk / "full/checkpoints")
    assert newest is not None
    assert f"step {checkpoints.step_of(newest)}, which is whole" in failure["todo"]
    assert f"checkpoint of step {checkpoints.step_of(newest) + 1} " in failure["message"]
