"""Which prompts models answer, and which answers become items."""

from __future__ import annotations

import pytest

from studio.annotation.candidates import Answer, answer_seed, prompts, written
from studio.core import InvalidInput


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _asked(text: str) -> tuple[dict[str, str], ...]:
    return (_turn("user", text),)


def test_prompts_are_what_comes_before_the_last_answer_and_each_once() -> None:
    conversation = [_turn("user", "One?"), _turn("assistant", "1"), _turn("user", "Two?")]
    rows = [
        {"messages": [*conversation, _turn("assistant", "2")]},
        {"messages": [_turn("user", "Hi"), _turn("assistant", "Hello")]},
        {"prompt": [_turn("user", "Hi")], "chosen": [], "rejected": []},
        {"messages": [_turn("tool", "{}"), _turn("assistant", "Done")]},
    ]
    assert prompts(rows, None, 0) == (tuple(conversation), _asked("Hi"))


def test_a_sample_follows_from_its_seed_and_keeps_the_order() -> None:
    rows = [{"prompt": [_turn("user", str(n))]} for n in range(50)]
    sample = prompts(rows, 10, 7)
    assert sample == prompts(rows, 10, 7)
    assert sample != prompts(rows, 10, 8)
    numbers = [int(prompt[0]["content"]) for prompt in sample]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 10
    assert len(prompts(rows, 99, 7)) == 50


def test_no_two_answers_share_a_seed() -> None:
    seeds = {answer_seed(3, place, side) for place in range(200) for side in range(2)}
    assert len(seeds) == 400


def test_only_two_whole_and_different_answers_become_an_item() -> None:
    good, cut, empty = Answer("Yes.", "stop"), Answer("And then", "length"), Answer(" ", "stop")
    sides = [(good, Answer("No.", "stop")), (good, cut), (empty, good), (good, good), (good, None)]
    found = written([_asked(str(n)) for n in range(5)], sides)
    assert found.items == (
        {
            "prompt": [_turn("user", "0")],
            "first": [_turn("assistant", "Yes.")],
            "second": [_turn("assistant", "No.")],
        },
    )
    assert sorted(found.left_out.values()) == [1, 1, 1, 1]


def test_nothing_to_compare_is_refused_with_every_reason() -> None:
    cut = Answer("And then", "length")
    with pytest.raises(InvalidInput, match="None of the 2 prompts") as caught:
        written([_asked("a"), _asked("b")], [(cut, cut), (cut, None)])
    assert caught.value.details == (
        "1 with an answer that was cut off",
        "1 too long for a model's context",
    )
