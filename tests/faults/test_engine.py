"""Engines that are killed, clients that leave, and a studio that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.core import Unavailable
from studio.serving import BackendRow, ChatMessage, RowEnd, Sampling, TokenDelta
from studio.serving.backends.local import LocalBackend

pytestmark = pytest.mark.faults

_SOURCE = Path(__file__).parents[2]

# A studio in miniature: starts an engine, asks it for a long answer, and says that it did.
_STUDIO = """
import sys, time
from pathlib import Path
from studio.serving import BackendRow, ChatMessage, Sampling
from studio.serving.backends.local import LocalBackend
backend = LocalBackend(Path(sys.argv[2]), dtype="fp32")
row = BackendRow("tiny", Path(sys.argv[1]), None, None, (ChatMessage(role="user", content="Hi"),),
    Sampling(temperature=2.0, max_tokens=480, seed=1))
stream = backend.generate([row])
next(stream)
print(backend.status()[0].pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    local = LocalBackend(tmp_path / "engines", dtype="fp32")
    yield local
    local.close()


def row(model: Path, max_tokens: int = 480) -> BackendRow:
    sampling = Sampling(temperature=2.0, max_tokens=max_tokens, seed=1)
    return BackendRow("tiny", model, None, None, (ChatMessage(role="user", content="Hi"),), sampling)


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def noticed(backend: LocalBackend) -> str:
    """The state of the one engine after a tick."""
    backend.tick()
    return backend.status()[0].state


def gone(pid: int) -> bool:
    """Whether no such process runs; one that is dead but not reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_killed_engine_is_an_error_that_says_so_and_the_next_request_works(
    backend: LocalBackend, tiny_model: Path
) -> None:
    streams = [backend.generate([row(tiny_model), row(tiny_model)]) for _ in range(2)]
    for stream in streams:
        while not isinstance(next(stream), TokenDelta):
            pass
    pid = backend.status()[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    for stream in streams:
        with pytest.raises(Unavailable, match=r"SIGKILL while it was answering.*Ask again"):
            list(stream)
    [status] = backend.status()
    assert (status.state, status.pid) == ("failed", None)
    assert "SIGKILL" in status.reason
    events = list(backend.generate([row(tiny_model, 3)]))
    assert isinstance(events[-1], RowEnd)
    assert backend.status()[0].state == "ready"

    # Killed while nothing is asked: the tick notices, and nobody who asks afterwards sees an error.
    pid = backend.status()[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: noticed(backend) == "failed")
    assert isinstance(list(backend.generate([row(tiny_model, 3)]))[-1], RowEnd)


def test_a_reader_that_leaves_frees_its_row(backend: LocalBackend, tiny_model: Path) -> None:
    stream = backend.generate([row(tiny_model)])
    while not isinstance(next(stream), TokenDelta):
        pass
    process = backend._engines["tiny"]._process
    assert process is not None
    assert process.client.call("GET", "/health")["active"] == 1
    stream.close()
    assert until(lambda: process.client.call("GET", "/health")["active"] == 0, 5.0)
    assert not any(isinstance(event, RowEnd) and event.error for event in stream)


def test_an_engine_ends_with_the_studio_that_started_it(tmp_path: Path, tiny_model: Path) -> None:
    command = [sys.executable, "-c", _STUDIO, str(tiny_model), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_SOURCE) as studio:
        assert studio.stdout is not None
        engine = int(studio.stdout.readline())
        assert not gone(engine)
        studio.kill()
        studio.wait()
    assert until(lambda: gone(engine), 5.0)
