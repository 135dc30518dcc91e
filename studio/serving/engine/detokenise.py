"""Tokens to text, piece by piece.

The invariant: the pieces joined are the text of all tokens decoded at once. A piece never ends inside a
character: as long as the text ends in replacement characters, which is what the beginning of a
character looks like, that end is held back until more tokens come or the answer is over.
"""

from __future__ import annotations

from typing import Any

_REPLACEMENT = "\ufffd"


class Detokeniser:
    """The text of one answer as it grows."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        # A window of settled tokens before the new ones: some tokenisers write a token differently at the
        # start of a text, so new tokens are always decoded after something that is known.
        self._before = 0
        self._settled = 0
        self._given = 0

    def push(self, token: int) -> str:
        """The new text that is certain after ``token``; often empty."""
        self._ids.append(token)
        fresh = self._fresh()
        certain = fresh.rstrip(_REPLACEMENT)
        piece = certain[self._given :]
        self._given = max(self._given, len(certain))
        if fresh and len(certain) == len(fresh):
            self._before, self._settled, self._given = self._settled, len(self._ids), 0
        return piece

    def flush(self) -> str:
        """What was held back, when no token follows."""
        piece = self._fresh()[self._given :]
        self._given += len(piece)
        return piece

    def _fresh(self) -> str:
        """The text of the tokens that are not settled."""
        known = self._decode(self._ids[self._before : self._settled])
        return self._decode(self._ids[self._before :])[len(known) :]

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text
