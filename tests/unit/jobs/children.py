"""The child of every job test: does what its payload says under ``act``."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from studio.jobs import STOPPED_EXIT, JobContext


def succeed(context: JobContext) -> int:
    print("hello")
    context.result({"answer": 42})
    return 0


def leave(context: JobContext) -> int:
    print("line one\nline two", file=sys.stderr)
    return int(context.payload["code"])


def crash(context: JobContext) -> int:
    ctypes.string_at(0)
    return 0


def explain(context: JobContext) -> int:
    from studio.core.errors import InvalidInput

    context.fail(InvalidInput("The file is empty.", "Choose another one.", ("row 1: nothing",)))
    return 1


def work(context: JobContext) -> int:
    """Count up, saving when asked to stop."""
    for step in range(int(context.payload.get("steps", 10_000))):
        context.progress("counting", step, 10_000, eta=1.5)
        if context.stop_requested():
            context.result({"steps": step})
            return STOPPED_EXIT
        time.sleep(0.02)
    return 0


def ignore(context: JobContext) -> int:
    """Neither hears a stop nor SIGTERM, and has a child in its group and one in a session of its own."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    fork_stubborn()
    print("ready")
    time.sleep(60)
    return 0


def late(context: JobContext) -> int:
    """Goes some seconds after SIGTERM, and leaves two behind that do not."""
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    fork_stubborn()
    print("ready")
    while not told:
        time.sleep(0.02)
    time.sleep(float(context.payload["seconds"]))
    return STOPPED_EXIT


def fork_stubborn() -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    for own_session in (False, True):
        subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=own_session)


def devour(context: JobContext) -> int:
    """Take memory beyond a limit: what Python gets is MemoryError, what a library gets may end it."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    taken = []
    while True:
        taken.append(bytearray(100 << 20))


def killed(context: JobContext) -> int:
    """What the kernel does when the machine runs out of memory."""
    print("step 41")
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def abandon(context: JobContext) -> int:
    """Ends well but leaves a process behind."""
    left = subprocess.Popen(["sleep", "60"])
    context.result({"left": left.pid})
    return 0


def once(context: JobContext) -> int:
    """Leave a mark at every run of this job."""
    with (context.directory / "runs").open("a") as handle:
        handle.write(f"{os.getpid()}\n")
    time.sleep(float(context.payload.get("seconds", 0)))
    return 0


def sleep_silently(context: JobContext) -> int:
    """Hang as a training would that waits for ever; says where it stands when it is asked."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    time.sleep(float(context.payload["seconds"]))
    return 0


def environment(context: JobContext) -> int:
    devices = {name: value for name, value in os.environ.items() if name.startswith("CUDA_")}
    here = {"colour": os.environ.get("COLOUR"), "cwd": str(Path.cwd()), "stdin": sys.stdin.read()}
    context.result({**here, **devices})
    return 0


def speak(context: JobContext) -> int:
    sys.stdout.buffer.write("äöü€\n".encode() * 3 + b"\xff\n")
    return 0


if __name__ == "__main__":
    running = JobContext(sys.argv[1])
    sys.exit(globals()[str(running.payload["act"])](running))
