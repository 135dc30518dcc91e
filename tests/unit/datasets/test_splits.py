"""The split: by prompt, seeded, and the same whatever the order of the rows."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core import InvalidInput
from studio.datasets import Split
from studio.datasets.canonical import canonical_json, prompt_key, row_digest, version_digest
from studio.datasets.records import SchemaKind
from studio.datasets.splits import split
from tests.unit.datasets.conftest import assistant, instruction, user

QUESTIONS = st.sampled_from(["What is it?", "what  is IT?", "Why?", "How?", "ｗｈｙ?", "When?", "Who?"])
ROWS = st.lists(st.builds(instruction, QUESTIONS, st.text("abc", min_size=1)), min_size=2, max_size=30)


@settings(max_examples=200, deadline=None)
@given(ROWS, st.floats(0, 1), st.integers(0, 5))
def test_no_prompt_is_on_both_sides_and_nothing_is_lost(rows: list[dict], fraction: float, seed: int) -> None:
    sides = split(rows, fraction, seed)
    keys = {side: {prompt_key(row) for row in sides[side]} for side in Split}
    assert not keys[Split.TRAIN] & keys[Split.VALIDATION]
    assert sorted(map(canonical_json, (*sides[Split.TRAIN], *sides[Split.VALIDATION]))) == sorted(
        map(canonical_json, rows)
    )
    if fraction < 1:
        assert sides[Split.TRAIN]
    if fraction > 0 and len({prompt_key(row) for row in rows}) > 1:
        assert sides[Split.VALIDATION]


@settings(max_examples=50, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_neither_sides_nor_digest_depend_on_the_order(rows: list[dict], shuffler: random.Random) -> None:
    def digest(of: list[dict]) -> str:
        sides = split(of, 0.3, 1)
        return version_digest(SchemaKind.INSTRUCTION, {s: [row_digest(r) for r in sides[s]] for s in Split})

    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    assert digest(rows) == digest(shuffled)


def test_the_share_is_what_was_asked_for() -> None:
    rows = [instruction(f"question {n}", "answer") for n in range(200)]
    sides = split(rows, 0.1, 0)
    assert len(sides[Split.VALIDATION]) == 20
    assert split(rows, 0.1, 1)[Split.VALIDATION] != sides[Split.VALIDATION]
    assert split(rows, 1.0, 0)[Split.TRAIN] == []
    assert split(rows, 0.0, 0)[Split.VALIDATION] == []


def test_a_longer_conversation_stays_with_the_shorter_one_it_goes_on_from() -> None:
    rows = []
    for n in range(30):
        short = instruction(f"question {n}", "answer")["messages"]
        rows += [{"messages": short}, {"messages": [*short, user("And then?"), assistant("Then this.")]}]
    sides = split(rows, 0.3, 3)
    opening = {side: {row["messages"][0]["content"] for row in sides[side]} for side in Split}
    assert not opening[Split.TRAIN] & opening[Split.VALIDATION]


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(fraction: float) -> None:
    with pytest.raises(InvalidInput, match="cannot be held out"):
        split([instruction("q", "a")], fraction, 0)
