"""Rows in tokens as people look at them: which text each token is, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from studio.datasets import Split
from studio.datasets.parquet_files import find_rows
from studio.training.preflight.records import (
    Token,
    TokenKind,
    TokenPage,
    TokenPart,
    TokenSequence,
)
from studio.training.preflight.row_checks import TokenFolder
from studio.training.preflight.token_files import VOCABULARY, read_places, row_count
from studio.training.preflight.vocabulary import load_vocabulary
from studio.training.recipes import Recipe
from studio.training.records import Stage
from studio.training.tokens import RowTokens, fit

#: More tokens of one part are not sent to a browser; it is said how many there are.
MOST_TOKENS = 4000

_ANSWERS = {
    Stage.DPO: ("chosen", "rejected"),
    Stage.REWARD: ("chosen", "rejected"),
    Stage.KTO: ("completion", ""),
}


def token_page(
    folder: TokenFolder,
    data: Path,
    recipe: Recipe,
    split: Split,
    offset: int,
    count: int,
    search: str,
) -> TokenPage:
    """Rows ``offset`` to ``offset + count`` of a side, or of those rows of it whose text holds ``search``."""
    path = folder.file(split)
    if search:
        places, total = find_rows(data, search, offset, count)
    else:
        total = row_count(path)
        places = tuple(range(offset, min(offset + count, total)))
    reader = _reader(folder.path / VOCABULARY)
    rows = zip(places, read_places(path, places), strict=True)
    shown = tuple(_sequence(reader, whole, recipe, place + 1) for place, whole in rows)
    return TokenPage(shown, offset, total, split, folder.source)


class _Reader:
    """Turns ids into tokens."""

    def __init__(self, path: Path) -> None:
        self._texts, self._special = load_vocabulary(path)

    def part(
        self,
        name: str,
        ids: Sequence[int],
        kinds: Sequence[TokenKind],
        opens: frozenset[int] = frozenset(),
    ) -> TokenPart:
        """A part of a row; ``opens`` are the places at which a new piece begins."""
        shown = tuple(
            Token(self._texts.get(one, "?"), one, kind, one in self._special, place in opens)
            for place, (one, kind) in enumerate(zip(ids[:MOST_TOKENS], kinds[:MOST_TOKENS], strict=True))
        )
        return TokenPart(name, shown, max(0, len(ids) - MOST_TOKENS))


@lru_cache(maxsize=4)
def _reader(path: Path) -> _Reader:
    # A token folder never changes under its name.
    return _Reader(path)


def _sequence(reader: _Reader, whole: RowTokens, recipe: Recipe, number: int) -> TokenSequence:
    left_out = _left_out(whole, recipe)
    parts = tuple(_parts(reader, whole, recipe, bool(left_out)))
    kinds = [token.kind for part in parts for token in part.tokens]
    most = recipe.max_length
    cut = max(0, whole.length - most) if recipe.STAGE is Stage.SFT else 0
    last = (whole.length - 1) % most + 1 if recipe.STAGE is Stage.CPT else min(whole.length, most)
    return TokenSequence(
        number=number,
        length=whole.length,
        learnt=kinds.count(TokenKind.LEARNT),
        cut=cut,
        padding=0 if left_out or getattr(recipe, "packing", False) else most - last,
        left_out=left_out,
        parts=parts,
        label=whole.label,
    )


def _left_out(whole: RowTokens, recipe: Recipe) -> str:
    if whole.why:
        return whole.why
    if fit(whole, recipe):
        return ""
    most = recipe.max_length
    if recipe.STAGE is Stage.CPT:
        return "It is a single token, which has no next one to learn."
    if recipe.STAGE is Stage.SFT:
        if whole.length > most:
            return f"Its answers begin after max_length: {most}, so nothing of it is learnt."
        return "It has no token to learn."
    return f"It is longer than max_length: {most}, and a cut answer would be judged by its first half."


def _parts(reader: _Reader, whole: RowTokens, recipe: Recipe, left_out: bool) -> Iterator[TokenPart]:
    if whole.why:
        return
    names = _ANSWERS.get(recipe.STAGE)
    if names is None:
        yield _plain(reader, whole, recipe, left_out)
        return
    learnt = TokenKind.CUT if left_out else TokenKind.LEARNT
    read = TokenKind.CUT if left_out else TokenKind.READ
    # A reward model's score is read at the last token.
    most = read if recipe.STAGE is Stage.REWARD else learnt
    yield reader.part("prompt", whole.ids, [read] * len(whole.ids))
    for name, ids in zip(names, (whole.answer, whole.other), strict=True):
        if name:
            yield reader.part(name, ids, [*[most] * (len(ids) - 1), learnt])


def _plain(reader: _Reader, whole: RowTokens, recipe: Recipe, left_out: bool) -> TokenPart:
    """A text or conversation: what ``fit`` marks as learnt, piece by piece, and the rest cut."""
    most = recipe.max_length
    text = recipe.STAGE is Stage.CPT
    learnt = whole.learnt or [True] * len(whole.ids)
    kinds = []
    for place, mine in enumerate(learnt):
        # The first token of a sequence has nothing before it that it could be told from.
        first = place % most == 0 if text else place == 0
        gone = left_out or (not text and place >= most) or (text and _alone(place, len(learnt), most))
        kinds.append(TokenKind.CUT if gone else TokenKind.LEARNT if mine and not first else TokenKind.READ)
    opens = frozenset(range(most, len(whole.ids), most)) if text else frozenset()
    return reader.part("text" if text else "conversation", whole.ids, kinds, opens)


def _alone(place: int, length: int, most: int) -> bool:
    """Whether the token would be a piece of one."""
    return place % most == 0 and place == length - 1
