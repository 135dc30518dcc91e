"""One engine subprocess: started, watched, ended.

Its output goes to a file, never through a pipe, so nothing here can hold it up. It listens on a random
loopback port, which it writes to a file once it is ready; only who knows the token of its environment
is served.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import studio
from studio.core import Unavailable
from studio.serving.backends.client import EngineClient, EngineGone

_POLL_SECONDS = 0.05
_STOP_SECONDS = 5.0
_DEATH_SECONDS = 5.0
_TAIL_LINES = 12
_SOURCE = Path(studio.__file__).parents[1]


class EngineProcess:
    """An engine that was started for one base model.

    Raises:
        Unavailable: It ended or was not ready in time; with the end of its log as details.
    """

    def __init__(
        self, base_path: Path, log: Path, *, ready_seconds: float, idle_seconds: float, dtype: str
    ) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        token = secrets.token_urlsafe(32)
        port_file = log.with_name(f"{log.stem}.{secrets.token_hex(4)}.port")
        self._process = self._spawn(base_path, port_file, token, idle_seconds, dtype)
        try:
            self.client = EngineClient(self._await_port(port_file, ready_seconds), token)
        except BaseException:
            self.kill()
            raise
        finally:
            port_file.unlink(missing_ok=True)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    @property
    def ended_well(self) -> bool:
        """Whether it ended by itself, as an idle engine does."""
        return self._process.poll() == 0

    def death(self) -> str:
        """How it ended, as half a sentence."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_DEATH_SECONDS)  # a broken connection is seen before the exit status
        code = self._process.poll()
        if code is None:
            return "does not answer"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def tail(self) -> tuple[str, ...]:
        """The last lines of its log."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            return tuple(line for line in lines if line.strip())[-_TAIL_LINES:]
        return ()

    def stop(self) -> None:
        """End it: ask, then kill."""
        if self.alive:
            with contextlib.suppress(EngineGone, Unavailable):
                self.client.call("POST", "/shutdown", {})
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it at once, and wait until it is gone."""
        if self.alive:
            self._process.kill()
        self._process.wait()

    def _spawn(
        self, base_path: Path, port_file: Path, token: str, idle_seconds: float, dtype: str
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "studio.serving.engine", "--model", str(base_path)]
        command += ["--port-file", str(port_file), "--parent", str(os.getpid())]
        command += ["--idle-seconds", str(idle_seconds), "--dtype", dtype]
        environment = {
            # Threads that spin while they wait steal the core from those they wait for: beside a training run
            # on two cores a step took 8 to 10 times as long. A short spin is enough where the machine is
            # quiet. An operator may set it otherwise.
            "GOMP_SPINCOUNT": "3000",
            **os.environ,
            "STUDIO_ENGINE_TOKEN": token,
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUNBUFFERED": "1",
        }
        with self.log.open("wb") as output:
            # A session of its own: Ctrl-C in the terminal is for the web server, which then ends its engines.
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=_SOURCE,
                env=environment,
                start_new_session=True,
            )

    def _await_port(self, port_file: Path, ready_seconds: float) -> int:
        deadline = time.monotonic() + ready_seconds
        while time.monotonic() < deadline:
            if port_file.exists():
                return int(port_file.read_text())
            if not self.alive:
                raise Unavailable(
                    f"The model server could not start: it {self.death()}.",
                    f"Its log is {self.log}.",
                    self.tail(),
                )
            time.sleep(_POLL_SECONDS)
        raise Unavailable(
            f"The model server was not ready within {ready_seconds:.0f} seconds.",
            f"Look at its log, {self.log}, and try again.",
            self.tail(),
        )
