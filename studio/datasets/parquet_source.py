"""Parquet files from strangers as streams of rows.

A small Parquet file can stand for hundreds of gigabytes, whatever its footer says. So string columns
stay dictionary-encoded until a row is taken out, rows are taken out one at a time, and what each
weighs is counted before the next. A missing number that pandas wrote as NaN comes out as null.

A single page that unpacks to gigabytes is still unpacked by Arrow as a whole; the import job runs
under a memory limit for that.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.datasets.canonical import RowError
from studio.datasets.readers import Meter, SourceRow, too_long, unreadable
from studio.datasets.strict_json import MAX_DEPTH, check_value

# A batch repeats no dictionary entry, so a few rows at a time cost little even where they are huge.
_BATCH_ROWS = 64

# What a number, a null or a key weighs beside the text, in bytes.
_SCALAR_BYTES = 8


def read_parquet(source: Path, meter: Meter) -> Iterator[SourceRow]:
    """The rows of a Parquet file.

    Raises:
        InvalidInput: It is no Parquet file, or breaks off.
    """
    import pyarrow as pa

    number = 0
    try:
        file = _open(source)
        rows = max(1, file.metadata.num_rows)
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            for row in _rows(number, batch, meter):
                number = row.number
                yield row
                meter.done = meter.size * number // rows
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, MemoryError):
            raise
        first = str(error).splitlines()[0][:200]
        raise unreadable(source, f"row {number + 1} breaks off ({first})" if number else first) from None


def _open(source: Path) -> Any:
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as probe:
        names = probe.schema_arrow.names
        leaves = [probe.schema.column(place) for place in range(len(probe.schema))]
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise unreadable(source, f"it has more than one column {', '.join(twice)}")
    return pq.ParquetFile(source, read_dictionary=texts, pre_buffer=False, buffer_size=1 << 20)


def _rows(before: int, batch: Any, meter: Meter) -> Iterator[SourceRow]:
    """The rows of a batch: at once where all of it weighs less than one row may, else one by one."""
    weight = _batch_weight(batch)
    values = _unpacked(batch) if weight <= meter.budget.row else None
    if values is None:
        for place in range(batch.num_rows):
            yield _row(before + 1 + place, batch, place, meter)
        return
    meter.add(int(weight), 0)
    for place, value in enumerate(values):
        yield _checked(before + 1 + place, value)


def _unpacked(batch: Any) -> list[dict[str, Any]] | None:
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except UnicodeDecodeError:
        return None
    return rows


def _checked(number: int, value: dict[str, Any]) -> SourceRow:
    plain: dict[str, Any] = {}
    try:
        for name, item in value.items():
            plain[name] = _plain(item, name)
        check_value(plain)
    except RowError as error:
        return SourceRow(number, None, str(plain), error)
    return SourceRow(number, plain)


def _batch_weight(batch: Any) -> float:
    """Bytes of a batch when it is unpacked, found without unpacking it."""
    import pyarrow as pa

    return sum(_array_weight(column, pa) for column in batch.columns)


def _array_weight(array: Any, pa: Any) -> float:
    import pyarrow.compute as pc

    of = array.type
    if pa.types.is_dictionary(of):
        lengths = pc.binary_length(array.dictionary)
        return _SCALAR_BYTES * len(array) + (pc.sum(pc.take(lengths, array.indices)).as_py() or 0)
    if pa.types.is_struct(of):
        return sum(_array_weight(part, pa) for part in array.flatten())
    if pa.types.is_list(of) or pa.types.is_large_list(of):
        return _SCALAR_BYTES * len(array) + _array_weight(array.flatten(), pa)
    if pa.types.is_primitive(of) or pa.types.is_null(of):
        return _SCALAR_BYTES * len(array)
    return math.inf  # Anything else is weighed row by row.


def _row(number: int, batch: Any, place: int, meter: Meter) -> SourceRow:
    value: dict[str, Any] = {}
    weight = 0
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        weight += _weight_of(column, place)
        if weight > meter.budget.row:
            meter.add(weight, 0)
            return SourceRow(number, None, f"(column {name})", too_long(weight, meter.budget.row))
        try:
            value[name] = column[place].as_py()
        except UnicodeDecodeError:
            return SourceRow(number, None, str(value), RowError(name, "is not UTF-8 text"))
    meter.add(weight, 0)
    return _checked(number, value)


def _weight_of(column: Any, place: int) -> int:
    """Bytes of one cell, found without unpacking it as a Python value."""
    import pyarrow as pa

    scalar = column[place]
    if not scalar.is_valid:
        return 0
    return _weight(scalar, pa)


def _weight(scalar: Any, pa: Any) -> int:
    if isinstance(scalar, pa.DictionaryScalar):
        scalar = scalar.value
    if isinstance(scalar, (pa.StringScalar, pa.BinaryScalar, pa.LargeStringScalar, pa.LargeBinaryScalar)):
        buffer = scalar.as_buffer()
        return _SCALAR_BYTES + (len(buffer) if buffer is not None else 0)
    if isinstance(scalar, pa.StructScalar):
        return _SCALAR_BYTES + sum(_weight(part, pa) for part in scalar.values() if part is not None)
    values = getattr(scalar, "values", None)
    if values is None or callable(values):
        return _SCALAR_BYTES
    # A list: what is plain inside weighs the same everywhere, so a billion numbers are not walked.
    if pa.types.is_primitive(values.type) or pa.types.is_null(values.type):
        return _SCALAR_BYTES * (1 + len(values))
    return _SCALAR_BYTES + sum(_weight(part, pa) for part in values)


def _plain(value: Any, path: str, depth: int = 0) -> Any:
    """What JSON can say of an Arrow value; bytes it cannot."""
    if depth > MAX_DEPTH:
        raise RowError(path.split(".", maxsplit=1)[0], f"is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return {key: _plain(item, f"{path}.{key}", depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{path}[{place}]", depth + 1) for place, item in enumerate(value)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (bytes, bytearray)):
        return f"({len(value)} bytes)"
    if isinstance(value, (dt.date, dt.time, dt.timedelta, decimal.Decimal)):
        return str(value)
    return value


def claimed_bytes(source: Path) -> int:
    """How much a file says that it unpacks to; a lie costs its job memory, not the web process.

    Raises:
        InvalidInput: It is no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source) as file:
            groups = (file.metadata.row_group(place) for place in range(file.metadata.num_row_groups))
            return sum(int(group.total_byte_size) for group in groups)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(source, str(error).splitlines()[0][:200]) from None
