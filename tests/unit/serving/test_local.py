"""The local backend: engines come, go when idle, and say why when they cannot come."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
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


def test_a_busy_engine_gives_way_when_it_has_written_its_answers(tmp_path: Path, rows: Rows) -> None:
    local = LocalBackend(tmp_path, dtype="fp32")
    try:
        stream = local.generate([rows.row(None, "Hi", max_tokens=300, temperature=1.5)])
        next(stream)
        for _ in range(2):
            assert local.give_way("the run “X”") == "a model server frees when it has written its answers"
        with pytest.raises(Unavailable, match="gives way to the run “X”, which needs the memory") as raised:
            local.generate([rows.row(None, "Hi", max_tokens=2)])
        assert "Ask again" in raised.value.todo
        [status] = local.status()
        assert (status.state, status.gives_way_to) == ("ready", "the run “X”")
        events = list(stream)
        assert not events[-1].error
        assert events[-1].completion_tokens > 0
        assert until_empty(local.give_way) == ""
        [status] = local.status()
        assert (status.state, status.pid) == ("stopped", None)
        assert status.reason == "It made room for the run “X”."

        # Whoever is beside a run that needs the memory is told so, and nothing is started.
        asked: list[Path] = []
        local.refuse_when(lambda path: asked.append(path) or "the run “Y”")
        with pytest.raises(Unavailable, match="the run “Y”"):
            local.generate([rows.row(None, "Hi", max_tokens=2)])
        assert (asked, local.status()[0].gives_way_to) == ([rows.model], "the run “Y”")
        local.take_back()
        assert local.status()[0].gives_way_to == ""
        assert local.give_way("the run “X”") == ""
    finally:
        local.close()


def until_empty(give_way: Callable[[str], str]) -> str:
    """Ask until no server is left or five seconds are over."""
    deadline = time.monotonic() + 5
    while (said := give_way("the run “X”")) and time.monotonic() < deadline:
        time.sleep(0.02)
    return said


class Standin:
    """An engine that only tells how much it is used."""

    def __init__(self, busy: int, last_used: float) -> None:
        self.use = (busy, last_used)
        self.holds_memory = True
        self.gives_way = False

    def give_way(self, to: str) -> str:
        self.gives_way = True
        return to

    def keep(self) -> None:
        self.gives_way = False


def test_idle_engines_give_way_first_and_one_at_a_time(tmp_path: Path) -> None:
    local = LocalBackend(tmp_path)
    busy, fresh, old = Standin(1, 1.0), Standin(0, 9.0), Standin(0, 5.0)
    local._engines = {"busy": busy, "fresh": fresh, "old": old}
    order = []
    for _ in range(3):
        assert local.give_way("x") == local.give_way("x") == "x"
        [going] = [one for one in local._engines.values() if one.gives_way]
        order.append(going)
        going.holds_memory = False
        local.keep()
    assert order == [old, fresh, busy]
    assert local.give_way("x") == ""
