"""From rows to numbers, without a model: which tokens are scored, in what batches, and what comes of it.

Pure functions; the log-probabilities come from ``worker``. A row that one of the models cannot hold
is left out for all of them, so that every model answers for the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from studio.evaluation.records import EvaluationKind
from studio.stats import Interval, ratio_interval, wilson_interval
from studio.training.rendering import ChatTokenizer, render_answer_ids, render_conversation_ids

# What one forward pass may hold, padding included: 4,096 positions of a 50,000-token vocabulary in
# bfloat16 are 400 MB of logits in the worst case, which is that every position is an answer's.
_BATCH_TOKENS = 4096
_BATCH_ROWS = 16


@dataclass(frozen=True)
class Passage:
    """Tokens, and for each whether it belongs to an answer."""

    ids: tuple[int, ...]
    scored: tuple[bool, ...]


@dataclass(frozen=True)
class Likelihood:
    """The summed log-probability (nats) of a passage's answer tokens, and how many these are."""

    total: float
    tokens: int

    @property
    def mean(self) -> float:
        """Log-probability per answer token."""
        return self.total / self.tokens


@dataclass(frozen=True)
class Summary:
    """A model's value over all rows."""

    value: float
    interval: Interval | None
    n: int
    tokens: int
    ties: int = 0


def passages(tokenizer: ChatTokenizer, kind: EvaluationKind, row: dict[str, Any]) -> tuple[Passage, ...]:
    """What a row asks of a model: one passage for a conversation, chosen and rejected for a pair.

    Raises:
        InvalidInput: The tokeniser's template cannot render answers apart from their prompts.
    """
    if kind is EvaluationKind.ANSWER_LOSS:
        ids, scored = render_conversation_ids(tokenizer, row["messages"])
        return (Passage(tuple(ids), tuple(scored)),)
    return tuple(_answered(tokenizer, row["prompt"], row[side]) for side in ("chosen", "rejected"))


def usable(rows: Sequence[tuple[Passage, ...]], limit: int) -> frozenset[int]:
    """The places of the rows that fit into ``limit`` tokens and have an answer token to predict."""
    return frozenset(
        place
        for place, row in enumerate(rows)
        if all(len(passage.ids) <= limit and any(passage.scored[1:]) for passage in row)
    )


def batches(found: Sequence[Passage]) -> Iterator[tuple[int, ...]]:
    """The places of ``found`` in batches of like length, the longest first.

    The order depends on the lengths alone, so that models with one tokeniser see the same batches
    and their rounding is the same.
    """
    order = sorted(range(len(found)), key=lambda place: (-len(found[place].ids), place))
    while order:
        longest = len(found[order[0]].ids)
        size = max(1, min(_BATCH_ROWS, _BATCH_TOKENS // longest))
        yield tuple(order[:size])
        order = order[size:]


def summarise(kind: EvaluationKind, rows: Sequence[tuple[Likelihood, ...]]) -> Summary:
    """The value over all rows, with its 95% interval."""
    tokens = sum(one.tokens for row in rows for one in row)
    if kind is EvaluationKind.ANSWER_LOSS:
        losses = [-row[0].total for row in rows]
        interval = ratio_interval(losses, [row[0].tokens for row in rows])
        return Summary(sum(losses) / tokens, interval, len(rows), tokens)
    ties = sum(chosen.mean == rejected.mean for chosen, rejected in rows)
    wins = sum(chosen.mean > rejected.mean for chosen, rejected in rows) + ties / 2
    return Summary(wins / len(rows), wilson_interval(wins, len(rows)), len(rows), tokens, ties)


def _answered(tokenizer: ChatTokenizer, prompt: Any, answer: Any) -> Passage:
    before, said = render_answer_ids(tokenizer, prompt, answer)
    return Passage((*before, *said), (False,) * len(before) + (True,) * len(said))
