"""The studio as a person runs it: ``python app.py`` in a process of its own, on a home of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
_PATIENCE_SECONDS = 60.0


class Server:
    """Starts the studio, waits until it answers, and ends it; use it as a context manager."""

    def __init__(self, home: Path, port: int | None = None, **settings: str) -> None:
        self.home = home
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._settings = {f"STUDIO_{name.upper()}": value for name, value in settings.items()}
        self.process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(base_url=self.address, timeout=60.0)

    def start(self) -> Server:
        """Start and wait for ``/health``."""
        environment = {
            "STUDIO_HOME": str(self.home),
            "STUDIO_PORT": str(self.port),
            "STUDIO_EMBEDDED_MODEL": "0",
        }
        log = (self.home.parent / "server.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=ROOT,
            env=os.environ | environment | self._settings,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self._wait_until_up()
        return self

    def kill(self) -> None:
        """SIGKILL the web process and nothing else."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)
        self.client.close()

    def stop(self) -> None:
        """End the web process as Ctrl+C does."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=30)

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET that must succeed."""
        answer = self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON of a POST that must succeed."""
        answer = self.client.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def wait_for_run(self, run_id: str, seconds: float = 240.0) -> Any:
        """The run once it is final."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            run = self.get(f"/runs/{run_id}")
            if run["state"] in {"succeeded", "failed", "stopped", "lost"}:
                return run
            time.sleep(0.2)
        raise AssertionError(
            f"{run_id} did not end: {run}\n{self.get(f'/runs/{run_id}/log')['text'][-3000:]}"
        )

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                break
            try:
                if self.client.get("/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError((self.home.parent / "server.log").read_text())

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.client.close()


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
