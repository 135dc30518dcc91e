"""Exported files: whole, typed, and no formulas."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.annotation.exchange_files import (
    Column,
    ExportFormat,
    flat_messages,
    parsed_messages,
    plain_cell,
    safe_cell,
    write_rows,
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        '=HYPERLINK("http://x.example")',
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "'=1",
        "＝1",
        "＠x",
        '=cmd|" /C calc"!A0',
    ],
)
def test_what_a_spreadsheet_would_compute_is_text(cell: str) -> None:
    assert safe_cell(cell).startswith("'")
    assert plain_cell(safe_cell(cell)) == cell


@pytest.mark.parametrize("cell", ["", "plain", "a=1", "3", "'quoted'", "don't", "é"])
def test_other_cells_stay_as_they_are(cell: str) -> None:
    assert safe_cell(cell) == plain_cell(cell) == cell


@given(texts)
def test_every_cell_comes_back(text: str) -> None:
    safe = safe_cell(text)
    assert plain_cell(safe) == text
    assert not safe.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))


@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), texts), min_size=1, max_size=3))
def test_every_message_comes_back(turns: list[tuple[str, str]]) -> None:
    messages = [{"role": role, "content": content} for role, content in turns]
    role = turns[0][0]
    assert parsed_messages(flat_messages(messages), role) == messages


COLUMNS = {
    "name": Column.TEXT,
    "talk": Column.MESSAGES,
    "n": Column.WHOLE,
    "x": Column.NUMBER,
    "ok": Column.FLAG,
    "ids": Column.IDS,
}
ROWS = [
    {
        "name": "=1",
        "talk": [{"role": "user", "content": "Hi,\nyou"}],
        "n": 3,
        "x": -0.5,
        "ok": True,
        "ids": ["a", "b"],
    },
    {"name": 'é "x"', "talk": [], "n": None, "x": None, "ok": False, "ids": []},
]


def test_all_three_formats_say_the_same(tmp_path: Path) -> None:
    for form in ExportFormat:
        assert write_rows(tmp_path / f"rows.{form}", form, COLUMNS, ROWS) == 2
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert lines == pq.read_table(tmp_path / "rows.parquet").to_pylist() == ROWS
    with (tmp_path / "rows.csv").open(newline="") as handle:
        cells = list(csv.DictReader(handle))
    assert cells[0] == {"name": "'=1", "talk": "Hi,\nyou", "n": "3", "x": "-0.5", "ok": "true", "ids": "a b"}
    assert cells[1] == {"name": 'é "x"', "talk": "", "n": "", "x": "", "ok": "false", "ids": ""}


def test_an_empty_parquet_file_has_its_columns(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.parquet", ExportFormat.PARQUET, COLUMNS, [])
    assert pq.read_schema(tmp_path / "rows.parquet").names == list(COLUMNS)


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, ExportFormat.JSONL, COLUMNS, ROWS)
    before = path.read_bytes()
    for form in ExportFormat:

        def breaks():
            yield ROWS[0]
            raise OSError("the disk is full")

        with pytest.raises(OSError, match="full"):
            write_rows(path, form, COLUMNS, breaks())
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["rows.jsonl"]
