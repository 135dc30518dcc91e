"""Token files: whole rows of one dataset version in the tokens of one model, for showing and for training.

``<home>/tokens/<digest>/`` holds ``train.parquet`` and ``validation.parquet`` (one line a canonical row, in
its order), a ``.profile.npz`` beside each (what lengths there are), ``vocabulary.json`` (how each token
reads) and ``summary.json``, written last. The folder appears by rename, whole. Its digest names what the
tokens depend on: the rows, the tokeniser's files, and what the stage makes of a row. ``max_length`` is
not among it: rows are kept whole, and cut when they are read.

A version's files never change, so they are known by name, size and time of writing; whoever edits them by
hand has to delete ``tokens`` too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

from studio.core.files import file_digest
from studio.training.recipes import Recipe
from studio.training.records import Stage
from studio.training.tokens import RowTokens

#: The layout of the files; another one has another digest.
_FORMAT = 1
#: What of a model's folder decides how text becomes tokens.
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
)
SIDES = ("train", "validation")
SUMMARY = "summary.json"
VOCABULARY = "vocabulary.json"
_GROUP_ROWS = 1000
_GROUP_TOKENS = 1 << 20
_LISTS = ("ids", "learnt", "answer", "other")


def tokens_digest(data: Path, base: Path, recipe: Recipe) -> str:
    """The name of the token folder of the rows in ``data`` (a version's folder) for the model in ``base``."""
    parts = {
        "format": _FORMAT,
        "rows": [data.name, *(_stamp(data / f"{side}.parquet") for side in SIDES)],
        "tokenizer": {name: found for name in _TOKENIZER_FILES if (found := _content(base / name))},
        "renders": renders(recipe),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def renders(recipe: Recipe) -> str:
    """What the stage of ``recipe`` makes of a row, apart from its length."""
    if recipe.STAGE is Stage.SFT:
        return "answers" if getattr(recipe, "assistant_only", True) else "conversation"
    return {Stage.CPT: "text", Stage.KTO: "unpaired"}.get(recipe.STAGE, "pair")


def stored_tokens(folder: Path | None, data: Path, base: Path, recipe: Recipe) -> Path | None:
    """The token file of the rows in ``data`` (``…/train.parquet``), where there is one that fits.

    Args:
        folder: A token folder, or the one that token folders lie in.
        data: One side of a dataset version.
        base: The folder of the model.
        recipe: What is taught.
    """
    if folder is None or data.stem not in SIDES:
        return None
    digest = tokens_digest(data.parent, base, recipe)
    fitting = folder if folder.name == digest else folder / digest
    path = fitting / data.name
    return path if (fitting / SUMMARY).is_file() and path.is_file() else None


class TokenWriter:
    """Writes rows in tokens to one Parquet file; on disk when the block ends."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._path = path
        self._schema = _schema()
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._held: list[dict[str, Any]] = []
        self._tokens = 0

    def __enter__(self) -> TokenWriter:
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

    def write(self, row: RowTokens, key: bytes, first: int, learnt: int) -> None:
        """Add the next row.

        Args:
            row: Its tokens.
            key: The digest of its prompt, 16 bytes.
            first: The place of the first learnt token of a text or conversation; -1 where there is none.
            learnt: How many tokens are learnt if nothing is cut.
        """
        values = {name: getattr(row, name) for name in (*_LISTS, "label", "why")}
        self._held.append({**values, "length": row.length, "first": first, "count": learnt, "key": key})
        self._tokens += len(row.ids) + len(row.answer) + len(row.other)
        if len(self._held) >= _GROUP_ROWS or self._tokens >= _GROUP_TOKENS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._held:
            self._writer.write_table(pa.Table.from_pylist(self._held, schema=self._schema))
        self._held, self._tokens = [], 0


def read_tokens(path: Path) -> Iterator[RowTokens]:
    """The rows of a token file in their order, one row group in memory at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield from _rows(file.read_row_group(group, columns=[*_LISTS, "label", "why"]))


def read_places(path: Path, places: Sequence[int]) -> list[RowTokens]:
    """The rows at some 0-based places, in rising order; only the row groups that hold them are read."""
    import pyarrow.parquet as pq

    found: list[RowTokens] = []
    wanted = sorted(places)
    start = 0
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            stop = start + file.metadata.row_group(group).num_rows
            inside = [place - start for place in wanted if start <= place < stop]
            if inside:
                found += _rows(file.read_row_group(group).take(inside))
            start = stop
    return found


def read_columns(path: Path, names: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Columns that are no lists, as numpy arrays, a row group at a time with the place of its first row."""
    import pyarrow.parquet as pq

    start = 0
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=list(names))
            yield start, {name: table.column(name).to_numpy() for name in names}
            start += table.num_rows


def row_count(path: Path) -> int:
    """How many rows a token file has."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def _rows(table: Any) -> Iterable[RowTokens]:
    lists = {name: _slices(table.column(name)) for name in _LISTS}
    labels, reasons = table.column("label").to_pylist(), table.column("why").to_pylist()
    for place in range(table.num_rows):
        parts = {name: lists[name](place) for name in _LISTS}
        yield RowTokens(**parts, label=labels[place], why=reasons[place])


def _slices(column: Any) -> Any:
    """A column of lists as a function from a row's place to its list; faster than ``to_pylist``."""
    whole = column.combine_chunks()
    offsets = whole.offsets.to_numpy()
    values = whole.values.to_numpy(zero_copy_only=False)
    return lambda place: values[offsets[place] : offsets[place + 1]].tolist()


def _schema() -> Any:
    import pyarrow as pa

    ids = pa.list_(pa.int32())
    return pa.schema(
        [
            pa.field("length", pa.int32()),
            pa.field("first", pa.int32()),
            pa.field("count", pa.int32()),
            pa.field("key", pa.binary(16)),
            pa.field("why", pa.string()),
            pa.field("label", pa.bool_()),
            pa.field("ids", ids),
            pa.field("learnt", pa.list_(pa.bool_())),
            pa.field("answer", ids),
            pa.field("other", ids),
        ]
    )


def _content(path: Path) -> str:
    """The digest of a file, empty where there is none; a file that was not written to is not read again."""
    stamp = _stamp(path)
    return _digest(path, *stamp) if stamp else ""


@lru_cache(maxsize=64)
def _digest(path: Path, _size: int, _written: int) -> str:
    return file_digest(path)


def _stamp(path: Path) -> list[int]:
    try:
        found = path.stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]
