"""What lengths there are on one side of a dataset: enough to say what any ``max_length`` does to it.

A profile is a few arrays by length or by place, not by row, so it is small however many rows there are,
and what it says is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from studio.training.preflight.records import Histogram, SplitFacts
from studio.training.recipes import Recipe
from studio.training.records import Stage
from studio.training.tokens import RowTokens

_ARRAYS = ("rows", "tokens", "learnt", "first", "at", "blank")
_COUNTS = ("broken", "duplicates", "good")
_BARS = 24
Array = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Profile:
    """Counts of one side.

    By length of a row: ``rows``, their ``tokens`` in all sequences and their ``learnt`` tokens, and
    ``blank``, the rows without any learnt token. By place in a row: ``first`` (rows whose first learnt
    token stands there) and ``at`` (learnt tokens there).
    """

    rows: Array
    tokens: Array
    learnt: Array
    first: Array
    at: Array
    blank: Array
    broken: int = 0
    duplicates: int = 0
    good: int = 0

    def save(self, path: Path) -> None:
        """Write it to ``path``, an ``.npz`` file."""
        arrays = {name: getattr(self, name) for name in (*_ARRAYS, *_COUNTS)}
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Profile:
        """What ``save`` wrote."""
        with np.load(path, allow_pickle=False) as found:
            values: dict[str, Any] = {name: found[name] for name in _ARRAYS}
            values |= {name: int(found[name]) for name in _COUNTS}
            return cls(**values)

    def facts(self, recipe: Recipe) -> SplitFacts:
        """What a recipe makes of this side."""
        plain = SplitFacts(
            rows=int(self.rows.sum()) + self.broken,
            sequences=0,
            tokens=0,
            learnt_tokens=0,
            truncated=int(self.rows[recipe.max_length + 1 :].sum()),
            left_out=0,
            nothing_to_learn=0,
            broken=self.broken,
            duplicates=self.duplicates,
            lengths=self.histogram(),
            good=self.good,
        )
        if recipe.STAGE is Stage.CPT:
            return self._as_text(plain, recipe.max_length)
        if recipe.STAGE is Stage.SFT:
            return self._as_conversations(plain, recipe.max_length)
        if recipe.STAGE is Stage.REWARD:
            return self._as_scores(plain, recipe.max_length)
        return self._as_answers(plain, recipe.max_length)

    def histogram(self) -> Histogram:
        """The lengths in at most two dozen bars of one width."""
        present = np.flatnonzero(self.rows)
        if not len(present):
            return Histogram()
        low, high = int(present[0]), int(present[-1])
        width = _round_width((high - low + 1) / _BARS)
        start = low // width * width
        edges = np.arange(start, high + width + 1, width)
        counts, _ = np.histogram(present, bins=edges, weights=self.rows[present])
        middle = np.searchsorted(np.cumsum(self.rows), (self.rows.sum() + 1) // 2)
        return Histogram(
            tuple(int(edge) for edge in edges), tuple(int(n) for n in counts), low, int(middle), high
        )

    def _as_text(self, plain: SplitFacts, most: int) -> SplitFacts:
        lengths = np.arange(len(self.rows))
        rest = lengths % most
        pieces = lengths // most + (rest > 1)
        learnt = (lengths // most) * (most - 1) + np.maximum(rest - 1, 0)
        none = int(self.rows[pieces == 0].sum())
        return replace(
            plain,
            sequences=int((self.rows * pieces).sum()),
            tokens=int((self.rows * (learnt + pieces)).sum()),
            learnt_tokens=int((self.rows * learnt).sum()),
            left_out=none,
            nothing_to_learn=none,
        )

    def _as_conversations(self, plain: SplitFacts, most: int) -> SplitFacts:
        # A row whose first learnt token stands at or after the cut is longer than the cut.
        late, blank = int(self.first[most:].sum()), int(self.blank.sum())
        cut = np.minimum(np.arange(len(self.rows)), most)
        return replace(
            plain,
            sequences=plain.rows - self.broken - late - blank,
            tokens=int((cut * (self.rows - self.blank)).sum()) - late * most,
            learnt_tokens=int(self.at[:most].sum()),
            left_out=late + blank,
            nothing_to_learn=late + blank,
        )

    def _as_answers(self, plain: SplitFacts, most: int) -> SplitFacts:
        kept = int(self.rows[: most + 1].sum())
        return replace(
            plain,
            sequences=kept,
            tokens=int(self.tokens[: most + 1].sum()),
            learnt_tokens=int(self.learnt[: most + 1].sum()),
            left_out=plain.truncated,
            truncated=0,
        )

    def _as_scores(self, plain: SplitFacts, most: int) -> SplitFacts:
        # A score is read at the last token of each of the two.
        facts = self._as_answers(plain, most)
        return replace(facts, learnt_tokens=2 * facts.sequences)


class Profiler:
    """Counts rows as they go by and makes their profile."""

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {name: np.zeros(1024, np.int64) for name in _ARRAYS}
        self._longest = 0
        self.broken = self.duplicates = self.good = 0

    def add(self, row: RowTokens) -> tuple[int, int]:
        """Count a row; the place of its first learnt token (-1: none) and how many are learnt."""
        if row.why:
            self.broken += 1
            return -1, 0
        self._make_room(row.length)
        self.good += row.label is True
        first, learnt = self._learnt(row)
        length = row.length
        self._arrays["rows"][length] += 1
        self._arrays["tokens"][length] += _tokens(row)
        self._arrays["learnt"][length] += learnt
        if first >= 0:
            self._arrays["first"][first] += 1
        else:
            self._arrays["blank"][length] += 1
        return first, learnt

    def done(self) -> Profile:
        """The profile of the rows so far."""
        cut = {name: array[: self._longest + 1].copy() for name, array in self._arrays.items()}
        return Profile(**cut, broken=self.broken, duplicates=self.duplicates, good=self.good)

    def _learnt(self, row: RowTokens) -> tuple[int, int]:
        if row.answer:
            return len(row.ids), len(row.answer) + len(row.other)
        mask = np.asarray(row.learnt, bool) if row.learnt else np.ones(len(row.ids), bool)
        # Nothing comes before the first token that it could be told from.
        places = np.flatnonzero(mask[1:]) + 1
        self._arrays["at"][places] += 1
        return (int(places[0]) if len(places) else -1), len(places)

    def _make_room(self, length: int) -> None:
        self._longest = max(self._longest, length)
        size = len(self._arrays["rows"])
        if length >= size:
            more = max(2 * size, length + 1) - size
            self._arrays = {name: np.pad(array, (0, more)) for name, array in self._arrays.items()}


def _tokens(row: RowTokens) -> int:
    """The tokens of a row's sequences: a pair reads its prompt twice."""
    sequences = 1 + bool(row.other)
    return len(row.ids) * sequences + len(row.answer) + len(row.other)


def _round_width(width: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50, … that is not below ``width``."""
    scale = 1
    while True:
        for step in (1, 2, 5):
            if step * scale >= width:
                return step * scale
        scale *= 10
