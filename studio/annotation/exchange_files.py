"""Files of rows for other programs: JSONL, Parquet, and CSV that no spreadsheet takes for formulas.

A cell that begins like a formula (after white space and apostrophes) gets an apostrophe in front, which
a spreadsheet shows as text; ``plain_cell`` takes it away again. The file is whole or not there.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import IO, Any

from studio.core.files import sync_directory
from studio.datasets import Message
from studio.datasets.canonical import canonical_json

Row = dict[str, Any]

_AT_ONCE = 1000
#: OWASP, "CSV Injection": what Excel, LibreOffice and Google Sheets take for the start of a formula, and
#: their full-width forms, which some of them fold.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class ExportFormat(StrEnum):
    """What an export can be written as."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    CSV = "csv"


class Column(StrEnum):
    """What a column holds."""

    TEXT = "text"
    NUMBER = "number"
    WHOLE = "whole"
    FLAG = "flag"
    MESSAGES = "messages"
    IDS = "ids"


Columns = Mapping[str, Column]


def write_rows(path: Path, form: ExportFormat, columns: Columns, rows: Iterable[Row]) -> int:
    """Write rows by temporary file, fsync and rename; returns how many there were."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        count = _WRITERS[form](temporary, columns, rows)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)
    return count


def _write_jsonl(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as handle:
        for row in rows:
            line = {name: row[name] for name in columns}
            handle.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
    return count


def _write_csv(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    with path.open("w", encoding="utf-8", newline="") as handle:
        return _write_records(handle, columns, rows)


def _write_records(handle: IO[str], columns: Columns, rows: Iterable[Row]) -> int:
    writer = csv.writer(handle, lineterminator="\r\n")
    writer.writerow(columns)
    count = 0
    for row in rows:
        writer.writerow([_cell(kind, row[name]) for name, kind in columns.items()])
        count += 1
    return count


def _cell(kind: Column, value: Any) -> str:
    if value is None:
        return ""
    if kind is Column.MESSAGES:
        return safe_cell(flat_messages(value))
    if kind is Column.IDS:
        return safe_cell(" ".join(value))
    if kind is Column.FLAG:
        return "true" if value else "false"
    return safe_cell(value) if kind is Column.TEXT else str(value)


def safe_cell(text: str) -> str:
    """A cell that no spreadsheet computes."""
    return f"'{text}" if _looks_computed(text) else text


def plain_cell(text: str) -> str:
    """What ``safe_cell`` was given."""
    return text[1:] if text.startswith("'") and _looks_computed(text[1:]) else text


def _looks_computed(text: str) -> bool:
    bare = text.lstrip("'")
    return bare.startswith(_FORMULA) or bare.lstrip().startswith(_FORMULA)


def flat_messages(messages: Iterable[Message]) -> str:
    """One message as its text, more as JSON; ``parsed_messages`` reads both."""
    messages = list(messages)
    if not messages:
        return ""
    only = messages[0]
    if len(messages) == 1 and only["role"] in ("user", "assistant") and not only["content"].startswith("[{"):
        return only["content"]
    return canonical_json(messages)


def parsed_messages(text: str, role: str) -> Any:
    """The messages that ``flat_messages`` made a text of; ``role`` is that of a plain text."""
    if text.startswith("[{"):
        try:
            return json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            pass
    return [{"role": role, "content": text}]


def _write_parquet(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([pa.field(name, _arrow(kind)) for name, kind in columns.items()])
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for part in _batches(rows):
            writer.write_table(pa.Table.from_pylist(part, schema=schema))
            count += len(part)
    return count


def _arrow(kind: Column) -> Any:
    import pyarrow as pa

    plain = {Column.TEXT: pa.string(), Column.NUMBER: pa.float64(), Column.WHOLE: pa.int64()}
    if kind in plain:
        return plain[kind]
    if kind is Column.FLAG:
        return pa.bool_()
    if kind is Column.IDS:
        return pa.list_(pa.string())
    return pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    left = iter(rows)
    while part := list(islice(left, _AT_ONCE)):
        yield part


_WRITERS = {
    ExportFormat.JSONL: _write_jsonl,
    ExportFormat.PARQUET: _write_parquet,
    ExportFormat.CSV: _write_csv,
}
