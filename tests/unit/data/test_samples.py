"""The sample data keep their promises: counts, schemas, balanced lengths, and no prompt on two sides.

What this cannot see: a held-out prompt that was reworded into a training prompt.
"""

import csv
import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).resolve().parents[3] / "data"
IMPORTS = DATA / "sample_import"
LONGEST_LINE = 2_000

MINIMUM = {
    "corpus.jsonl": 80,
    "instructions.jsonl": 230,
    "instructions_eval.jsonl": 44,
    "preferences.jsonl": 110,
    "preferences_eval.jsonl": 44,
    "feedback_prompts.jsonl": 40,
}
INSTRUCTIONS = ("instructions.jsonl", "instructions_eval.jsonl")
PREFERENCES = ("preferences.jsonl", "preferences_eval.jsonl")
PROMPTED = (*INSTRUCTIONS, *PREFERENCES, "feedback_prompts.jsonl")
CAMPS = {
    "training": ("instructions.jsonl", "preferences.jsonl"),
    "feedback": ("feedback_prompts.jsonl",),
    "loss evaluation": ("instructions_eval.jsonl",),
    "accuracy evaluation": ("preferences_eval.jsonl",),
}

Row = dict[str, Any]


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def rows(name: str) -> list[Row]:
    return [json.loads(line) for line in lines(DATA / name)]


def normalised(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def strings(value: object) -> list[str]:
    """Every string in a row, however deep."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings(item)]
    assert isinstance(value, list), f"unexpected {type(value).__name__} in a row"
    return [text for item in value for text in strings(item)]


def messages_of(row: Row) -> list[Row]:
    prompt = row["messages"] if "messages" in row else row["prompt"]
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def user_turns(name: str) -> list[str]:
    """Every user turn, so that a follow-up question cannot leak either."""
    return [
        normalised(message["content"])
        for row in rows(name)
        for message in messages_of(row)
        if message["role"] == "user"
    ]


def camp_prompts(camp: str) -> set[str]:
    return {turn for name in CAMPS[camp] for turn in user_turns(name)}


def answer_pairs(name: str) -> list[tuple[str, str]]:
    return [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows(name)]


def chosen_longer(name: str) -> int:
    return sum(len(chosen) > len(rejected) for chosen, rejected in answer_pairs(name))


def assert_messages(messages: object, roles: list[str]) -> None:
    assert isinstance(messages, list)
    assert [message["role"] for message in messages] == roles
    assert all(set(message) == {"role", "content"} for message in messages)


@pytest.mark.parametrize(("name", "minimum"), MINIMUM.items())
def test_enough_rows(name: str, minimum: int) -> None:
    assert len(rows(name)) >= minimum


@pytest.mark.parametrize("name", MINIMUM)
def test_lines_are_short_and_no_string_is_blank(name: str) -> None:
    for number, line in enumerate(lines(DATA / name), start=1):
        assert len(line) <= LONGEST_LINE, f"line {number} is too long"
        assert all(text.strip() for text in strings(json.loads(line))), f"line {number} has a blank"


def test_corpus_schema_and_passage_length() -> None:
    corpus = rows("corpus.jsonl")
    assert all(set(row) == {"text"} for row in corpus)
    assert all(60 <= len(row["text"].split()) <= 180 for row in corpus)
    assert len({normalised(row["text"]) for row in corpus}) == len(corpus)


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_instruction_schema(name: str) -> None:
    for row in rows(name):
        assert set(row) == {"messages"}
        turns = len(row["messages"]) // 2
        assert turns >= 1
        assert_messages(row["messages"], ["user", "assistant"] * turns)


@pytest.mark.parametrize("name", PREFERENCES)
def test_preference_schema(name: str) -> None:
    for row in rows(name):
        assert set(row) == {"prompt", "chosen", "rejected"}
        assert_messages(row["prompt"], ["user"])
        assert_messages(row["chosen"], ["assistant"])
        assert_messages(row["rejected"], ["assistant"])
    assert all(normalised(chosen) != normalised(rejected) for chosen, rejected in answer_pairs(name))


def test_feedback_schema() -> None:
    assert all(set(row) == {"prompt"} for row in rows("feedback_prompts.jsonl"))


@pytest.mark.parametrize("name", PREFERENCES)
def test_length_does_not_tell_chosen_from_rejected(name: str) -> None:
    assert 0.35 <= chosen_longer(name) / len(rows(name)) <= 0.65


@pytest.mark.parametrize("name", PROMPTED)
def test_no_prompt_twice_in_a_file(name: str) -> None:
    prompts = user_turns(name)
    assert sorted(set(prompts)) == sorted(prompts)


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_no_answer_twice_in_a_file(name: str) -> None:
    answers = [
        normalised(message["content"])
        for row in rows(name)
        for message in row["messages"]
        if message["role"] == "assistant"
    ]
    assert sorted(set(answers)) == sorted(answers)


@pytest.mark.parametrize(("left", "right"), list(combinations(CAMPS, 2)))
def test_no_prompt_in_two_camps(left: str, right: str) -> None:
    shared = camp_prompts(left) & camp_prompts(right)
    assert not shared


def test_readme_states_the_counts() -> None:
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    for name in MINIMUM:
        stated = re.search(rf"^\| `{re.escape(name)}` \|[^|]*\| (\d+) \|", readme, re.MULTILINE)
        assert stated, f"{name} is not in the README's table"
        assert int(stated[1]) == len(rows(name))


@pytest.mark.parametrize("name", PREFERENCES)
def test_readme_states_the_length_balance(name: str) -> None:
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"\b{chosen_longer(name)} of the {len(rows(name))}\b", readme)


def test_licence_names_cc0() -> None:
    assert "CC0-1.0" in (DATA / "LICENSE").read_text(encoding="utf-8")


def csv_rows(name: str) -> list[dict[str, str]]:
    with (IMPORTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_alpaca_sample() -> None:
    alpaca = csv_rows("alpaca.csv")
    assert len(alpaca) == 12
    assert all(set(row) == {"instruction", "input", "output"} for row in alpaca)
    assert all(row["instruction"].strip() and row["output"].strip() for row in alpaca)


def test_broken_sample_has_the_three_bad_rows_of_the_readme() -> None:
    broken = csv_rows("with_errors.csv")
    assert len(broken) == 8
    assert all(set(row) == {"instruction", "input", "output"} for row in broken)
    bad = [
        (number, field)
        for number, row in enumerate(broken, start=1)
        for field in ("instruction", "output")
        if not row[field].strip()
    ]
    assert bad == [(2, "output"), (4, "instruction"), (6, "output")]


def test_sharegpt_sample() -> None:
    conversations = json.loads((IMPORTS / "sharegpt.json").read_text(encoding="utf-8"))
    assert len(conversations) == 6
    for conversation in conversations:
        turns = conversation["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
        assert all(turn["value"].strip() for turn in turns)


def test_prompt_completion_sample() -> None:
    pairs = [json.loads(line) for line in lines(IMPORTS / "prompt_completion.jsonl")]
    assert len(pairs) == 10
    assert all(set(pair) == {"prompt", "completion"} for pair in pairs)
    assert all(pair["prompt"].strip() and pair["completion"].strip() for pair in pairs)


def test_implicit_preferences_share_all_but_the_last_message() -> None:
    pairs = [json.loads(line) for line in lines(IMPORTS / "implicit_preferences.jsonl")]
    assert len(pairs) == 6
    for pair in pairs:
        assert set(pair) == {"chosen", "rejected"}
        assert pair["chosen"][:-1] == pair["rejected"][:-1]
        assert pair["chosen"][0]["role"] == "user"
        assert pair["chosen"][-1] != pair["rejected"][-1]


def test_notes_are_passages() -> None:
    passages = (IMPORTS / "notes.txt").read_text(encoding="utf-8").split("\n\n")
    assert len(passages) == 6
    assert all(passage.strip() for passage in passages)
