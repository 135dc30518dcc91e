"""Disagreements as those who lead a project see them, who may decide which, and what a decision must say.

An adjudicator sees the answers on sides drawn anew, so that a habit of choosing A decides nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from studio.annotation.checks import rated_verdict
from studio.annotation.items import seen_from
from studio.annotation.records import Entry, Project, StoredItem, Task, Verdict
from studio.annotation.review_records import Consensus, Disagreement, NewAdjudication, Voice
from studio.annotation.verdict_table import ratings_of
from studio.core import Actor, InvalidInput

_COMPARED = (Verdict.A, Verdict.B, Verdict.TIE, Verdict.BOTH_BAD)
_DECISIONS: dict[Task, tuple[Verdict, ...]] = {
    Task.PREFERENCE: _COMPARED,
    Task.ACCEPT: (Verdict.ACCEPT, Verdict.REJECT),
}


def side_of(item_id: str, adjudicator: str) -> str:
    """The side on which an adjudicator sees the first answer; item ids come from a secret already."""
    return "ab"[hashlib.sha256(f"{item_id}|{adjudicator}|adjudicates".encode()).digest()[0] & 1]


def refusal(actor: Actor, votes: Sequence[Entry], deciders: frozenset[str]) -> str:
    """Why ``actor`` should not decide an item that these labels are about; nothing where they may.

    Who labelled it is no judge of it, unless nobody else could be one: ``deciders`` are the names of those
    who can log in and lead every project.
    """
    voters = {vote.label.annotator for vote in votes}
    if actor.name not in voters:
        return ""
    others = sorted(deciders - voters)
    return f"You labelled this item yourself; {' or '.join(others[:3])} can decide it." if others else ""


def disagreement(
    actor: Actor,
    project: Project,
    item: StoredItem,
    votes: Sequence[Entry],
    agreed: Consensus,
    refused: str,
) -> Disagreement:
    """An item as ``actor`` sees it, who leads the project, with its ``refusal``."""
    side = side_of(item.id, actor.name)
    a, b = (item.first, item.second) if side == "a" or not item.second else (item.second, item.first)
    voters = [vote.label.annotator for vote in votes]
    return Disagreement(
        project_id=project.id,
        item_id=item.id,
        prompt=item.prompt,
        a=a,
        b=b,
        first_side=side if item.second else "a",
        voices=tuple(_voice(vote, side if item.second else "a") for vote in votes),
        consensus=agreed.standing,
        probability=agreed.probability,
        refusal=refused,
        own_label=actor.name in voters,
    )


def _voice(vote: Entry, side: str) -> Voice:
    first, second = ratings_of(vote)
    a, b = (first, second) if side == "a" else (second, first)
    label = vote.label
    return Voice(
        person=label.annotator,
        verdict=seen_from(vote.standing, side),
        strength=label.strength,
        rating_a=a,
        rating_b=b,
        comment=label.comment,
        better_answer=label.better_answer,
        labelled_at=label.labelled_at,
    )


def decided_verdict(task: Task, new: NewAdjudication, two_answers: bool) -> Verdict:
    """The verdict of a decision.

    Raises:
        InvalidInput: It does not say what the task asks.
    """
    if task is Task.EDIT:
        raise InvalidInput("There is nothing to decide where people write answers.", "Export the labels.")
    if task is Task.RATING:
        return _rated(new, two_answers)
    allowed = _DECISIONS[task]
    if new.verdict not in allowed or new.rating_a is not None or new.rating_b is not None:
        said = new.verdict.value if new.verdict else "nothing"
        raise InvalidInput(
            f"A decision here cannot say {said}{' with ratings' if new.verdict in allowed else ''}.",
            f"Say one of {', '.join(allowed)}.",
        )
    assert new.verdict is not None
    return new.verdict


def _rated(new: NewAdjudication, two_answers: bool) -> Verdict:
    a, b = new.rating_a, new.rating_b
    wanted = (a, b) if two_answers else (a,)
    if any(rating is None or not 1 <= rating <= 5 for rating in wanted) or not (two_answers or b is None):
        raise InvalidInput(
            "A decision here needs a rating from 1 to 5 for each answer.", "Send rating_a and rating_b."
        )
    return rated_verdict(a or 0, b)
