"""A version's Parquet files: written in small row groups, read group by group.

The columns are typed (lists of ``{role, content}``), so that a trainer reads them as they are. What a
preference build adds (votes, agreement, builder) has columns only where some row has it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from studio.datasets.canonical import EXTRAS, REQUIRED, Row
from studio.datasets.records import Page, SchemaKind

# A page of the preview reads one group, so a group is small: rows, and characters of text in it.
_GROUP_ROWS = 1000
_GROUP_CHARACTERS = 4 << 20


def schema_of(kind: SchemaKind, extras: bool) -> Any:
    """The Arrow schema of a kind's rows, with or without a preference build's columns."""
    import pyarrow as pa

    messages = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    types = {"text": pa.string(), "label": pa.bool_()}
    fields = [pa.field(name, types.get(name, messages)) for name in REQUIRED[kind]]
    if extras:
        fields += [
            pa.field("votes", pa.list_(pa.string())),
            pa.field("agreement", pa.float64()),
            pa.field("builder", pa.string()),
        ]
    return pa.schema(fields)


class RowWriter:
    """Writes canonical rows to one Parquet file; on disk when the block ends."""

    def __init__(self, path: Path, kind: SchemaKind, *, extras: bool = False) -> None:
        import pyarrow.parquet as pq

        self._path = path
        self._schema = schema_of(kind, extras)
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._held: list[Row] = []
        self._characters = 0
        self.rows = 0

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()
        if kind is None:
            with self._path.open("rb") as handle:
                os.fsync(handle.fileno())

    def write(self, row: Row, characters: int) -> None:
        """Add a row; ``characters`` is about how much text it holds."""
        self._held.append(row)
        self._characters += characters
        self.rows += 1
        if len(self._held) >= _GROUP_ROWS or self._characters >= _GROUP_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._held:
            self._writer.write_table(pa.Table.from_pylist(self._held, schema=self._schema))
        self._held, self._characters = [], 0


def read_rows(path: Path, columns: list[str] | None = None) -> Iterator[Row]:
    """The canonical rows of a file, one row group in memory at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield from _canonical(file.read_row_group(group, columns=columns).to_pylist())


def has_extras(path: Path) -> bool:
    """Whether the rows of a file carry what a preference build adds."""
    import pyarrow.parquet as pq

    return bool(set(EXTRAS) & set(pq.read_schema(path).names))


def _canonical(rows: Iterable[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def read_page(path: Path, offset: int, limit: int, search: str = "") -> Page:
    """Rows ``offset`` to ``offset + limit`` of those that hold ``search``, whatever its case.

    Without a search only the row groups of the page are read; with one each is read in turn.
    """
    import pyarrow.parquet as pq

    rows: list[Row] = []
    seen = 0
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            inside = file.metadata.row_group(group).num_rows
            wanted = limit - len(rows) > 0 and seen + inside > offset
            if search:
                table = file.read_row_group(group)
                table = table.filter(_matches(table, search))
                inside = table.num_rows
            elif wanted:
                table = file.read_row_group(group)
            if wanted and inside:
                first = max(0, offset - seen)
                rows += table.slice(first, limit - len(rows)).to_pylist()
            seen += inside
    return Page(rows=tuple(_canonical(rows)), first=offset, total=seen)


def find_rows(path: Path, search: str, offset: int, limit: int) -> tuple[tuple[int, ...], int]:
    """The 0-based places of the matches ``offset`` to ``offset + limit`` of a search, and of how many."""
    import pyarrow.parquet as pq

    places: list[int] = []
    start = matches = 0
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            hits = sorted(_hits(table, search))
            first = max(0, offset - matches)
            places += (start + hit for hit in hits[first : first + limit - len(places)])
            matches += len(hits)
            start += table.num_rows
    return tuple(places), matches


def _matches(table: Any, search: str) -> Any:
    """A mask of the rows of which some text holds ``search``."""
    import pyarrow as pa

    hits = _hits(table, search)
    return pa.array([place in hits for place in range(table.num_rows)], pa.bool_())


def _hits(table: Any, search: str) -> set[int]:
    """The rows of which some text holds ``search``; roles and ids are not text."""
    hits: set[int] = set()
    for name in table.column_names:
        if name not in EXTRAS:
            column = table.column(name).combine_chunks()
            hits.update(_rows_that_hold(column, search))
    return hits


def _rows_that_hold(column: Any, search: str) -> list[int]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_list(column.type):
        texts = pc.struct_field(pc.list_flatten(column), "content")
        owners = pc.list_parent_indices(column)
    elif pa.types.is_string(column.type):
        texts, owners = column, pa.array(range(len(column)), pa.int64())
    else:
        return []
    found = pc.match_substring(texts, search, ignore_case=True)
    indices: list[int] = owners.filter(found).to_pylist()
    return indices
