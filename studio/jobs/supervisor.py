"""The process that watches over one job: ``python -m studio.jobs.supervisor <job directory>``.

It claims the job, starts the child in a process group of its own, carries out a stop (ask, SIGTERM,
SIGKILL) and writes ``exit.json`` only when the child and everything it started are gone. It stands in a
session of its own and speaks through files, so it does not notice when the studio ends. Of any number of
supervisors that are started for one job, one gets the claim and the others leave.

It is itself killed by nobody: if that happens all the same, its job has no exit record and the studio
calls it lost.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.jobs import directory as files
from studio.jobs.identity import TOKEN_VARIABLE, Identity, identify, members, signal_members
from studio.jobs.stalls import Silence, stalled_reason

#: How long after SIGTERM comes SIGKILL, in seconds; so whatever ignores it is gone within 5 after the grace.
TERMINATE_SECONDS = 3.5
# What outlives the child itself gets less time: whatever there was to save, the child has saved. It gets none
# beyond what the child got, where that was terminated: all of them were told at once.
_LEFTOVER_SECONDS = 2.0
# A stop is noticed after at most this long; the end of the child is noticed at once.
_POLL_SECONDS = 0.2
_GONE_SECONDS = 0.05
_INSIST_SECONDS = 120.0
# A stalled child writes where it stands to its log within this time.
_LAST_WORDS_SECONDS = 1.0


class Supervisor:
    """Runs the job of one directory from claim to exit record."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._spec = files.read(directory / files.SPEC) or {}
        self._token = str(self._spec["token"])
        self._told_to_end = False
        self._terminated_at: float | None = None
        self._silence_seconds = float(self._spec.get("stall_seconds", 0))
        self._stalled = ""

    def run(self) -> None:
        """Claim the job and see it through; returns at once where another supervisor has it."""
        # Whoever ends this machine's processes ends the job in order, as if it had been stopped.
        signal.signal(signal.SIGTERM, self._on_terminate)
        if not files.write_once(self._directory / files.SUPERVISOR, self._claim()):
            return
        if self._stop_requested():
            self._finish(None, None)
            return
        try:
            child = self._start()
        except OSError as error:
            self._finish(None, None, error=f"The process could not be started: {error}.")
            return
        forced = self._await(child)
        self._clear(child)
        _, status = os.waitpid(child.pid, 0)
        self._finish(os.waitstatus_to_exitcode(status), forced, error=self._stalled)

    def _claim(self) -> dict[str, Any]:
        return {**_identify(os.getpid()).record(), "token": self._token, "at": time.time()}

    def _on_terminate(self, *_: object) -> None:
        self._told_to_end = True

    def _stop_requested(self) -> bool:
        stop = self._directory / files.STOP
        if self._told_to_end and not stop.exists():
            stop.touch()
        return stop.exists()

    def _start(self) -> Identity:
        log = str(self._directory / files.LOG)
        pid = os.posix_spawn(
            sys.executable,
            # -P: the child stands in the job's directory and must not import from there.
            [sys.executable, "-P", "-m", str(self._spec["module"]), str(self._directory)],
            self._environment(),
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ),
            setpgroup=0,
            setsigdef=(signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE),
        )
        # It cannot be gone from /proc: until this process waits for it, it stays there as a zombie.
        child = _identify(pid)
        files.write(self._directory / files.CHILD, {**child.record(), "at": time.time()})
        return child

    def _environment(self) -> dict[str, str]:
        return {
            # Torch's threads spin while they wait for each other, which slows a busy machine several times
            # over; never to spin costs a quiet one a fifth. A short spin costs neither: 8 steps of SFT on a
            # quiet 2-core machine took 16.0 s without, 13.3 s with this, 12.6 s with ten times as much.
            "GOMP_SPINCOUNT": "3000",
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
            **self._spec["environment"],
            TOKEN_VARIABLE: self._token,
        }

    def _await(self, child: Identity) -> str | None:
        """Wait until the child ended, without reaping it; returns the signal that it took, if one did."""
        wait = _waiter(child.pid)
        silence = Silence(self._directory, self._silence_seconds)
        while not wait(_POLL_SECONDS):
            if self._stop_requested():
                return self._stop(child, wait)
            if silence.too_long():
                self._stalled = stalled_reason(self._silence_seconds)
                return self._end_stalled(child, wait)
        return None

    def _end_stalled(self, child: Identity, wait: Callable[[float], bool]) -> str:
        """Let the child say where it stands, then end it; it is not reaped yet, so its number is its own."""
        os.kill(child.pid, signal.SIGUSR1)
        if _within(_LAST_WORDS_SECONDS, wait):
            return signal.SIGUSR1.name
        return self._end(child, wait)

    def _stop(self, child: Identity, wait: Callable[[float], bool]) -> str | None:
        if _within(float(self._spec["stop_grace_seconds"]), wait):
            return None
        return self._end(child, wait)

    def _end(self, child: Identity, wait: Callable[[float], bool]) -> str:
        self._terminated_at = time.monotonic()
        signal_members(child, self._token, signal.SIGTERM)
        if _within(TERMINATE_SECONDS, wait):
            return signal.SIGTERM.name
        while not wait(_GONE_SECONDS):
            signal_members(child, self._token, signal.SIGKILL)
        return signal.SIGKILL.name

    def _clear(self, child: Identity) -> None:
        """End what the child left behind; the slot of a job is not free before that is gone."""
        if not signal_members(child, self._token, signal.SIGTERM):
            return
        patience = _LEFTOVER_SECONDS
        if self._terminated_at is not None:
            patience = min(patience, self._terminated_at + TERMINATE_SECONDS - time.monotonic())
        if _within(patience, lambda pause: self._gone(child, pause)):
            return
        while not self._gone(child, _GONE_SECONDS):
            signal_members(child, self._token, signal.SIGKILL)

    def _gone(self, child: Identity, pause: float) -> bool:
        if not members(child, self._token):
            return True
        time.sleep(min(pause, _GONE_SECONDS))
        return False

    def _finish(self, code: int | None, forced: str | None, error: str = "") -> None:
        """Write how it ended; ``code`` is negative for a signal and None where nothing was started."""
        record = {
            "token": self._token,
            "code": code,
            "forced": forced,
            "error": error,
            "stop_requested": self._stop_requested(),
            "at": time.time(),
        }
        _insist(lambda: files.write(self._directory / files.EXIT, record))


def _identify(pid: int) -> Identity:
    found = identify(pid)
    if found is None:
        raise ProcessLookupError(f"process {pid} is not in /proc")
    return found


def _waiter(pid: int) -> Callable[[float], bool]:
    """A function that waits so many seconds for the end of a child and says whether it came."""
    descriptor = os.pidfd_open(pid)

    def wait(seconds: float) -> bool:
        return bool(select.select([descriptor], [], [], seconds)[0])

    return wait


def _insist(write: Callable[[], None]) -> None:
    """Retry for a while: a full disk is a common end of a training, and someone may make room."""
    deadline = time.monotonic() + _INSIST_SECONDS
    while True:
        try:
            return write()
        except FileNotFoundError:
            raise  # The job's directory was removed; nobody waits for the record.
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)


def _within(seconds: float, wait: Callable[[float], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if wait(min(left, _POLL_SECONDS)):
            return True
    return False


def main() -> None:
    """Supervise the job whose directory is the only argument."""
    directory = Path(sys.argv[1]).resolve()
    # The child inherits it: what a library drops in its working directory belongs to the job.
    os.chdir(directory)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    Supervisor(directory).run()


if __name__ == "__main__":
    main()
