"""Labels as judgements: what the preference builder takes from this room.

Each carries the answers as its annotator saw them. Gold and repeats never leave, and an item that was
adjudicated leaves as the adjudication alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from studio.annotation.records import Entry, ItemKind, StoredItem, Task, Verdict
from studio.annotation.review_records import Adjudication
from studio.datasets import Candidate, Judgement, Message, Outcome

#: Tasks whose verdicts compare two texts.
COMPARING = (Task.PREFERENCE, Task.RATING, Task.EDIT)


def judged(
    entries: Sequence[Entry],
    items: Sequence[StoredItem],
    adjudications: Sequence[Adjudication],
) -> list[Judgement]:
    """The judgements of one project, oldest first; ``items`` are those that the others name."""
    texts = {item.position: item for item in items}
    decided = {found.position for found in adjudications}
    open_ones = [e for e in entries if e.kind is ItemKind.DATA and e.position not in decided]
    made = [_of_label(entry, texts[entry.position]) for entry in open_ones]
    made += [_of_adjudication(found, texts[found.position]) for found in adjudications]
    return sorted((one for one in made if one is not None), key=lambda one: one.voted_at)


def _of_label(entry: Entry, item: StoredItem) -> Judgement | None:
    label = entry.label
    return _judgement(
        ("label", label.id),
        item,
        label.verdict,
        entry.first_side,
        label.better_answer,
        (label.annotator, label.labelled_at),
    )


def _of_adjudication(found: Adjudication, item: StoredItem) -> Judgement | None:
    return _judgement(
        ("adjudication", found.id),
        item,
        found.verdict,
        found.first_side,
        found.better_answer,
        (found.adjudicator, found.at),
    )


def _judgement(
    node: tuple[str, str],
    item: StoredItem,
    verdict: Verdict,
    side: str,
    better: str,
    who: tuple[str, float],
) -> Judgement | None:
    """None where a verdict compares nothing, such as the rating of a single answer."""
    sides = _sides(item, verdict, side, better)
    if sides is None:
        return None
    a, b, outcome, better = sides
    return Judgement(
        kind=node[0],
        id=node[1],
        prompt=item.prompt,
        a=Candidate(a),
        b=Candidate(b),
        outcome=outcome,
        voter=who[0],
        voted_at=who[1],
        blind=True,  # no source of items tells who wrote an answer
        better_answer=better,
    )


def _sides(
    item: StoredItem, verdict: Verdict, side: str, better: str
) -> tuple[tuple[Message, ...], tuple[Message, ...], Outcome, str] | None:
    if verdict is Verdict.EDITED:
        written: tuple[Message, ...] = (Message(role="assistant", content=better),)
        return written, item.first, Outcome.A, ""
    if not item.second or verdict not in _OUTCOMES:
        return None
    a, b = (item.first, item.second) if side == "a" else (item.second, item.first)
    return a, b, _OUTCOMES[verdict], better


_OUTCOMES = {
    Verdict.A: Outcome.A,
    Verdict.B: Outcome.B,
    Verdict.TIE: Outcome.TIE,
    Verdict.BOTH_BAD: Outcome.BOTH_BAD,
    Verdict.SKIP: Outcome.SKIP,
}
