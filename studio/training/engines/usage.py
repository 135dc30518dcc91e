"""Measures a run while it trains: peak memory of its processes, and the machine's telemetry.

``watch`` is wrapped around a training. A thread looks every two seconds and writes ``usage.json`` whenever
the peak has grown, so that the figures are there even when the kernel kills the trainer. The peak is the
kernel's own high-water mark of each process (VmHWM), so nothing between two looks is missed.

Of several processes of one run only the first writes; it looks at all of them. GPU figures are torch's own
(the most that its allocator reserved on one GPU) and are unproven on GPUs.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from studio.core import read_json, write_json
from studio.jobs.identity import TOKEN_VARIABLE
from studio.training.memory.machine import oom_kills
from studio.training.task import TrainTask
from studio.training.telemetry import EVERY_SECONDS, TELEMETRY, Sampler, TelemetryWriter


@contextmanager
def watch(task: TrainTask) -> Iterator[None]:
    """Measure while the block runs; ``task.usage`` holds the peak when it ends, however it ends."""
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    watcher = _Watcher(task)
    watcher.start()
    try:
        yield
    finally:
        watcher.close()


class _Watcher(threading.Thread):
    def __init__(self, task: TrainTask) -> None:
        super().__init__(name="usage", daemon=True)
        self._usage = task.usage
        self._before = read_json(task.usage) or {}
        self._tree = ProcessTree(_outermost())
        self._sampler = Sampler(task.directory)
        self._writer = TelemetryWriter(task.directory / TELEMETRY)
        self._oom_kills = oom_kills()
        self._done = threading.Event()
        self._peak = 0
        self._written = 0
        self._lowest = int(psutil.virtual_memory().available)

    def run(self) -> None:
        while True:
            # A full disk must not end the training for the sake of its telemetry.
            with suppress(OSError, psutil.Error):
                self._look()
            if self._done.wait(EVERY_SECONDS):
                return

    def close(self) -> None:
        self._done.set()
        self.join()
        with suppress(psutil.Error):
            self._peak = max(self._peak, self._tree.peak())
        self._sampler.close()
        self._writer.close()
        self._write()

    def _look(self) -> None:
        self._tree.refresh()
        self._peak = max(self._peak, self._tree.peak())
        sample = self._sampler.take(time.time(), self._tree.memory())
        self._lowest = min(self._lowest, sample.memory_total - sample.memory_used)
        self._writer.append(sample)
        if self._peak > self._written * 1.01:
            self._write()

    def _write(self) -> None:
        self._written = self._peak
        write_json(
            self._usage,
            {
                "peak_memory_bytes": max(self._peak, int(self._before.get("peak_memory_bytes") or 0)),
                "peak_cuda_bytes": max(_cuda_peak(), int(self._before.get("peak_cuda_bytes") or 0)),
                "attempt_peak_bytes": self._peak,
                "memory_total_bytes": int(psutil.virtual_memory().total),
                "lowest_available_bytes": self._lowest,
                "oom_kills_before": self._oom_kills,
            },
        )


class ProcessTree:
    """A process and everything below it."""

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._members = [root]

    def refresh(self) -> None:
        """Look again who belongs to it."""
        with suppress(psutil.Error):
            self._members = [self._root, *self._root.children(recursive=True)]

    def memory(self) -> int:
        """Resident bytes of all of them now."""
        return sum(_status(process.pid, "VmRSS:") for process in self._members)

    def peak(self) -> int:
        """The sum of what each of them had at most, in bytes."""
        return sum(_status(process.pid, "VmHWM:") for process in self._members)


def _outermost() -> psutil.Process:
    """The outermost process of our job: under torchrun that is two above this one."""
    process = psutil.Process()
    token = os.environ.get(TOKEN_VARIABLE)
    while token:
        with suppress(psutil.Error):
            parent = process.parent()
            if parent is not None and parent.environ().get(TOKEN_VARIABLE) == token:
                process = parent
                continue
        break
    return process


def _status(pid: int, field: str) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0  # It has ended.
    for line in text.splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0


def _cuda_peak() -> int:
    """The most that torch's allocator held on one GPU, in bytes; 0 without one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return 0
    return max(int(torch.cuda.max_memory_reserved(index)) for index in range(torch.cuda.device_count()))
