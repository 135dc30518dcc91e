"""Canonical rows in Parquet -> token rows for the trainers.

The tokens are those of ``studio.training.tokens``, the same that a pre-flight shows. Where a pre-flight
has left a token file of these rows, made for this model and for what the recipe teaches, it is read;
else the rows are tokenised here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from studio.training.preflight.token_files import read_tokens, stored_tokens
from studio.training.recipes import Recipe
from studio.training.rendering import ChatTokenizer
from studio.training.tokens import IGNORED, TokenRow, TokenRows, fit_all, tokenised

__all__ = ["IGNORED", "TokenRow", "TokenRows", "load_rows", "read_rows", "tokenise"]


def load_rows(
    tokenizer: ChatTokenizer, path: Path, recipe: Recipe, *, base: Path, tokens: Path | None = None
) -> TokenRows:
    """The token rows of a Parquet file of canonical rows.

    Args:
        tokenizer: Of the model in ``base``.
        path: ``train.parquet`` or ``validation.parquet`` of a dataset version.
        recipe: What is taught, and how long a sequence may be.
        base: The folder of the model that is trained.
        tokens: Where token files lie; None tokenises anew.

    Raises:
        InvalidInput: There are rows, and none of them can be learnt from.
    """
    stored = stored_tokens(tokens, path, base, recipe)
    if stored is not None:
        return fit_all(read_tokens(stored), recipe)
    return tokenise(tokenizer, read_rows(path), recipe)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The canonical rows of a Parquet file."""
    from pyarrow import parquet

    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def tokenise(tokenizer: ChatTokenizer, rows: Iterable[Mapping[str, Any]], recipe: Recipe) -> TokenRows:
    """The token rows of ``rows`` for the stage of ``recipe``.

    Raises:
        InvalidInput: There were rows, and none of them can be learnt from.
    """
    return fit_all(tokenised(tokenizer, rows, recipe), recipe)
