"""The metrics file of a run: ``metrics.jsonl``, written by the trainer and read by anyone.

Its first line names the epoch of its history: ``{"epoch": 0}``. Every other line is one point, such as
``{"step": 3, "time": 12.5, "tokens": 810, "train/loss": 2.1}``. Points are only ever appended, each
with one write. A resume goes back to a checkpoint: it replaces the file by one with fewer points and the next
epoch, by rename, so a reader sees the old history or the new one and never a mixture.

A reader takes no lock. What it finds after the last newline is a line that is still being written and
is left for the next time.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from studio.core.files import write_text
from studio.training.records import Points

#: The parts of a line that are not metrics.
_FRAME = ("step", "time", "tokens")
#: The most that one call reads; the reader asks again for more.
_READ_BYTES = 4 << 20


class MetricsWriter:
    """Appends points to a run's metrics file; one writer at a time."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            write_text(path, _header(0))
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)

    def append(self, step: int, seconds: float, tokens: int, values: Mapping[str, float]) -> None:
        """Write one point; values that are not finite are left out, as JSON has no word for them."""
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        line = {"step": step, "time": round(seconds, 3), "tokens": tokens, **finite}
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")

    def sync(self) -> None:
        """Return when every point is on disk."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Sync and close the file."""
        self.sync()
        os.close(self._descriptor)


def rewind(path: Path, step: int) -> None:
    """Forget the points after ``step`` and begin the next epoch; an empty or missing file is begun anew."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    head, _, rest = content.partition(b"\n")
    points = [line for line in _whole_lines(rest) if _step(line) <= step]
    write_text(path, _header(_epoch(head) + 1) + "".join(line.decode() + "\n" for line in points))


def read_points(path: Path, run_id: str, cursor: int, epoch: int) -> Points:
    """The points after ``cursor`` (a byte offset that an earlier call gave; 0: from the start).

    Where ``epoch`` is not the file's, all points are given and the answer carries the file's epoch.
    """
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        return Points(run_id, epoch, 0, {})
    with handle:
        head = handle.readline()
        if not head.endswith(b"\n"):
            return Points(run_id, epoch, 0, {})
        found = _epoch(head)
        end = handle.seek(0, os.SEEK_END)
        start = min(cursor, end) if found == epoch and cursor > len(head) else len(head)
        handle.seek(start)
        chunk = handle.read(_READ_BYTES)
    used = chunk.rfind(b"\n") + 1
    return Points(run_id, found, start + used, _columns(chunk[:used]))


class Tail:
    """The newest value of each metric of a file that grows; only what is new is read each time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._cursor = 0
        self._epoch = 0
        self._values: dict[str, float] = {}

    def values(self) -> dict[str, float]:
        """The last value of each metric, and under ``eval/…/first`` the first of each evaluation."""
        with self._lock:
            while self._read():
                pass
            return dict(self._values)

    def _read(self) -> bool:
        points = read_points(self._path, "", self._cursor, self._epoch)
        if points.epoch != self._epoch:
            self._values.clear()
        moved = points.cursor != self._cursor
        self._cursor, self._epoch = points.cursor, points.epoch
        for name, column in points.columns.items():
            if name.startswith("eval/"):
                self._values.setdefault(f"{name}/first", column[0][1])
            self._values[name] = column[-1][1]
        return moved


def last_values(path: Path) -> dict[str, float]:
    """What ``Tail.values`` gives, read once."""
    return Tail(path).values()


def _columns(chunk: bytes) -> dict[str, tuple[tuple[int, float, float, int], ...]]:
    columns: dict[str, list[tuple[int, float, float, int]]] = {}
    for line in _whole_lines(chunk):
        point = _parsed(line)
        if point is None:
            continue
        step, seconds, tokens = int(point["step"]), float(point["time"]), int(point["tokens"])
        for name, value in point.items():
            # What is no number is of another writer: a hand, or a trainer to come.
            if name not in _FRAME and isinstance(value, int | float):
                columns.setdefault(name, []).append((step, float(value), seconds, tokens))
    return {name: tuple(column) for name, column in columns.items()}


def _whole_lines(chunk: bytes) -> Iterator[bytes]:
    yield from chunk.split(b"\n")[:-1]


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The point in a line, or None where a crash left rubbish."""
    try:
        point = json.loads(line)
    except ValueError:
        return None
    return point if isinstance(point, dict) and all(name in point for name in _FRAME) else None


def _step(line: bytes) -> float:
    point = _parsed(line)
    return float(point["step"]) if point else math.inf


def _epoch(head: bytes) -> int:
    try:
        return int(json.loads(head)["epoch"])
    except (ValueError, KeyError, TypeError):
        return -1


def _header(epoch: int) -> str:
    return json.dumps({"epoch": epoch}) + "\n"
