"""Ends of runs without a trainer: what its supervisor and the trainer would have left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from studio.jobs import JobState
from studio.training import Run, checkpoints
from tests.unit.training.room import Room


def end_job(room: Room, run: Run, code: int, **files: object) -> None:
    """Let the run's job end without a trainer: what its supervisor would have written."""
    entry = room.training._store.get(run.id)
    directory = room.home / "runs" / run.id
    for name, value in files.items():
        (directory / f"{name}.json").write_text(json.dumps(value))
    state = {0: JobState.SUCCEEDED, 75: JobState.STOPPED}.get(code, JobState.FAILED)
    with room.database.write() as connection:
        connection.execute(
            "UPDATE jobs SET state = ?, reason = ?, ended_at = 5.0, settled = 1 WHERE id = ?",
            (state.value, "" if code == 0 else f"exit code {code}", entry.job_id),
        )
    room.training.settle(())


def give_weights(room: Room, run: Run) -> dict[str, object]:
    """The weights of a finished run, and what its result says of them."""
    folder = room.home / "runs" / run.id / "adapter"
    folder.mkdir()
    _write_adapter(folder)
    return {"path": str(folder), "kind": "adapter", "parameters": 2}


def give_checkpoint(
    room: Room, run: Run, step: int, eval_loss: float | None = None, whole: Path | None = None
) -> None:
    """A complete checkpoint of an adapter, whose weights tell its step; or of the ``whole`` model."""
    path = checkpoints.begin(room.home / "runs" / run.id / "checkpoints", step)
    if whole is None:
        _write_adapter(path, step)
    else:
        shutil.copy(whole / "model.safetensors", path)
        config = json.loads((whole / "config.json").read_text()) | {"use_cache": False}
        (path / "config.json").write_text(json.dumps(config))
    (path / "trainer_state.json").write_text("{}")
    (path / "optimizer.pt").write_bytes(bytes(16))
    losses = {} if eval_loss is None else {"eval_loss": eval_loss, "eval_step": step}
    checkpoints.seal(path, {"step": step, **losses})


def _write_adapter(folder: Path, value: int = 0) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + value.to_bytes(8, "little")
    (folder / "adapter_model.safetensors").write_bytes(weights)
