"""The front door: what it refuses, where it listens, and that it says so."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parent.parent


def _start(home: Path, **settings: str) -> subprocess.Popen[str]:
    plain = {
        "STUDIO_HOME": str(home),
        "STUDIO_EMBEDDED_MODEL": "0",
        "STUDIO_SAMPLE_DATA": "0",
        "STUDIO_PORT": "0",
    }
    return subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=os.environ | plain | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"STUDIO_HOST": "0.0.0.0"}, "no accounts"),
        ({"STUDIO_HOST": "192.0.2.7"}, "SSH tunnel"),
        ({"STUDIO_PORT": "abc"}, "STUDIO_PORT"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(
    home: Path, settings: dict[str, str], said: str
) -> None:
    with _start(home, **settings) as process:
        _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said in error
    assert "Traceback" not in error


def test_a_port_that_is_taken_is_said(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with _start(home, STUDIO_PORT=port) as process:
            _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert port in error


def test_port_nought_takes_a_free_one_and_tells_it(home: Path) -> None:
    with _start(home) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        answer = httpx.get(f"{address}/", follow_redirects=True, timeout=60)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert answer.status_code == 200
    assert answer.url.path == "/studio/"
    assert "Traceback" not in error
    assert process.returncode == 0
