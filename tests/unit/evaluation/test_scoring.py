from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from studio.evaluation import EvaluationKind
from studio.evaluation.scoring import Likelihood, Passage, batches, passages, summarise, usable

LOSS, PREFERENCE = EvaluationKind.ANSWER_LOSS, EvaluationKind.PREFERENCE_ACCURACY


def _passage(prompt: int, answer: int) -> Passage:
    return Passage((1,) * (prompt + answer), (False,) * prompt + (True,) * answer)


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    """The tiny model's tokeniser behind the few calls that rendering makes, without torch in this process."""
    from tokenizers import Tokenizer

    from tests.tinymodel import CHATML

    return _Tokenizer(Tokenizer.from_file(str(tiny_model / "tokenizer.json")), CHATML)


class _Tokenizer:
    chat_template = "chatml"
    eos_token = "<|im_end|>"

    def __init__(self, inner: Any, template: str) -> None:
        import jinja2

        self._inner = inner
        self._template = jinja2.Environment().from_string(template)
        self.eos_token_id = inner.token_to_id(self.eos_token)
        self.all_special_ids = [self.eos_token_id]

    def apply_chat_template(self, conversation: Any, **options: Any) -> str:
        return self._template.render(
            messages=conversation, add_generation_prompt=options["add_generation_prompt"]
        )

    def __call__(self, text: str, **options: Any) -> dict[str, list[int]]:
        return {"input_ids": self._inner.encode(text, add_special_tokens=False).ids}

    def decode(self, ids: list[int]) -> str:
        return self._inner.decode(ids, skip_special_tokens=False)


def _said(tokenizer: _Tokenizer, passage: Passage) -> str:
    return tokenizer.decode([i for i, scored in zip(passage.ids, passage.scored, strict=True) if scored])


def test_every_answer_of_a_conversation_is_scored_with_its_end(tokenizer: Any) -> None:
    messages = [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Two?"},
        {"role": "assistant", "content": "No."},
    ]
    (found,) = passages(tokenizer, LOSS, {"messages": messages})
    assert _said(tokenizer, found) == "Yes.<|im_end|>No.<|im_end|>"


def test_a_pair_is_two_passages_after_one_prompt(tokenizer: Any) -> None:
    row = {
        "prompt": [{"role": "user", "content": "One?"}],
        "chosen": [{"role": "assistant", "content": "Yes."}],
        "rejected": [{"role": "assistant", "content": "No, not at all."}],
    }
    chosen, rejected = passages(tokenizer, PREFERENCE, row)
    assert _said(tokenizer, chosen) == "Yes.<|im_end|>"
    assert _said(tokenizer, rejected) == "No, not at all.<|im_end|>"
    prompt = chosen.scored.index(True)
    assert chosen.ids[:prompt] == rejected.ids[:prompt]


def test_a_row_is_usable_if_all_of_it_fits_and_something_can_be_predicted() -> None:
    rows = [
        (_passage(3, 2), _passage(3, 3)),
        (_passage(3, 2), _passage(3, 4)),  # too long
        (_passage(3, 0), _passage(3, 1)),  # no answer
        (_passage(0, 1), _passage(3, 1)),  # nothing stands before the only token
    ]
    assert usable(rows, 6) == {0}


def test_batches_hold_every_passage_once_longest_first_within_the_budget() -> None:
    found = [_passage(length, 1) for length in (5, 3000, 700, 5, 9000, 40, *([10] * 40))]
    made = list(batches(found))
    assert sorted(place for batch in made for place in batch) == list(range(len(found)))
    lengths = [[len(found[place].ids) for place in batch] for batch in made]
    assert lengths[0] == [9001]
    assert [one for batch in lengths for one in batch] == sorted(
        (len(passage.ids) for passage in found), reverse=True
    )
    assert all(len(batch) == 1 or len(batch) * batch[0] <= 4096 for batch in lengths)
    assert max(map(len, lengths)) == 16


def test_the_loss_is_of_the_mean_token_not_of_the_mean_answer() -> None:
    found = summarise(LOSS, [(Likelihood(-1.0, 1),), (Likelihood(-27.0, 9),)])
    assert (found.value, found.n, found.tokens) == (2.8, 2, 10)
    assert found.interval is not None
    assert found.interval.low < 2.8 < found.interval.high


def test_one_answer_has_a_loss_but_no_interval() -> None:
    found = summarise(LOSS, [(Likelihood(-6.0, 3),)])
    assert (found.value, found.interval) == (2.0, None)


def test_preference_compares_means_per_token_and_counts_ties_by_half() -> None:
    won = (Likelihood(-10.0, 10), Likelihood(-4.0, 2))  # the longer answer wins though its sum is lower
    lost = (Likelihood(-4.0, 2), Likelihood(-10.0, 10))
    tied = (Likelihood(-3.0, 3), Likelihood(-2.0, 2))
    found = summarise(PREFERENCE, [won, won, lost, tied])
    assert (found.value, found.n, found.ties, found.tokens) == (2.5 / 4, 4, 1, 41)
    assert found.interval is not None
    assert math.isclose(found.interval.confidence, 0.95)
    assert found.interval.low < 2.5 / 4 < found.interval.high
