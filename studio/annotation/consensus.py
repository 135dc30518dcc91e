"""What the labels of an item come to: Dawid-Skene over all items, and an adjudicator's word above it.

Gold items and adjudicated ones enter with their verdict known, so what people say there tells how they
err. With neither these nor an item that two people labelled, nobody's errors can be known, and the
consensus is what the one label says, without a probability.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from studio.annotation.records import Entry, ItemKind, Standing, Task
from studio.annotation.review_records import Adjudication, Consensus
from studio.annotation.verdict_table import CATEGORIES, counted, ratings_of
from studio.stats import Labels, dawid_skene

#: Nobody is a stranger: each person counts as seen four times with each true category, and right three
#: times. Without it a small project can be explained by one category and people who always err.
_RIGHT_BEFORE = 3.0
_WRONG_BEFORE = 1.0

#: Two ratings of one answer that are this far apart are a disagreement.
_APART = 2


def consensus(
    task: Task,
    entries: Iterable[Entry],
    adjudications: Iterable[Adjudication] = (),
    truths: Mapping[int, Standing] | None = None,
) -> tuple[Consensus, ...]:
    """The consensus on every data item that has a label or a decision, by position.

    Args:
        task: What was asked.
        entries: Standing labels of the project, of every kind.
        adjudications: The decision that counts of each item.
        truths: The known verdict of gold items, by position.
    """
    entries = tuple(entries)
    usable = counted(task, entries)
    decided = {one.position: one for one in adjudications}
    votes = by_position(usable)
    probable = _probable(task, usable, _golden(task, entries, truths or {}), decided)
    return tuple(
        _one(votes.get(position, []), decided.get(position), probable.get(position))
        for position in sorted({*votes, *decided})
    )


def by_position(entries: Iterable[Entry]) -> dict[int, list[Entry]]:
    """Entries by the item that they are about."""
    found: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        found[entry.position].append(entry)
    return found


def disagree(votes: Sequence[Entry]) -> bool:
    """Whether the counted labels of one item differ: in verdict, or by two points in a rating."""
    if len({vote.standing for vote in votes}) > 1:
        return True
    for ratings in zip(*map(ratings_of, votes), strict=True):
        given = [rating for rating in ratings if rating is not None]
        if given and max(given) - min(given) >= _APART:
            return True
    return False


_EXCHANGED = {Standing.FIRST: Standing.SECOND, Standing.SECOND: Standing.FIRST}
#: Probabilities that differ by less are equal but for rounding.
_EVEN = 1e-9

_Known = list[tuple[Entry, Standing]]
_Probable = Mapping[int, tuple[Standing, float | None]]


def _golden(task: Task, entries: Iterable[Entry], truths: Mapping[int, Standing]) -> _Known:
    categories = CATEGORIES[task]
    return [
        (entry, truths[entry.position])
        for entry in entries
        if entry.kind is ItemKind.GOLD
        and truths.get(entry.position) in categories
        and entry.standing in categories
    ]


def _probable(
    task: Task, usable: Sequence[Entry], golden: _Known, decided: Mapping[int, Adjudication]
) -> _Probable:
    """The most probable standing of each labelled item, and how probable it is."""
    labels = [*usable, *(entry for entry, _ in golden)]
    if not labels:
        return {}
    known = {position: one.standing for position, one in decided.items()}
    known.update({entry.position: truth for entry, truth in golden})
    probabilities, categories = _fitted(task, labels, known)
    told = task is not Task.EDIT and (len(usable) > len({e.position for e in usable}) or bool(known))
    first_said = {entry.position: entry.standing for entry in reversed(labels)}
    found = {}
    for position, chances in probabilities.items():
        highest = max(chances)
        likely = [one for one, chance in zip(categories, chances, strict=True) if highest - chance < _EVEN]
        # Between equals the one that was said first: not the one that the dataset happens to name first.
        said = first_said[position]
        found[position] = (said if said in likely else likely[0], highest if told else None)
    return found


def _fitted(
    task: Task, labels: Sequence[Entry], known: Mapping[int, Standing]
) -> tuple[dict[int, list[float]], tuple[Standing, ...]]:
    """The probability of each category for each labelled item, by position.

    Which answer an item calls its first is an accident of its source. So each item stands in the data
    twice, the second time with its answers exchanged: what the model learns is the same for both.
    """
    said = {entry.standing for entry in labels} | set(known.values())
    said |= {_EXCHANGED.get(one, one) for one in said}
    # What nobody ever said is no category: it would take its share of every smoothed table.
    categories = tuple(one for one in CATEGORIES[task] if one in said)
    exchanged = np.array([categories.index(_EXCHANGED.get(one, one)) for one in categories], dtype=np.int64)
    positions = sorted({entry.position for entry in labels})
    place = {position: number for number, position in enumerate(positions)}
    people = {name: number for number, name in enumerate(sorted({e.label.annotator for e in labels}))}
    item = np.array([place[entry.position] for entry in labels], dtype=np.int64)
    person = np.array([people[entry.label.annotator] for entry in labels], dtype=np.int64)
    value = np.array([categories.index(entry.standing) for entry in labels], dtype=np.int64)
    truth = np.array([categories.index(known[p]) if p in known else -1 for p in positions], dtype=np.int64)
    fitted = dawid_skene(
        Labels(
            np.concatenate([item, item + len(positions)]),
            np.concatenate([person, person]),
            np.concatenate([value, exchanged[value]]),
        ),
        (2 * len(positions), len(people), len(categories)),
        known=np.concatenate([truth, np.where(truth < 0, -1, exchanged[truth])]),
        smoothing=_seen_before(len(categories)),
    )
    return dict(zip(positions, fitted.probabilities.tolist(), strict=False)), categories


def _seen_before(categories: int) -> NDArray[np.float64]:
    wrong = _WRONG_BEFORE / max(1, categories - 1)
    return np.full((categories, categories), wrong) + np.eye(categories) * (_RIGHT_BEFORE - wrong)


def _one(
    votes: Sequence[Entry], decision: Adjudication | None, probable: tuple[Standing, float | None] | None
) -> Consensus:
    if decision is not None:
        standing = decision.standing
        probability: float | None = 1.0
        ratings: tuple[float | None, float | None] = decision.ratings
    else:
        assert probable is not None
        standing, probability = probable
        ratings = _mean_ratings(votes)
    same = sum(vote.standing is standing for vote in votes)
    return Consensus(
        position=decision.position if decision else votes[0].position,
        item_id=decision.item_id if decision else votes[0].label.item_id,
        standing=standing,
        probability=probability,
        people=len({vote.label.annotator for vote in votes}),
        agreement=same / len(votes) if votes else 1.0,
        label_ids=tuple(vote.label.id for vote in votes),
        adjudication_id=decision.id if decision else "",
        rating_first=ratings[0],
        rating_second=ratings[1],
    )


def _mean_ratings(votes: Sequence[Entry]) -> tuple[float | None, float | None]:
    first, second = (
        [rating for rating in ratings if rating is not None]
        for ratings in zip(*map(ratings_of, votes), strict=True)
    )
    return (fmean(first) if first else None), (fmean(second) if second else None)
