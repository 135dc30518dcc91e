"""Canonical rows -> token rows, for the pre-flight that shows them and the trainers that learn them.

Tokens come from ``studio.training.rendering``, never from a trainer's own chat handling, so that a model
is trained on what it will be served. It happens in two steps. ``tokenise_row`` takes a row whole, and
does not depend on ``max_length``; ``fit`` makes of it what a trainer gets. What is too long for one
sequence is cut into pieces for CPT (no word is lost), cut at its end for SFT, and left out where answers
are judged, because a cut answer would be judged by its first half.

Nothing here imports torch. Token files of whole rows are ``studio.training.preflight.token_files``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.core import InvalidInput
from studio.training.recipes import Recipe
from studio.training.records import Stage
from studio.training.rendering import (
    ChatTokenizer,
    render_answer_ids,
    render_conversation_ids,
    render_text,
)

#: What torch's losses pass over.
IGNORED = -100

#: A row for a trainer: ``input_ids`` and ``labels``; or ``prompt_ids``, ``chosen_ids`` and ``rejected_ids``;
#: or ``prompt_ids``, ``completion_ids`` and ``label``; or, for a reward model, two whole ``…_ids``.
TokenRow = dict[str, Any]


@dataclass(frozen=True)
class TokenRows:
    """Rows for a trainer, and how many canonical rows gave none because they are too long or empty."""

    rows: list[TokenRow]
    left_out: int


@dataclass(frozen=True)
class RowTokens:
    """A canonical row in tokens, whole.

    ``ids`` is a text or conversation with ``learnt`` for each token (empty: every one is), or a prompt.
    ``answer`` is then the chosen answer or the completion, ``other`` the rejected one, ``label`` whether
    the completion is good. ``why`` says why there are none: the row cannot be rendered for this model.
    """

    ids: list[int]
    learnt: list[bool] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)
    other: list[int] = field(default_factory=list)
    label: bool | None = None
    why: str = ""

    @property
    def length(self) -> int:
        """Tokens of the longest sequence that the row makes."""
        return len(self.ids) + max(len(self.answer), len(self.other))


def tokenise_row(tokenizer: ChatTokenizer, row: Mapping[str, Any], recipe: Recipe) -> RowTokens:
    """A canonical row in tokens for the stage of ``recipe``; its length is no matter.

    Raises:
        InvalidInput: The model's chat template cannot render it in a way that tells answers apart.
    """
    return _TOKENISE[recipe.STAGE](tokenizer, row, recipe)


def fit(whole: RowTokens, recipe: Recipe) -> list[TokenRow]:
    """What a trainer gets of a row: one sequence, several pieces of a long text, or nothing.

    Raises:
        InvalidInput: The row could not be rendered.
    """
    if whole.why:
        raise InvalidInput(whole.why, "Mend or remove the row, or take another model.")
    return _FIT[recipe.STAGE](whole, recipe.max_length)


def fit_all(whole: Iterable[RowTokens], recipe: Recipe) -> TokenRows:
    """What a trainer gets of some rows.

    Raises:
        InvalidInput: A row could not be rendered; or there were rows, and none can be learnt from.
    """
    kept: list[TokenRow] = []
    seen = left_out = 0
    for row in whole:
        pieces = fit(row, recipe)
        kept += pieces
        seen += 1
        left_out += not pieces
    if seen and not kept:
        raise InvalidInput(
            f"None of the {seen} rows fits into max_length: {recipe.max_length}.",
            "Raise max_length, or take a dataset with shorter rows.",
        )
    return TokenRows(kept, left_out)


def tokenised(
    tokenizer: ChatTokenizer, rows: Iterable[Mapping[str, Any]], recipe: Recipe
) -> Iterator[RowTokens]:
    """Canonical rows in tokens, one after the other."""
    return (tokenise_row(tokenizer, row, recipe) for row in rows)


def _text(tokenizer: ChatTokenizer, row: Mapping[str, Any], _recipe: Recipe) -> RowTokens:
    ids = list(tokenizer(row["text"], add_special_tokens=False)["input_ids"])
    if tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
    return RowTokens(ids)


def _conversation(tokenizer: ChatTokenizer, row: Mapping[str, Any], recipe: Recipe) -> RowTokens:
    messages = row["messages"]
    if getattr(recipe, "assistant_only", True):
        ids, learnt = render_conversation_ids(tokenizer, messages)
        return RowTokens(ids, learnt)
    text = render_text(tokenizer, messages, generate=False).rstrip()
    return RowTokens(list(tokenizer(text, add_special_tokens=False)["input_ids"]))


def _pair(tokenizer: ChatTokenizer, row: Mapping[str, Any], _recipe: Recipe) -> RowTokens:
    prompt, chosen = render_answer_ids(tokenizer, row["prompt"], row["chosen"])
    _, rejected = render_answer_ids(tokenizer, row["prompt"], row["rejected"])
    return RowTokens(prompt, answer=chosen, other=rejected)


def _unpaired(tokenizer: ChatTokenizer, row: Mapping[str, Any], _recipe: Recipe) -> RowTokens:
    prompt, completion = render_answer_ids(tokenizer, row["prompt"], row["completion"])
    return RowTokens(prompt, answer=completion, label=bool(row["label"]))


_TOKENISE = {
    Stage.CPT: _text,
    Stage.SFT: _conversation,
    Stage.DPO: _pair,
    Stage.KTO: _unpaired,
    Stage.REWARD: _pair,
}


def _fit_text(whole: RowTokens, length: int) -> list[TokenRow]:
    pieces = [whole.ids[start : start + length] for start in range(0, len(whole.ids), length)]
    # One token has no next one to learn.
    return [{"input_ids": piece, "labels": piece} for piece in pieces if len(piece) > 1]


def _fit_conversation(whole: RowTokens, length: int) -> list[TokenRow]:
    ids = whole.ids[:length]
    learnt = whole.learnt[:length] or [True] * len(ids)
    if not any(learnt[1:]):
        return []
    return [{"input_ids": ids, "labels": _labels(ids, learnt)}]


def _labels(ids: list[int], learnt: list[bool]) -> list[int]:
    if all(learnt):
        return ids
    return [token if mine else IGNORED for token, mine in zip(ids, learnt, strict=True)]


def _fit_pair(whole: RowTokens, length: int) -> list[TokenRow]:
    if whole.length > length:
        return []
    return [{"prompt_ids": whole.ids, "chosen_ids": whole.answer, "rejected_ids": whole.other}]


def _fit_unpaired(whole: RowTokens, length: int) -> list[TokenRow]:
    if whole.length > length:
        return []
    return [{"prompt_ids": whole.ids, "completion_ids": whole.answer, "label": bool(whole.label)}]


def _fit_scored(whole: RowTokens, length: int) -> list[TokenRow]:
    # A reward model scores a whole conversation at its last token.
    if whole.length > length:
        return []
    return [{"chosen_ids": whole.ids + whole.answer, "rejected_ids": whole.ids + whole.other}]


_FIT = {
    Stage.CPT: _fit_text,
    Stage.SFT: _fit_conversation,
    Stage.DPO: _fit_pair,
    Stage.KTO: _fit_unpaired,
    Stage.REWARD: _fit_scored,
}
