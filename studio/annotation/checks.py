"""What a project and a label may say; everything here raises before anything is stored."""

from __future__ import annotations

import math

from studio.annotation.records import NewLabel, NewProject, Project, Source, Task, Verdict
from studio.core import Conflict, InvalidInput
from studio.core.text import plain_text
from studio.datasets import DatasetVersion, SchemaKind

ANSWER_LIMIT = 100_000
TEXT_LIMIT = 20_000
NAME_LIMIT = 200
MOST_ITEMS = 100_000
MOST_GOLD = 2_000

_PAIR, _SINGLE = SchemaKind.PREFERENCE, (SchemaKind.INSTRUCTION, SchemaKind.UNPAIRED)
_KINDS = {
    Task.PREFERENCE: (_PAIR,),
    Task.RATING: (_PAIR, *_SINGLE),
    Task.EDIT: (*_SINGLE, _PAIR),
    Task.ACCEPT: (*_SINGLE, _PAIR),
}
_SAYS = {
    Task.PREFERENCE: (Verdict.A, Verdict.B, Verdict.TIE, Verdict.BOTH_BAD),
    Task.RATING: (),
    Task.EDIT: (Verdict.EDITED, Verdict.ACCEPT),
    Task.ACCEPT: (Verdict.ACCEPT, Verdict.REJECT),
}
#: Tasks that show one answer even where the row has two.
SINGLE_TASKS = (Task.EDIT, Task.ACCEPT)


def check_numbers(
    overlap: int | None, lease_seconds: int | None, gold_every: int | None, repeat_every: int | None
) -> None:
    """The numbers of a project, where they are given.

    Raises:
        InvalidInput: One is out of its range.
    """
    for name, value, low, high in (
        ("The overlap", overlap, 1, 20),
        ("The lease", lease_seconds, 30, 86_400),
        ("gold_every", gold_every, 2, 1_000),
        ("repeat_every", repeat_every or None, 2, 1_000),
    ):
        if value is not None and not low <= value <= high:
            raise InvalidInput(f"{name} is {value}.", f"Choose {low:,} to {high:,}.")


def check_project(new: NewProject) -> None:
    """What a new project says of itself.

    Raises:
        InvalidInput: Something is out of range, or does not go together.
    """
    check_numbers(new.overlap, new.lease_seconds, new.gold_every, new.repeat_every)
    check_texts(new.name, new.guideline, new.members.people)
    if new.target is not None and new.target < 1:
        raise InvalidInput("The target is below 1.", "Leave it out to take every item.")
    if not new.members.roles and not new.members.people:
        raise InvalidInput("Nobody may label in this project.", "Name a role or a person.")
    if new.source is not Source.DATASET and new.task in SINGLE_TASKS:
        raise InvalidInput(
            f"The task {new.task} is about one answer, and {new.source} has two.",
            "Choose preference or rating, or take the items from a dataset.",
        )
    if new.gold and new.task is Task.EDIT:
        raise InvalidInput("No edit can be right or wrong, so there is no gold.", "Leave the gold out.")


def check_texts(name: str, guideline: str, people: tuple[str, ...]) -> None:
    """The texts of a project.

    Raises:
        InvalidInput: One is too long or cannot be stored.
    """
    plain_text("The name", name, NAME_LIMIT)
    plain_text("The guideline", guideline, TEXT_LIMIT)
    for person in people:
        plain_text("A member's name", person, NAME_LIMIT)


def check_version(task: Task, version: DatasetVersion, target: int | None) -> None:
    """See that a dataset version has items for a task.

    Raises:
        InvalidInput: It is of another kind, empty, or larger than a project may be.
    """
    if version.kind not in _KINDS[task] or not version.total_rows:
        wanted = " or ".join(kind.value for kind in _KINDS[task])
        raise InvalidInput(
            f"{version.reference} has no items for the task {task} (it is {version.kind.value}, "
            f"{version.total_rows} rows).",
            f"Choose a version of {wanted} rows.",
        )
    if min(version.total_rows, target or version.total_rows) > MOST_ITEMS:
        raise InvalidInput(
            f"A project has at most {MOST_ITEMS:,} items, and this would be {version.total_rows:,}.",
            "Set a target: so many rows are drawn.",
        )


def check_gold(task: Task, single: bool, gold: DatasetVersion) -> None:
    """See that the verdicts of ``gold`` are of the kind that the task asks for.

    Raises:
        InvalidInput: They are not.
    """
    wanted = SchemaKind.UNPAIRED if single else SchemaKind.PREFERENCE
    if gold.kind is not wanted or not gold.total_rows:
        raise InvalidInput(
            f"{gold.reference} has no known verdicts for the task {task} here (it is {gold.kind.value}, "
            f"{gold.total_rows} rows).",
            f"Choose a version of {wanted.value} rows.",
        )


def check_label(project: Project, new: NewLabel, *, single: bool) -> Verdict:
    """What a label's verdict is, once everything that it says goes together.

    ``single`` says whether the project's items have one answer.

    Raises:
        InvalidInput: It does not.
    """
    check_nonce(new.nonce)
    for field, value, limit in (
        ("The item", new.item_id, NAME_LIMIT),
        ("The comment", new.comment, TEXT_LIMIT),
        ("The reason", new.reason, TEXT_LIMIT),
        ("The better answer", new.better_answer, ANSWER_LIMIT),
    ):
        if value:
            plain_text(field, value, limit)
    for name, seconds in (("shown_at", new.shown_at), ("active_seconds", new.active_seconds)):
        if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
            raise InvalidInput(f"{name} must be a number of seconds, 0 or more.", "Leave it out if unknown.")
    if new.verdict is Verdict.SKIP:
        return _skip(new)
    if new.reason:
        raise InvalidInput("A reason says why an item was skipped.", "Send it with the verdict skip.")
    if project.task is Task.RATING:
        return _rated(new, single)
    return _said(project, new)


def check_nonce(nonce: str) -> None:
    """A nonce must be there, and short enough to be stored.

    Raises:
        InvalidInput: It is not.
    """
    if not plain_text("The nonce", nonce, NAME_LIMIT).strip():
        raise InvalidInput("A nonce is missing.", "Send a random text that only a retry repeats.")


def check_open(project: Project) -> None:
    """Only an open project takes labels.

    Raises:
        Conflict: It is not open.
    """
    if project.state.value != "open":
        raise Conflict(
            f"{project.name} is {project.state}, so nobody can label in it now.",
            project.problem or "Choose another project.",
        )


def _skip(new: NewLabel) -> Verdict:
    if new.strength is not None or new.rating_a is not None or new.rating_b is not None:
        raise InvalidInput("A skip says nothing about the answers.", "Leave strength and ratings out.")
    return Verdict.SKIP


def _said(project: Project, new: NewLabel) -> Verdict:
    allowed = _SAYS[project.task]
    if new.verdict not in allowed or new.verdict is None:
        words = ", ".join((*allowed, Verdict.SKIP))
        raise InvalidInput(f"This project takes no such verdict: {new.verdict}.", f"Say one of {words}.")
    if new.rating_a is not None or new.rating_b is not None:
        raise InvalidInput("This project takes no ratings.", "Leave them out.")
    if new.strength is not None and (new.verdict not in (Verdict.A, Verdict.B) or not 1 <= new.strength <= 3):
        raise InvalidInput("Strength is 1, 2 or 3, for A or B alone.", "Leave it out otherwise.")
    if new.verdict is Verdict.EDITED and not new.better_answer.strip():
        raise InvalidInput("The edited answer is missing.", "Write it, or accept the answer as it is.")
    return new.verdict


def _rated(new: NewLabel, single: bool) -> Verdict:
    wanted = (new.rating_a,) if single else (new.rating_a, new.rating_b)
    if not all(rating is not None and 1 <= rating <= 5 for rating in wanted) or (
        single and new.rating_b is not None
    ):
        raise InvalidInput("A rating of 1 to 5 is needed for each answer.", "Rate what is shown, or skip it.")
    if new.strength is not None:
        raise InvalidInput("Ratings have no strength.", "Leave it out.")
    found = rated_verdict(new.rating_a or 0, new.rating_b)
    if new.verdict not in (None, found):
        raise InvalidInput(f"These ratings say {found}, not {new.verdict}.", "Leave the verdict out.")
    return found


def rated_verdict(rating_a: int, rating_b: int | None) -> Verdict:
    """What ratings say: the higher one wins; alone, 4 and 5 accept, 1 and 2 reject, 3 is undecided."""
    if rating_b is None:
        return Verdict.ACCEPT if rating_a >= 4 else Verdict.REJECT if rating_a <= 2 else Verdict.TIE
    return Verdict.TIE if rating_a == rating_b else Verdict.A if rating_a > rating_b else Verdict.B
