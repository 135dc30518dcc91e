"""Detection and conversion of every format, and the reason for every row that does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.core import InvalidInput
from studio.datasets import ColumnMap, SourceFormat
from studio.datasets.canonical import RowError
from studio.datasets.conversion import check_mapping, convert_row
from studio.datasets.detection import inspect_file
from tests.unit.datasets.conftest import assistant, instruction, preference, user

SYSTEM = {"role": "system", "content": "Be brief."}
CHOSEN, REJECTED = [assistant("good")], [assistant("bad")]
PAIR = preference("q", "good", "bad")
HUMAN = "\n\nHuman: q\n\nAssistant: "

# format, a source row, its canonical row
CASES = [
    ("alpaca", {"instruction": "q", "input": "", "output": "a"}, instruction("q", "a")),
    ("alpaca", {"instruction": "q", "input": "in", "output": "a"}, instruction("q\n\nin", "a")),
    (
        "alpaca",
        {"instruction": "q", "output": "a", "system": "Be brief."},
        {"messages": [SYSTEM, user("q"), assistant("a")]},
    ),
    (
        "sharegpt",
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        instruction("q", "a"),
    ),
    ("messages", {"messages": [user("q"), assistant("a")]}, instruction("q", "a")),
    (
        "messages",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, assistant("a")]},
        instruction("q", "a"),
    ),
    ("prompt_completion", {"prompt": "q", "completion": "a"}, instruction("q", "a")),
    ("prompt_completion", {"prompt": [user("q")], "completion": [assistant("a")]}, instruction("q", "a")),
    ("preference", {"prompt": "q", "chosen": "good", "rejected": "bad"}, PAIR),
    ("preference", {"prompt": [user("q")], "chosen": CHOSEN, "rejected": REJECTED}, PAIR),
    # As UltraFeedback has it: a prompt and two whole conversations.
    ("preference", {"prompt": "q", "chosen": [user("q"), *CHOSEN], "rejected": [user("q"), *REJECTED]}, PAIR),
    # As LLaMA-Factory's ShareGPT ranking has it: one message a side.
    ("preference", {"prompt": "q", "chosen": CHOSEN[0], "rejected": {"from": "gpt", "value": "bad"}}, PAIR),
    ("preference_implicit", {"chosen": [user("q"), *CHOSEN], "rejected": [user("q"), *REJECTED]}, PAIR),
    ("preference_implicit", {"chosen": f"{HUMAN}good", "rejected": f"{HUMAN}bad"}, PAIR),
    (
        "unpaired",
        {"prompt": "q", "completion": "a", "label": True},
        {"prompt": [user("q")], "completion": [assistant("a")], "label": True},
    ),
    ("text", {"text": "A passage."}, {"text": "A passage."}),
]


@pytest.mark.parametrize(("name", "source", "canonical"), CASES)
def test_each_format_is_seen_and_converted(tmp_path: Path, name: str, source: dict, canonical: dict) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(source) + "\n")
    seen = inspect_file(path)
    assert (seen.format, seen.sure) == (SourceFormat(name), True), seen.note
    assert convert_row(seen.format, seen.mapping, source) == canonical


def test_lists_in_csv_cells_are_json(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    cell = json.dumps([user("q"), assistant("a")]).replace('"', '""')
    path.write_text(f'messages\n"{cell}"\n')
    seen = inspect_file(path)
    assert (seen.format, seen.sure) == (SourceFormat.MESSAGES, True)
    python = str([user("q"), assistant("a")])
    with pytest.raises(RowError, match="as Python prints it"):
        convert_row(seen.format, seen.mapping, {"messages": python}, cells=True)


def test_a_prompt_of_several_turns_is_the_common_prefix() -> None:
    start = [SYSTEM, user("q"), assistant("a"), user("more")]
    row = {"chosen": [*start, *CHOSEN], "rejected": [*start, *REJECTED]}
    mapping = ColumnMap({"chosen": "chosen", "rejected": "rejected"})
    made = convert_row(SourceFormat.PREFERENCE_IMPLICIT, mapping, row)
    assert made == {"prompt": start, "chosen": CHOSEN, "rejected": REJECTED}


def test_answers_that_begin_alike_are_whole_answers() -> None:
    alike = (
        [user("q"), assistant("same"), assistant("good")],
        [user("q"), assistant("same"), assistant("bad")],
    )
    mapping = ColumnMap({"chosen": "chosen", "rejected": "rejected"})
    made = convert_row(SourceFormat.PREFERENCE_IMPLICIT, mapping, {"chosen": alike[0], "rejected": alike[1]})
    assert made["prompt"] == [user("q")] and len(made["chosen"]) == 2


BAD = [
    ("alpaca", {"instruction": "q", "output": "  "}, "output", "empty"),
    ("alpaca", {"instruction": "q"}, "output", "missing"),
    ("alpaca", {"instruction": "q", "output": 3}, "output", "a number, not text"),
    ("messages", {"messages": []}, "messages", "no message"),
    ("messages", {"messages": "hello"}, "messages", "text, not a list"),
    ("messages", {"messages": [user("q")]}, "messages[0].role", "not the assistant's"),
    ("messages", {"messages": [assistant("a")]}, "messages", "does not start with a user"),
    (
        "messages",
        {"messages": [user("q"), {"role": "narrator", "content": "x"}]},
        "messages[1].role",
        "nobody",
    ),
    ("messages", {"messages": [user("q"), {"role": "assistant"}]}, "messages[1].content", "missing"),
    ("messages", {"messages": [user("q"), SYSTEM, assistant("a")]}, "messages[1].role", "only come first"),
    (
        "messages",
        {"messages": [user("q"), {"role": "assistant", "content": None, "tool_calls": [{}]}]},
        "messages[1]",
        "calls a tool",
    ),
    (
        "messages",
        {"messages": [{"role": "user", "content": [{"type": "image"}]}, assistant("a")]},
        "messages[0].content[0]",
        "holds image, not text",
    ),
    ("preference", {"prompt": "q", "chosen": "same", "rejected": "same"}, "rejected", "same as chosen"),
    (
        "preference",
        {"prompt": [user("q"), assistant("a")], "chosen": "x", "rejected": "y"},
        "prompt[1].role",
        "answer",
    ),
    (
        "preference",
        {"prompt": "other", "chosen": [user("q"), *CHOSEN], "rejected": [user("q"), *REJECTED]},
        "prompt",
        "is not what",
    ),
    (
        "preference_implicit",
        {"chosen": [user("q"), *CHOSEN], "rejected": [user("r"), *REJECTED]},
        "rejected",
        "no prompt",
    ),
    (
        "preference_implicit",
        {"chosen": [user("q"), *CHOSEN], "rejected": [user("q")]},
        "rejected",
        "no answer",
    ),
    ("preference_implicit", {"chosen": "plain", "rejected": "text"}, "chosen", "must be a conversation"),
    ("unpaired", {"prompt": "q", "completion": "a", "label": "maybe"}, "label", "neither true nor false"),
    ("unpaired", {"prompt": "q", "completion": "a", "label": None}, "label", "missing"),
    ("text", {"text": ["a"]}, "text", "a list, not text"),
]


@pytest.mark.parametrize(("name", "row", "field", "why"), BAD)
def test_a_row_that_does_not_fit_says_where_and_why(name: str, row: dict, field: str, why: str) -> None:
    parts = {
        "alpaca": ("instruction", "output"),
        "messages": ("messages",),
        "preference": ("prompt", "chosen", "rejected"),
        "preference_implicit": ("chosen", "rejected"),
        "unpaired": ("prompt", "completion", "label"),
        "text": ("text",),
    }[name]
    with pytest.raises(RowError) as caught:
        convert_row(SourceFormat(name), ColumnMap({part: part for part in parts}), row)
    assert caught.value.field == field and why in caught.value.why


def test_the_field_is_the_name_of_the_source_column() -> None:
    mapping = ColumnMap({"messages": "turns"})
    with pytest.raises(RowError) as caught:
        convert_row(SourceFormat.MESSAGES, mapping, {"turns": [user("q"), assistant("")]})
    assert caught.value.field == "turns[1].content"


UNSURE = [
    ({"question": "q", "answer": "a"}, "prompt_completion", {"prompt": "question", "completion": "answer"}),
    (
        {"instruction": "q", "context": "c", "response": "a"},
        "alpaca",
        {"instruction": "instruction", "input": "context", "output": "response"},
    ),
    (
        {"question": "q", "better": "good", "worse": "bad"},
        "preference",
        {"prompt": "question", "chosen": "better", "rejected": "worse"},
    ),
    ({"text": "I like it", "sentiment": "positive"}, "text", {"text": "text"}),
    (
        {"frage": "Was ist das?", "antwort": "Ein Haus am See."},
        "prompt_completion",
        {"prompt": "frage", "completion": "antwort"},
    ),
    ({"id": "1", "dump": [user("q"), assistant("a")]}, "messages", {"messages": "dump"}),
    ({"story": "Once upon a time.", "n": 3}, "text", {"text": "story"}),
    (
        {"prompt": 5, "completion": 7, "note": "hm"},
        "prompt_completion",
        {"prompt": "prompt", "completion": "completion"},
    ),
]


@pytest.mark.parametrize(("row", "name", "columns"), UNSURE)
def test_a_proposal_is_made_where_detection_is_unsure(
    tmp_path: Path, row: dict, name: str, columns: dict
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text((json.dumps(row) + "\n") * 3)
    seen = inspect_file(path)
    assert not seen.sure and seen.format is SourceFormat(name)
    assert seen.mapping.columns == columns
    assert "please check" in seen.note


def test_nothing_fits_columns_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2.5\n3,4\n")
    seen = inspect_file(path)
    assert seen.format is None and not seen.sure and seen.columns == ("a", "b") and len(seen.sample) == 2


def test_the_more_special_format_wins_and_what_is_not_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    row = {
        "prompt": "q",
        "prompt_id": "1",
        "chosen": [user("q"), *CHOSEN],
        "rejected": [user("q"), *REJECTED],
    }
    path.write_text(json.dumps({**row, "messages": [user("q"), *CHOSEN], "score": 1.0}) + "\n")
    seen = inspect_file(path)
    assert (seen.format, seen.sure) == (SourceFormat.PREFERENCE, True)
    assert "Not used: prompt_id, messages, score" in seen.note


def test_a_map_that_cannot_work_is_refused_with_everything_that_is_wrong() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_mapping(SourceFormat.ALPACA, ColumnMap({"instruction": "nope", "text": "a"}), ("a", "b"))
    assert caught.value.details == (
        "text is no part of alpaca (instruction, output, input, system)",
        "output needs a column",
        "there is no column nope for instruction",
    )
