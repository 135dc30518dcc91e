"""Preference pairs of a project: one of each item whose consensus prefers an answer, and better answers.

An adjudicated item counts as its adjudicator decided. Skips, gold and repeats never become pairs, and what
is left out is counted with its reason. Two items that prefer the same two answers to the same prompt
both ways contradict each other, and neither is used.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from studio.annotation.records import Entry, Standing, StoredItem
from studio.annotation.review_records import Adjudication, Consensus
from studio.core import Node
from studio.datasets import Message
from studio.datasets.canonical import canonical_json

UNSURE = "the consensus is less probable than asked for"
EQUAL = "a tie"
BOTH_BAD = "both answers bad"
NO_PREFERENCE = "a verdict that prefers no answer"
SAME = "a better answer that is the same as the one it mends"
OVERRULED = "a better answer over one that the consensus prefers"
CONTRADICTION = "two items that contradict each other (neither is used)"

_WHY = {Standing.TIE: EQUAL, Standing.BOTH_BAD: BOTH_BAD}


@dataclass(frozen=True)
class PairRules:
    """How a project becomes a preference version; a digest of these stands in every row.

    ``minimum_probability`` is what the consensus on an item needs, where it has a probability.
    ``use_better_answers`` adds what people wrote, over the answers that they judged bad.
    """

    minimum_probability: float = 0.6
    use_better_answers: bool = True
    validation_fraction: float = 0.1
    seed: int = 0

    @property
    def digest(self) -> str:
        """Which rules made a row: 16 hex digits."""
        return hashlib.sha256(canonical_json(asdict(self)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ProjectPair:
    """A pair, and the labels or the adjudication that it stands on."""

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    agreement: float
    verdicts: tuple[Node, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """What it says, in canonical form."""
        return canonical_json(self.prompt), canonical_json(self.chosen), canonical_json(self.rejected)

    def row(self, rules: PairRules) -> dict[str, Any]:
        """The pair as a row of a preference version."""
        return {
            "prompt": list(self.prompt),
            "chosen": list(self.chosen),
            "rejected": list(self.rejected),
            "votes": [node.id for node in self.verdicts],
            "agreement": self.agreement,
            "builder": rules.digest,
        }


@dataclass(frozen=True)
class ProjectPairs:
    """The pairs of a project, and how much was left out why."""

    pairs: tuple[ProjectPair, ...]
    left_out: Counter[str]


def project_pairs(
    items: Mapping[int, StoredItem],
    agreed: Iterable[Consensus],
    votes: Mapping[int, Sequence[Entry]],
    decisions: Mapping[int, Adjudication],
    rules: PairRules,
) -> ProjectPairs:
    """Make the pairs; all mappings are by position, ``votes`` holds counted labels only."""
    left_out: Counter[str] = Counter()
    found: list[ProjectPair] = []
    for one in agreed:
        item = items.get(one.position)
        if item is None:
            continue
        pair = _agreed_pair(item, one, rules, left_out)
        found += [pair] if pair else []
        if rules.use_better_answers:
            winner = one.standing if pair else None
            written = _written(votes.get(one.position, ()), decisions.get(one.position))
            found += _better_pairs(item, winner, written, left_out)
    return ProjectPairs(tuple(_without_contradictions(_merged(found), left_out)), left_out)


def _agreed_pair(
    item: StoredItem, one: Consensus, rules: PairRules, left_out: Counter[str]
) -> ProjectPair | None:
    if one.standing is Standing.EDITED:
        return None  # what was written is a better answer, and makes a pair as one
    if one.standing not in (Standing.FIRST, Standing.SECOND) or not item.second:
        left_out[_WHY.get(one.standing, NO_PREFERENCE)] += 1
        return None
    if one.probability is not None and one.probability < rules.minimum_probability:
        left_out[UNSURE] += 1
        return None
    first_wins = one.standing is Standing.FIRST
    chosen, rejected = (item.first, item.second) if first_wins else (item.second, item.first)
    if one.adjudication_id:
        return ProjectPair(item.prompt, chosen, rejected, 1.0, (Node("adjudication", one.adjudication_id),))
    verdicts = tuple(sorted(Node("label", label) for label in one.label_ids))
    return ProjectPair(item.prompt, chosen, rejected, one.agreement, verdicts)


#: A verdict, the better answer that came with it, and whose it is.
_Written = list[tuple[Standing, str, Node]]


def _written(votes: Sequence[Entry], decision: Adjudication | None) -> _Written:
    found = [(vote.standing, vote.label.better_answer, Node("label", vote.label.id)) for vote in votes]
    if decision is not None:
        found.append((decision.standing, decision.better_answer, Node("adjudication", decision.id)))
    return [one for one in found if one[1].strip()]


def _better_pairs(
    item: StoredItem, winner: Standing | None, written: _Written, left_out: Counter[str]
) -> list[ProjectPair]:
    """Each better answer over the answers that its writer judged bad, but never over the winner."""
    pairs = []
    for standing, text, node in written:
        better: tuple[Message, ...] = (Message(role="assistant", content=text),)
        for bad in _BAD.get(standing, ()):
            rejected = item.first if bad is Standing.FIRST else item.second
            if not rejected:
                continue
            if bad is winner:
                left_out[OVERRULED] += 1
            elif text.strip() == rejected[-1]["content"].strip():
                left_out[SAME] += 1
            else:
                pairs.append(ProjectPair(item.prompt, better, rejected, 1.0, (node,)))
    return pairs


_BAD: dict[Standing, tuple[Standing, ...]] = {
    Standing.FIRST: (Standing.SECOND,),
    Standing.SECOND: (Standing.FIRST,),
    Standing.BOTH_BAD: (Standing.FIRST, Standing.SECOND),
    Standing.EDITED: (Standing.FIRST,),
}


def _merged(pairs: Iterable[ProjectPair]) -> list[ProjectPair]:
    """Pairs that say the same as one that stands on all their verdicts."""
    found: dict[tuple[str, str, str], ProjectPair] = {}
    for pair in pairs:
        same = found.get(pair.key)
        if same is None:
            found[pair.key] = pair
            continue
        verdicts = tuple(sorted({*same.verdicts, *pair.verdicts}))
        agreement = min(same.agreement, pair.agreement)
        found[pair.key] = ProjectPair(pair.prompt, pair.chosen, pair.rejected, agreement, verdicts)
    return list(found.values())


def _without_contradictions(pairs: list[ProjectPair], left_out: Counter[str]) -> list[ProjectPair]:
    preferred: dict[tuple[str, frozenset[str]], int] = defaultdict(int)
    for pair in pairs:
        prompt, chosen, rejected = pair.key
        preferred[prompt, frozenset((chosen, rejected))] += 1
    kept = [pair for pair in pairs if preferred[pair.key[0], frozenset(pair.key[1:])] == 1]
    left_out[CONTRADICTION] += len(pairs) - len(kept)
    return kept
