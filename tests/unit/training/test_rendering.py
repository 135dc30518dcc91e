"""Rendering: what is asked, what is learnt, and where the border between them lies."""

from __future__ import annotations

import re
from typing import Any

import jinja2
import pytest

from studio.core import InvalidInput
from studio.training.rendering import (
    PLAIN_TEMPLATE,
    render_answer_ids,
    render_conversation_ids,
    render_prompt_ids,
)
from tests.tinymodel import CHATML

SYSTEM = {"role": "system", "content": "Be brief."}
ASK = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello you"}
AGAIN = {"role": "user", "content": "And?"}
LAST = {"role": "assistant", "content": "Bye"}

#: Shows the reasoning of the last answer only, as some models' templates do.
FORGETFUL = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}(thought){% endif %}"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n(thought){% endif %}"
)


class Letters:
    """A tokeniser of letters and special tokens."""

    eos_token = "<|im_end|>"
    eos_token_id = 1
    all_special_ids = (0, 1)

    def __init__(self, template: str | None) -> None:
        self.chat_template = template

    def apply_chat_template(
        self, conversation: Any, *, chat_template: str | None, add_generation_prompt: bool, **_: Any
    ) -> str:
        template = jinja2.Template(chat_template or self.chat_template, keep_trailing_newline=True)
        return template.render(
            messages=conversation, add_generation_prompt=add_generation_prompt, eos_token=self.eos_token
        )

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        special = {"<|im_start|>": 0, "<|im_end|>": 1}
        parts = re.findall(r"<\|im_(?:start|end)\|>|.", text, re.DOTALL)
        return {"input_ids": [special.get(part, ord(part[0]) + 10) for part in parts]}

    def words(self, ids: list[int]) -> str:
        return "".join({0: "<|im_start|>", 1: "<|im_end|>"}.get(i) or chr(i - 10) for i in ids)


def learnt(tokenizer: Letters, messages: list[dict[str, str]]) -> str:
    ids, mask = render_conversation_ids(tokenizer, messages)
    assert len(ids) == len(mask)
    return tokenizer.words([i for i, mine in zip(ids, mask, strict=True) if mine])


def test_a_prompt_ends_where_the_answer_begins() -> None:
    tokenizer = Letters(CHATML)
    words = tokenizer.words(render_prompt_ids(tokenizer, [SYSTEM, ASK]))
    assert words.startswith("<|im_start|>system\nBe brief.<|im_end|>\n")
    assert words.endswith("<|im_start|>assistant\n")


def test_an_answer_has_its_end_of_turn_and_nothing_after_it() -> None:
    tokenizer = Letters(CHATML)
    prompt, answer = render_answer_ids(tokenizer, [ASK], [ANSWER])
    assert prompt == render_prompt_ids(tokenizer, [ASK])
    assert tokenizer.words(answer) == "Hello you<|im_end|>"


def test_every_answer_of_a_conversation_is_learnt() -> None:
    tokenizer = Letters(CHATML)
    talk = [SYSTEM, ASK, ANSWER, AGAIN, LAST]
    assert learnt(tokenizer, talk) == "Hello you<|im_end|>Bye<|im_end|>"
    ids, _ = render_conversation_ids(tokenizer, talk)
    prompt, answer = render_answer_ids(tokenizer, talk[:-1], talk[-1:])
    assert ids == prompt + answer


def test_what_follows_the_last_answer_is_left_out() -> None:
    tokenizer = Letters(CHATML)
    assert learnt(tokenizer, [ASK, ANSWER, AGAIN]) == "Hello you<|im_end|>"


def test_a_template_that_rewrites_earlier_turns_teaches_the_last_answer_only() -> None:
    assert learnt(Letters(FORGETFUL), [ASK, ANSWER, AGAIN, LAST]) == "Bye<|im_end|>"


def test_a_model_without_a_template_gets_a_plain_one() -> None:
    tokenizer = Letters(None)
    prompt, answer = render_answer_ids(tokenizer, [ASK], [ANSWER])
    assert tokenizer.words(prompt) == "User: Hi\nAssistant: "
    assert tokenizer.words(answer) == "Hello you<|im_end|>"
    assert "eos_token" in PLAIN_TEMPLATE


def test_a_missing_end_of_turn_is_added() -> None:
    bare = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    _, answer = render_answer_ids(Letters(bare), [ASK], [ANSWER])
    assert Letters(bare).words(answer) == "Hello you<|im_end|>"


def test_a_template_that_changes_the_prompt_is_refused() -> None:
    shouting = "{% if messages[-1]['role'] == 'assistant' %}X{% endif %}{{ messages[0]['content'] }}"
    with pytest.raises(InvalidInput, match="differently"):
        render_answer_ids(Letters(shouting), [ASK], [ANSWER])


def test_a_conversation_without_an_answer_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no answer"):
        render_conversation_ids(Letters(CHATML), [ASK])
