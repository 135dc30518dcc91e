"""Files as streams of rows, under budgets.

Whatever a file holds, a reader keeps about one row of it in memory, stops at the budget of decoded
bytes, and gives every row that it cannot read as a ``SourceRow`` with an error, never as an exception.
Only a file that is not readable at all raises. A byte that is not UTF-8 is kept as a surrogate
(U+DC80 to U+DCFF), which ``canonical.text_flaw`` names in the row where it stands.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from studio.core.errors import InvalidInput, TooLarge
from studio.datasets.canonical import Row, RowError
from studio.datasets.json_array import Element, elements
from studio.datasets.strict_json import check_value, parse_row

MIB = 1 << 20

#: A row that could not be read is kept up to this many bytes.
KEPT_BYTES = 64 << 10

CSV_SUFFIXES = (".csv", ".tsv")
TEXT_SUFFIXES = (".txt", ".md")
SUFFIXES = (".jsonl", ".ndjson", ".json", *CSV_SUFFIXES, ".parquet", *TEXT_SUFFIXES)


@dataclass(frozen=True)
class Budget:
    """What a reader may decode, in bytes: of the whole file, and for one row."""

    total: int = 4 << 30
    row: int = 8 * MIB


@dataclass
class Meter:
    """Counts what was read and decoded; ``done`` of ``size`` are bytes of the file, for progress."""

    source: Path
    budget: Budget
    size: int = 0
    done: int = 0
    decoded: int = 0

    def add(self, decoded: int, read: int | None = None) -> None:
        """Count ``decoded`` bytes, and ``read`` bytes of the file (the same number where not given).

        Raises:
            TooLarge: The budget for the file is used up.
        """
        self.decoded += decoded
        self.done += decoded if read is None else read
        if self.decoded > self.budget.total:
            raise TooLarge(
                f"{self.source.name} holds more than {self.budget.total // MIB} MiB when it is unpacked.",
                "Split it into smaller files.",
            )


@dataclass(frozen=True)
class SourceRow:
    """One row of a file: its 1-based number, and its value or why it has none.

    The number is the line in JSONL, the place in a JSON array, the record below the header in CSV,
    the row in Parquet and the passage in text. ``raw`` is its text where a value could not be had.
    """

    number: int
    value: Row | None
    raw: str = ""
    error: RowError | None = None


def open_rows(source: Path, budget: Budget | None = None) -> tuple[Iterator[SourceRow], Meter]:
    """The rows of ``source`` by its suffix, and the meter that counts them.

    Raises:
        InvalidInput: The suffix is none of ``SUFFIXES``, or (while reading) the file is broken.
    """
    meter = Meter(source, budget or Budget(), size=source.stat().st_size)
    suffix = source.suffix.lower()
    if suffix not in SUFFIXES:
        raise unreadable(source, f"its ending is none of {', '.join(SUFFIXES)}")
    if meter.size == 0:
        raise unreadable(source, "it is empty")
    _refuse_utf16(source, suffix)
    return _reader(source, suffix, meter), meter


def _reader(source: Path, suffix: str, meter: Meter) -> Iterator[SourceRow]:
    if suffix == ".parquet":
        from studio.datasets.parquet_source import read_parquet

        return read_parquet(source, meter)
    if suffix in TEXT_SUFFIXES:
        from studio.datasets.passages import read_text

        return read_text(source, meter)
    if suffix in CSV_SUFFIXES:
        return read_csv(source, meter)
    return read_json(source, meter) if suffix == ".json" else read_jsonl(source, meter)


def unreadable(source: Path, why: str) -> InvalidInput:
    """The error for a file that cannot be read at all."""
    return InvalidInput(
        f"{source.name} cannot be read: {why}.",
        "Give a JSONL, JSON, CSV, TSV or Parquet file, or plain text as .txt or .md, in UTF-8.",
    )


def _refuse_utf16(source: Path, suffix: str) -> None:
    if suffix == ".parquet":
        return
    try:
        with source.open("rb") as handle:
            start = handle.read(4)
    except OSError as error:
        raise unreadable(source, error.strerror or "the system refuses") from None
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise unreadable(source, "it is UTF-16 text; save it as UTF-8")
    if start[:2] == b"\x1f\x8b" or start[:4] == b"PK\x03\x04":
        raise unreadable(source, "it is compressed; unpack it first")


def decode(data: bytes) -> str:
    """UTF-8 text; a byte that is none becomes a surrogate that later checks name."""
    return data.decode("utf-8", "surrogateescape")


def bounded_line(handle: BinaryIO, limit: int) -> tuple[bytes, int]:
    """The next line, at most ``limit`` + 1 bytes of it, and how long it really is; the rest is skipped."""
    line = handle.readline(limit + 1)
    length = len(line)
    if length > limit and not line.endswith(b"\n"):
        while rest := handle.readline(MIB):
            length += len(rest)
            if rest.endswith(b"\n"):
                break
    return line, length


def too_long(length: int, limit: int) -> RowError:
    """The error for a row over its budget."""
    return RowError("", f"the row has {length} bytes, more than {limit}; only its beginning is kept here")


def read_jsonl(source: Path, meter: Meter) -> Iterator[SourceRow]:
    """One JSON object a line; blank lines are no rows."""
    with source.open("rb") as handle:
        number = 0
        while True:
            line, length = bounded_line(handle, meter.budget.row)
            if not line:
                return
            number += 1
            meter.add(length)
            data = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if data.strip():
                yield _json_row(Element(number, data, length), meter.budget.row)


def _json_row(element: Element, limit: int) -> SourceRow:
    number = element.number
    if element.length > limit:
        return SourceRow(number, None, decode(element.data[:KEPT_BYTES]), too_long(element.length, limit))
    text = decode(element.data).strip()
    try:
        if element.why:
            raise RowError("", element.why)
        return SourceRow(number, parse_row(text))
    except RowError as error:
        return SourceRow(number, None, text, error)


def read_json(source: Path, meter: Meter) -> Iterator[SourceRow]:
    """The objects of one JSON array, or one object a line where the file is JSONL by another name.

    Raises:
        InvalidInput: The file is neither.
    """
    if _opens_with(source) == b"[":
        with source.open("rb") as handle:
            for element in elements(handle, meter.budget.row, meter.add):
                yield _json_row(element, meter.budget.row)
        return
    if not _first_line_is_object(source, meter.budget.row):
        raise unreadable(source, "it is neither a JSON array of objects nor one JSON object a line")
    yield from read_jsonl(source, meter)


def _opens_with(source: Path) -> bytes:
    with source.open("rb") as handle:
        return handle.read(64 << 10).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]


def _first_line_is_object(source: Path, limit: int) -> bool:
    with source.open("rb") as handle:
        line, _ = bounded_line(handle, limit)
    try:
        parse_row(decode(line.removeprefix(b"\xef\xbb\xbf")))
    except RowError:
        return False
    return True


class _Lines:
    """The physical lines of a CSV file; remembers those of the current record, and bounds them."""

    def __init__(self, handle: BinaryIO, meter: Meter) -> None:
        self._handle = handle
        self._meter = meter
        self.line = 0
        self.start()

    def start(self) -> None:
        """The next line begins a record."""
        self._kept: list[bytes] = []
        self._length = 0
        self._first = self.line + 1

    @property
    def raw(self) -> str:
        """The text of the current record, at most ``KEPT_BYTES`` of it where it is too long."""
        text = b"".join(self._kept)
        return decode(text if self._length <= self._meter.budget.row else text[:KEPT_BYTES]).rstrip("\r\n")

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        limit = self._meter.budget.row
        line, length = bounded_line(self._handle, limit)
        if not line:
            raise StopIteration
        self.line += 1
        self._length += length
        self._kept.append(line)
        self._meter.add(length)
        if self._length > limit:
            hint = (
                f"; a quote opened on line {self._first} may never be closed"
                if self.line > self._first
                else ""
            )
            raise RowError("", too_long(self._length, limit).why + hint)
        return decode(line.removeprefix(b"\xef\xbb\xbf") if self.line == 1 else line)


def read_csv(source: Path, meter: Meter) -> Iterator[SourceRow]:
    """Records below a header line; the delimiter is a comma, tab, semicolon or bar.

    Raises:
        InvalidInput: There is no usable header.
    """
    # The limit belongs to the csv module, not to a reader; ours is the same in every call.
    csv.field_size_limit(meter.budget.row + 1)
    with source.open("rb") as handle:
        lines = _Lines(handle, meter)
        reader = csv.reader(lines, strict=True, delimiter=_delimiter(source))
        header = _header(source, reader)
        number = 0
        while True:
            lines.start()
            try:
                cells = next(reader, None)
            except (csv.Error, RowError) as error:
                number += 1
                why = error if isinstance(error, RowError) else RowError("", f"is not CSV: {error}")
                yield SourceRow(number, None, lines.raw, why)
                continue
            if cells is None:
                return
            if cells:
                number += 1
                yield _record(number, header, cells, lines.raw)


def _record(number: int, header: list[str], cells: list[str], raw: str) -> SourceRow:
    try:
        if len(cells) != len(header):
            raise RowError("", f"has {len(cells)} cells where the header has {len(header)}")
        value = dict(zip(header, cells, strict=True))
        check_value(value)
    except RowError as error:
        return SourceRow(number, None, raw, error)
    return SourceRow(number, value)


def _delimiter(source: Path) -> str:
    with source.open("rb") as handle:
        line = decode(handle.readline(64 << 10))
    if source.suffix.lower() == ".tsv":
        return "\t"
    outside = "".join(line.split('"')[::2])
    return max(",\t;|", key=outside.count)


def _header(source: Path, reader: Iterator[list[str]]) -> list[str]:
    try:
        names = [name.strip() for name in next(reader, [])]
    except (csv.Error, RowError) as error:
        raise unreadable(source, f"its header line is broken ({error})") from None
    if not any(names):
        raise unreadable(source, "it has no header line")
    names = [name or f"column {place}" for place, name in enumerate(names, 1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise unreadable(source, f"its header names {', '.join(twice)} more than once")
    return names
