"""Parquet from strangers: small files that stand for huge ones, broken ones, and odd types."""

from __future__ import annotations

import resource
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studio.core import InvalidInput, TooLarge
from studio.datasets.readers import MIB, Budget, open_rows


def test_typed_rows_come_out_as_json(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    table = pa.table({"messages": [messages, None], "score": [float("nan"), 1.5], "blob": [b"\x00\xff", b""]})
    pq.write_table(table, path)
    rows = list(open_rows(path)[0])
    assert rows[0].value == {"messages": messages, "score": None, "blob": "(2 bytes)"}
    assert rows[1].value["messages"] is None


def test_flaws_are_named_by_column(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    broken = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"ok\xff\xfe")]
    )
    pq.write_table(pa.table({"text": broken, "other": ["fine", "n\0l"]}), path)
    rows = list(open_rows(path)[0])
    assert rows[0].value == {"text": "ok", "other": "fine"}
    assert (rows[1].number, rows[1].error.field) == (2, "text")


@pytest.mark.parametrize("nested", [False, True])
def test_a_small_file_that_stands_for_a_huge_one_is_too_large(tmp_path: Path, nested: bool) -> None:
    path = tmp_path / "bomb.parquet"
    text = "x" * MIB
    values = [[{"role": "user", "content": text}]] * 256 if nested else [text] * 256
    table = pa.table({"text": pa.array(values)})
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(2):
            writer.write_table(table)
    assert path.stat().st_size < 4 * MIB  # for half a GiB of rows
    del table, values
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TooLarge, match=r"bomb\.parquet holds more than 32 MiB"):
        [row.number for row in open_rows(path, Budget(total=32 * MIB))[0]]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200 * 1024  # KiB


def test_the_rows_of_a_heavy_batch_are_taken_one_by_one_and_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    rows = [{"m": [{"role": "user", "content": f"{n} " * n}], "n": n, "tags": ["a"] * n} for n in range(100)]
    pq.write_table(pa.Table.from_pylist(rows), path)
    for budget in (Budget(), Budget(row=5000)):
        assert [row.value for row in open_rows(path, budget)[0]] == rows


def test_a_row_over_its_budget_is_rejected_without_being_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": ["x" * (2 * MIB), "fine"]}), path)
    rows = list(open_rows(path, Budget(row=MIB))[0])
    assert "bytes, more than" in rows[0].error.why
    assert rows[1].value == {"text": "fine"}


def test_a_file_that_breaks_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": [f"{n} " * 50 for n in range(5000)]}), path, row_group_size=500)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = b"\xff" * 2000
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match=r"x\.parquet cannot be read"):
        list(open_rows(path)[0])


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), path)
    with pytest.raises(InvalidInput, match="more than one column text"):
        list(open_rows(path)[0])
