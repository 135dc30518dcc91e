"""The local backend: engines come, go when idle, and say why when they cannot come."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from studio.core import Conflict, Unavailable
from studio.serving.backends.local import LocalBackend
from tests.unit.serving.conftest import Rows
from tests.unit.serving.test_engine import collect


def test_an_engine_is_unloaded_when_idle_and_comes_back(tmp_path: Path, rows: Rows) -> None:
    local = LocalBackend(tmp_path, dtype="fp32", idle_seconds=0.5)
    try:
        stream = local.generate([rows.row("first", "Hi", max_tokens=400, temperature=1.5)])
        next(stream)
        time.sleep(0.6)
        local.tick()
        [status] = local.status()
        assert (status.base_id, status.state, status.adapters) == ("tiny", "ready", ("first",))
        with pytest.raises(Conflict, match="writing"):
            local.unload("tiny")
        stream.close()
        assert not list(stream)[1000:]
        local.tick()
        assert local.status()[0].state == "ready"
        time.sleep(0.6)
        local.tick()
        [status] = local.status()
        assert (status.state, status.pid, status.adapters) == ("stopped", None, ())
        local.unload("tiny")
        [(_, end)] = collect(local, [rows.row("first", "Hi", max_tokens=2)])
        assert end.completion_tokens <= 2
        local.unload("tiny")
        assert local.status()[0].state == "stopped"
    finally:
        local.close()
    with pytest.raises(Unavailable, match="closing"):
        local.generate([rows.row(None, "Hi")])


def test_an_engine_that_cannot_start_says_why(tmp_path: Path, rows: Rows) -> None:
    broken = tmp_path / "model"
    shutil.copytree(rows.model, broken)
    (broken / "model.safetensors").write_bytes(b"nonsense")
    local = LocalBackend(tmp_path / "engines", dtype="fp32")
    with pytest.raises(Unavailable, match="could not start: it ended with exit code") as raised:
        local.generate([Rows(broken, rows.reference).row(None, "Hi")])
    assert any("safetensors" in line.lower() for line in raised.value.details)
    assert local.status()[0].state == "failed"
    assert not list((tmp_path / "engines").glob("*.port"))
    local.close()


def test_an_engine_that_is_too_slow_is_ended(tmp_path: Path, rows: Rows) -> None:
    local = LocalBackend(tmp_path, dtype="fp32", ready_seconds=0.2)
    with pytest.raises(Unavailable, match="not ready within"):
        local.generate([rows.row(None, "Hi")])
    assert local.status()[0].pid is None
    local.close()
