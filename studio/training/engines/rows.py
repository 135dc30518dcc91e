"""Canonical rows in Parquet -> token rows for the trainers.

Tokens come from ``studio.training.rendering``, never from the trainers' own chat handling, so that a
model is trained on what it will be served. What is too long for one sequence is cut into pieces for CPT
(no word is lost), cut at its end for SFT, and left out for DPO, because a cut answer would be judged by
its first half. What was left out is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core import InvalidInput
from studio.training.recipes import DpoRecipe, Recipe, SftRecipe
from studio.training.rendering import (
    ChatTokenizer,
    render_answer_ids,
    render_conversation_ids,
    render_text,
)

#: What torch's losses pass over.
IGNORED = -100

TokenRow = dict[str, list[int]]


@dataclass(frozen=True)
class TokenRows:
    """Rows for a trainer, and how many canonical rows gave none because they are too long or empty."""

    rows: list[TokenRow]
    left_out: int


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The canonical rows of a Parquet file."""
    from pyarrow import parquet

    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def tokenise(tokenizer: ChatTokenizer, rows: list[dict[str, Any]], recipe: Recipe) -> TokenRows:
    """The token rows of ``rows`` for the stage of ``recipe``.

    Raises:
        InvalidInput: There were rows, and none of them can be learnt from.
    """
    made = [_row(tokenizer, row, recipe) for row in rows]
    kept = [piece for pieces in made for piece in pieces]
    if rows and not kept:
        raise InvalidInput(
            f"None of the {len(rows)} rows fits into max_length: {recipe.max_length}.",
            "Raise max_length, or take a dataset with shorter rows.",
        )
    return TokenRows(kept, sum(not pieces for pieces in made))


def _row(tokenizer: ChatTokenizer, row: dict[str, Any], recipe: Recipe) -> list[TokenRow]:
    if isinstance(recipe, DpoRecipe):
        return _pair(tokenizer, row, recipe.max_length)
    if isinstance(recipe, SftRecipe):
        return _conversation(tokenizer, row, recipe)
    return _text(tokenizer, row["text"], recipe.max_length)


def _text(tokenizer: ChatTokenizer, text: str, length: int) -> list[TokenRow]:
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
    pieces = [ids[start : start + length] for start in range(0, len(ids), length)]
    # One token has no next one to learn.
    return [{"input_ids": piece, "labels": piece} for piece in pieces if len(piece) > 1]


def _conversation(tokenizer: ChatTokenizer, row: dict[str, Any], recipe: SftRecipe) -> list[TokenRow]:
    messages = row["messages"]
    if recipe.assistant_only:
        ids, said = render_conversation_ids(tokenizer, messages)
        labels = [token if mine else IGNORED for token, mine in zip(ids, said, strict=True)]
    else:
        text = render_text(tokenizer, messages, generate=False).rstrip()
        ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        labels = ids
    ids, labels = ids[: recipe.max_length], labels[: recipe.max_length]
    learnable = any(label != IGNORED for label in labels[1:])
    return [{"input_ids": ids, "labels": labels}] if learnable else []


def _pair(tokenizer: ChatTokenizer, row: dict[str, Any], length: int) -> list[TokenRow]:
    prompt, chosen = render_answer_ids(tokenizer, row["prompt"], row["chosen"])
    _, rejected = render_answer_ids(tokenizer, row["prompt"], row["rejected"])
    if len(prompt) + max(len(chosen), len(rejected)) > length:
        return []
    return [{"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}]
