"""The curves of runs in memory: each metrics file as columns, grown by what was appended to it.

A file is read once and then only from where the last look ended. The files that were looked at last
are kept, up to a number of points in all; a run that was put out is read again when somebody asks. Nothing
here is the truth: the files are.

Like any reader of a metrics file it takes no lock, leaves a half-written last line for the next time, and
starts anew where the file's epoch has changed (see ``metrics``).
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray

#: Lines of all files together that stay in memory: some 100 bytes each.
MOST_LINES = 1_500_000

_FRAME = ("step", "time", "tokens")
_READ_BYTES = 4 << 20

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Lines:
    """What every point of a line shares: its step, the seconds of training so far, the tokens so far."""

    steps: Whole
    seconds: Floats
    tokens: Whole


@dataclass(frozen=True)
class Column:
    """One metric: its values, and the line each stands on, in the order of the file."""

    lines: Whole
    values: Floats


@dataclass(frozen=True)
class History:
    """All points of a run at one moment; ``length`` is the number of its lines."""

    epoch: int
    lines: Lines
    columns: dict[str, Column]

    @property
    def length(self) -> int:
        """How many lines there are."""
        return len(self.lines.steps)


class _Growing:
    """An array that is appended to; it doubles, so that a long run is not copied at each look."""

    def __init__(self, kind: type[Any]) -> None:
        self._room = np.empty(256, kind)
        self._used = 0

    def extend(self, values: NDArray[Any]) -> None:
        needed = self._used + len(values)
        if needed > len(self._room):
            room = np.empty(max(needed, 2 * len(self._room)), self._room.dtype)
            room[: self._used] = self._room[: self._used]
            self._room = room
        self._room[self._used : needed] = values
        self._used = needed

    def view(self) -> NDArray[Any]:
        # What is there is never written again, so a reader may keep the view while the array grows.
        return self._room[: self._used]


class CurveFile:
    """One metrics file as columns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._begin(-1, 0)

    def read(self) -> History:
        """Every point that is in the file now; an empty history where there is no file."""
        with self._lock:
            self._catch_up()
            steps, seconds, tokens = (part.view() for part in self._lines)
            columns = {name: Column(at.view(), values.view()) for name, (at, values) in self._columns.items()}
            return History(max(self._epoch, 0), Lines(steps, seconds, tokens), columns)

    def _begin(self, epoch: int, offset: int) -> None:
        self._epoch, self._offset = epoch, offset
        self._lines = (_Growing(np.int64), _Growing(np.float64), _Growing(np.int64))
        self._columns: dict[str, tuple[_Growing, _Growing]] = {}

    def _catch_up(self) -> None:
        try:
            handle = self._path.open("rb")
        except FileNotFoundError:
            return
        with handle:
            found = _mark(handle)
            if found == self._seen:
                return
            head = handle.readline()
            if not head.endswith(b"\n"):
                return
            epoch = _epoch(head)
            if epoch != self._epoch or found[2] < self._offset:
                self._begin(epoch, len(head))
            handle.seek(self._offset)
            while chunk := handle.read(_READ_BYTES):
                whole = chunk.rfind(b"\n") + 1
                if not whole:
                    break
                self._add(chunk[:whole].split(b"\n")[:-1])
                self._offset += whole
                handle.seek(self._offset)
            self._seen = found

    def _add(self, written: list[bytes]) -> None:
        blocks = _blocks(_points(written))
        start = len(self._lines[0].view())
        order = np.argsort(np.concatenate([at for at, _ in blocks.values()] or [np.empty(0, np.int64)]))
        for part, name in zip(self._lines, _FRAME, strict=True):
            values = [_column(names, rows, name) for names, (_, rows) in blocks.items()]
            part.extend(np.concatenate([*values, np.empty(0)])[order])
        for name in dict.fromkeys(name for names in blocks for name in names if name not in _FRAME):
            self._extend(
                name,
                [(at, _column(ns, rows, name)) for ns, (at, rows) in blocks.items() if name in ns],
                start,
            )

    def _extend(self, name: str, parts: list[tuple[Whole, Floats]], start: int) -> None:
        lines = np.concatenate([at for at, _ in parts])
        order = np.argsort(lines)
        mine = self._columns.setdefault(name, (_Growing(np.int64), _Growing(np.float64)))
        mine[0].extend(lines[order] + start)
        mine[1].extend(np.concatenate([values for _, values in parts])[order])


class CurveCache:
    """The curve files that were asked for last.

    Args:
        runs: The folder with a directory a run.
        name: The name of the metrics file in it.
        most_lines: How many lines of all files together may stay.
    """

    def __init__(self, runs: Path, name: str, most_lines: int = MOST_LINES) -> None:
        self._runs = runs
        self._name = name
        self._most = most_lines
        self._lock = threading.Lock()
        self._files: OrderedDict[str, tuple[CurveFile, int]] = OrderedDict()

    def read(self, run_id: str) -> History:
        """The history of a run as it is now."""
        with self._lock:
            file, _ = self._files.get(run_id) or (CurveFile(self._runs / run_id / self._name), 0)
        history = file.read()
        with self._lock:
            self._files[run_id] = (file, history.length)
            self._files.move_to_end(run_id)
            self._put_out()
        return history

    def _put_out(self) -> None:
        held = sum(length for _, length in self._files.values())
        while held > self._most and len(self._files) > 1:
            _, (_, length) = self._files.popitem(last=False)
            held -= length


def _mark(handle: BinaryIO) -> tuple[int, int, int]:
    """What changes when a file is appended to or replaced; its size stands last."""
    status = os.fstat(handle.fileno())
    return status.st_ino, status.st_mtime_ns, status.st_size


#: Lines with the same names in the same order: where each stands, and its values.
_Block = tuple[Whole, Floats]


def _points(written: list[bytes]) -> list[dict[str, Any]]:
    """What the lines say; rubbish that a crash left is passed over."""
    try:
        found = orjson.loads(b"[" + b",".join(written) + b"]")  # in one go: a long run has many lines
    except orjson.JSONDecodeError:
        found = [_parsed(line) for line in written]
    return [point for point in found if isinstance(point, dict) and all(name in point for name in _FRAME)]


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def _blocks(points: list[dict[str, Any]]) -> dict[tuple[str, ...], _Block]:
    """The points as one table for each set of names; one whose values are not all numbers is left out."""
    rows: dict[tuple[str, ...], tuple[list[int], list[list[Any]]]] = {}
    for place, point in enumerate(points):
        names = tuple(point)
        block = rows.get(names)
        if block is None:
            block = rows[names] = ([], [])
        block[0].append(place)
        block[1].append(list(point.values()))
    tables = {names: _table(places, values) for names, (places, values) in rows.items()}
    kept = np.sort(np.concatenate([at for at, _ in tables.values()] or [np.empty(0, np.int64)]))
    # Numbered anew, without gaps where a line was left out.
    return {names: (np.searchsorted(kept, at), values) for names, (at, values) in tables.items() if len(at)}


def _table(places: list[int], values: list[list[Any]]) -> _Block:
    try:
        return np.asarray(places, np.int64), np.asarray(values, np.float64)
    except (TypeError, ValueError):
        good = [n for n, row in enumerate(values) if all(type(value) in (int, float) for value in row)]
        sound = np.asarray([values[n] for n in good], np.float64).reshape(len(good), -1)
        return np.asarray([places[n] for n in good], np.int64), sound


def _column(names: tuple[str, ...], rows: Floats, name: str) -> Floats:
    return rows[:, names.index(name)]


def _epoch(head: bytes) -> int:
    try:
        return int(orjson.loads(head)["epoch"])
    except (ValueError, KeyError, TypeError):
        return -1
