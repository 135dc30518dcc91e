"""Files as streams of rows: what hurts is named and set aside, and what follows it is still read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core import InvalidInput, TooLarge
from studio.datasets.json_array import elements
from studio.datasets.readers import Budget, SourceRow, open_rows


def read(path: Path, budget: Budget | None = None) -> list[SourceRow]:
    rows, _ = open_rows(path, budget)
    return list(rows)


def write(tmp_path: Path, name: str, data: bytes | str) -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


GOOD = '{"text": "fine"}'
HURTS = {
    "nan": ('{"a": {"b": [1, NaN]}}', "a.b[1]", "NaN"),
    "infinity": ('{"a": -Infinity}', "a", "Infinity"),
    "overflow": ('{"a": 1e999}', "a", "too large"),
    "duplicate": ('{"a": 1, "b": 2, "a": 3}', "a", "twice"),
    "nested duplicate": ('{"m": [{"role": "x", "role": "y"}]}', "m[0].role", "twice"),
    "surrogate": ('{"a": "\\ud800 alone"}', "a", "surrogate"),
    "nul": ('{"a": {"c": "x\\u0000y"}}', "a.c", "NUL"),
    "nul key": ('{"a": {"x\\u0000y": 1}}', "a", "NUL"),
    "huge integer": ('{"a": ' + "9" * 5000 + "}", "a", "5000 digits"),
    "nesting": ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "", "nested deeper"),
    "some nesting": ('{"deep": ' + "[" * 40 + "]" * 40 + "}", "deep", "nested deeper"),
    "not json": ('{"a": 1,}', "", "not JSON"),
    "no object": ("[1, 2]", "", "not an object"),
}


@pytest.mark.parametrize("case", HURTS)
def test_a_row_that_hurts_is_named_and_the_next_is_read(tmp_path: Path, case: str) -> None:
    text, field, why = HURTS[case]
    rows = read(write(tmp_path, "x.jsonl", f"{GOOD}\n{text}\n{GOOD}\n"))
    assert [row.number for row in rows] == [1, 2, 3]
    assert rows[1].value is None and rows[1].raw == text
    assert rows[1].error.field == field and why in rows[1].error.why
    assert rows[0].value == rows[2].value == {"text": "fine"}


@pytest.mark.parametrize("case", HURTS)
def test_the_same_holds_inside_an_array(tmp_path: Path, case: str) -> None:
    text, field, why = HURTS[case]
    rows = read(write(tmp_path, "x.json", f"[{GOOD},\n {text} , {GOOD}]"))
    assert [row.value for row in rows] == [{"text": "fine"}, None, {"text": "fine"}]
    assert rows[1].error.field == field and why in rows[1].error.why


def test_bytes_that_are_not_utf8_are_a_rejected_row(tmp_path: Path) -> None:
    rows = read(write(tmp_path, "x.jsonl", GOOD.encode() + b'\n{"text": "caf\xe9"}\n'))
    assert rows[1].error.field == "text" and "UTF-8" in rows[1].error.why


def test_a_row_over_its_budget_is_cut_and_the_next_is_read(tmp_path: Path) -> None:
    long = json.dumps({"text": "x" * 300_000})
    rows = read(write(tmp_path, "x.jsonl", f"{long}\n{GOOD}\n"), Budget(row=100_000))
    assert rows[0].value is None and len(rows[0].raw) < 100_000 and "300013 bytes" in rows[0].error.why
    assert rows[1].value == {"text": "fine"}
    array = read(write(tmp_path, "x.json", f"[{long},{GOOD}]"), Budget(row=100_000))
    assert "300012 bytes" in array[0].error.why and array[1].value == {"text": "fine"}


def test_a_file_over_its_budget_is_too_large(tmp_path: Path) -> None:
    path = write(tmp_path, "big.jsonl", f"{GOOD}\n" * 100)
    with pytest.raises(TooLarge, match=r"big\.jsonl"):
        read(path, Budget(total=500))


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("x.jsonl", b"", "empty"),
        ("x.xlsx", b"PK", "ending"),
        ("x.jsonl", b"\xff\xfe{\x00", "UTF-16"),
        ("x.csv", b"\x1f\x8b\x08\x00", "compressed"),
        ("x.parquet", b"PAR1 this is not one PAR1", "cannot be read"),
        ("x.json", b'{"data":\n [1]}', "neither"),
        ("x.json", b"hello", "neither"),
        ("x.csv", b"a,b,a\n1,2,3\n", "more than once"),
        ("x.csv", b"\n\n", "header"),
    ],
)
def test_a_file_that_is_not_readable_is_named(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as caught:
        read(write(tmp_path, name, data))
    assert name in caught.value.message


def test_marks_at_the_start_and_blank_lines_are_no_rows(tmp_path: Path) -> None:
    rows = read(write(tmp_path, "x.jsonl", f"\ufeff{GOOD}\r\n\r\n{GOOD}\r\n"))
    assert [(row.number, row.value) for row in rows] == [(1, {"text": "fine"}), (3, {"text": "fine"})]
    assert read(write(tmp_path, "x.csv", "\ufefftext\nfine\n"))[0].value == {"text": "fine"}
    assert read(write(tmp_path, "x.json", f"\ufeff [{GOOD}]"))[0].value == {"text": "fine"}


def test_a_json_file_may_be_jsonl(tmp_path: Path) -> None:
    assert len(read(write(tmp_path, "x.json", f"{GOOD}\n{GOOD}\n"))) == 2


@pytest.mark.parametrize(
    ("text", "good", "why"),
    [
        (f"[{GOOD}, {GOOD}", 1, "ends inside"),
        (f'[{GOOD}, {{"text": "cut', 1, "ends inside"),
        (f"[{GOOD}] trailing", 1, "behind the end"),
        (f"[{GOOD},]", 1, "empty"),
        (f"[{GOOD},,{GOOD}]", 2, "empty"),
    ],
)
def test_a_broken_array_keeps_its_good_rows(tmp_path: Path, text: str, good: int, why: str) -> None:
    rows = read(write(tmp_path, "x.json", text))
    assert sum(row.value is not None for row in rows) == good
    bad = [row for row in rows if row.value is None]
    assert len(bad) == 1 and why in bad[0].error.why


def test_an_empty_array_has_no_rows(tmp_path: Path) -> None:
    assert read(write(tmp_path, "x.json", " [ ]\n")) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(JSON, max_size=6), st.sampled_from([None, 1]), st.booleans(), st.integers(1, 7))
def test_the_scanner_finds_the_elements_that_json_finds(
    values: list[object], indent: int | None, ascii_only: bool, step: int
) -> None:
    data = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

    class Dribble:
        """A file that gives a few bytes at a time, so that every state is cut somewhere."""

        place = 0

        def read(self, _size: int) -> bytes:
            self.place += step
            return data[self.place - step : self.place]

    found = list(elements(Dribble(), 1 << 20, lambda _: None))
    assert [json.loads(element.data.decode("utf-8", "surrogatepass")) for element in found] == values
    assert [element.number for element in found] == list(range(1, len(values) + 1))


def test_csv_rows_are_records_and_ragged_ones_are_named(tmp_path: Path) -> None:
    text = 'a,b\n1,"two\nlines"\n1,2,3\n\n"x"y,2\nlast,"says ""hi"""\n'
    rows = read(write(tmp_path, "x.csv", text))
    assert rows[0].value == {"a": "1", "b": "two\nlines"}
    assert rows[1].error.why == "has 3 cells where the header has 2" and rows[1].raw == "1,2,3"
    assert "not CSV" in rows[2].error.why
    assert (rows[3].number, rows[3].value) == (4, {"a": "last", "b": 'says "hi"'})


def test_an_unclosed_quote_is_one_rejected_row(tmp_path: Path) -> None:
    rows = read(write(tmp_path, "x.csv", 'a,b\n1,2\n3,"open\n5,6\n'))
    assert rows[0].value == {"a": "1", "b": "2"}
    assert rows[1].value is None and rows[1].raw == '3,"open\n5,6'
    endless = 'a,b\n3,"open\n' + "5,6\n" * 500
    rows = read(write(tmp_path, "y.csv", endless), Budget(row=1000))
    assert "opened on line 2 may never be closed" in rows[0].error.why
    # What is behind the cut is read again: a row is lost, not the file.
    assert rows[-1].value == {"a": "5", "b": "6"}


@pytest.mark.parametrize(("name", "mark"), [("x.csv", ","), ("x.csv", ";"), ("x.csv", "|"), ("x.tsv", "\t")])
def test_delimiters(tmp_path: Path, name: str, mark: str) -> None:
    assert read(write(tmp_path, name, f"a{mark}b\n1{mark}2\n"))[0].value == {"a": "1", "b": "2"}


def test_csv_with_bytes_that_are_no_text(tmp_path: Path) -> None:
    rows = read(write(tmp_path, "x.csv", b"a,b\n1,caf\xe9\n1,n\x00l\n1,2\n"))
    assert (rows[0].error.field, rows[0].error.why) == ("b", "is not UTF-8 text")
    assert "NUL" in rows[1].error.why
    assert rows[2].value == {"a": "1", "b": "2"}


def test_text_is_packed_by_paragraphs(tmp_path: Path) -> None:
    paragraphs = [f"Paragraph {n}. " + "word " * 100 for n in range(12)]
    rows = read(write(tmp_path, "x.md", "\n\n\n".join(paragraphs)))
    assert len(rows) == 4
    joined = "\n\n".join(row.value["text"] for row in rows)
    assert joined.split() == " ".join(paragraphs).split()
    assert all(len(row.value["text"]) <= 2000 for row in rows)


def test_a_heading_starts_a_passage_and_a_long_paragraph_is_cut_at_white_space(tmp_path: Path) -> None:
    text = "x " * 700 + "\n\n# Heading\n\ntext\n\n" + "word. " * 2000
    rows = [row.value["text"] for row in read(write(tmp_path, "x.md", text))]
    assert rows[1].startswith("# Heading")
    assert max(map(len, rows)) <= 4000
    assert " ".join(rows).split() == text.split()


def test_text_that_is_not_utf8_loses_only_its_passage(tmp_path: Path) -> None:
    data = b"good\n" * 300 + b"\n" + b"bad \xff byte\n" * 150 + b"\n" + b"good\n" * 300
    rows = read(write(tmp_path, "x.txt", data))
    assert any(row.value for row in rows)
    assert [row.error.why for row in rows if row.error] == ["is not UTF-8 text"]
