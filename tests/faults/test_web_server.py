"""SIGKILL of the web server during training: the trainer goes on, logs every step once, and succeeds."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.server import ROOT, Server

_STEPS = 40


@pytest.mark.faults
def test_a_run_outlives_the_web_server(tmp_path: Path, tiny_model: Path) -> None:
    home = tmp_path / "home"
    first = Server(home, sample_data="0").start()
    run_id = _start_training(first, tiny_model)
    trainer = _trainer_pid(home, first, run_id)
    _wait_for_steps(home, run_id, 5)
    first.kill()

    assert Path(f"/proc/{trainer}").exists()
    with Server(home, sample_data="0") as second:
        assert second.get(f"/runs/{run_id}")["state"] in {"running", "succeeded"}
        assert _trainer_pid(home, second, run_id) == trainer
        done = second.wait_for_run(run_id)
        assert done["state"] == "succeeded", done["reason"]
        assert done["attempts"] == 1
        assert done["output"] is not None
        assert _logged_steps(home, run_id) == list(range(1, _STEPS + 1))
        models = {model["reference"]: model for model in second.get("/models")}
        assert models[done["output"]]["run_id"] == run_id


def _start_training(server: Server, tiny_model: Path) -> str:
    server.post("/models", {"location": str(tiny_model), "name": "tiny"})
    rows = {"path": str(ROOT / "data" / "instructions.jsonl"), "dataset": "rows"}
    server.post("/datasets/import", rows)
    recipe = {
        "model": "tiny",
        "dataset": "rows",
        "output": "tuned",
        "max_steps": _STEPS,
        "batch_size": 1,
        "gradient_accumulation": 1,
        "log_every": 1,
        "max_length": 256,
    }
    run: str = server.post("/train/sft", {"recipe": recipe})["id"]
    return run


def _trainer_pid(home: Path, server: Server, run_id: str) -> int:
    job = home / "jobs" / server.get(f"/runs/{run_id}")["job_id"]
    deadline = time.monotonic() + 30
    while not (job / "child.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pid: int = json.loads((job / "child.json").read_text())["pid"]
    return pid


def _wait_for_steps(home: Path, run_id: str, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(_logged_steps(home, run_id)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _logged_steps(home: Path, run_id: str) -> list[int]:
    path = home / "runs" / run_id / "metrics.jsonl"
    if not path.exists():
        return []
    complete = path.read_text().rpartition("\n")[0]
    lines = [json.loads(line) for line in complete.splitlines()]
    return [line["step"] for line in lines if "train/loss" in json.dumps(line)]
