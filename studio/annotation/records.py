"""The records of the annotation room.

Words: a *project* offers *items* to people, who give each a *label*. An item has a first answer and, for
tasks that compare, a second; which of them stands on side A is drawn for each person and stored with
the label. *Gold* items have a known verdict, *repeats* show a person an item once more; neither is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from studio.core import Role
from studio.datasets import Message


class Task(StrEnum):
    """What is asked of a person about an item."""

    PREFERENCE = "preference"  # which of two answers is better
    RATING = "rating"  # 1 to 5 for each answer
    EDIT = "edit"  # write a better answer
    ACCEPT = "accept"  # is this instruction with its answer fit for training


class Source(StrEnum):
    """Where a project's items come from."""

    DATASET = "dataset"
    ARENA = "arena"  # live: battles join as they are fought
    CANDIDATES = "candidates"  # two models write answers to the prompts of a dataset


class ProjectState(StrEnum):
    """PREPARING while models write; only an OPEN project takes labels; FAILED says why in ``problem``."""

    PREPARING = "preparing"
    OPEN = "open"
    CLOSED = "closed"
    FAILED = "failed"


class ItemKind(StrEnum):
    """Why an item is shown; annotators are not told."""

    DATA = "data"
    GOLD = "gold"
    REPEAT = "repeat"


class Verdict(StrEnum):
    """What a label says, from where the annotator sat."""

    A = "a"
    B = "b"
    TIE = "tie"
    BOTH_BAD = "both_bad"
    ACCEPT = "accept"
    REJECT = "reject"
    EDITED = "edited"
    SKIP = "skip"


class Standing(StrEnum):
    """The same in the item's own terms, so that people who saw other sides can be compared."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"
    BOTH_BAD = "both_bad"
    ACCEPT = "accept"
    REJECT = "reject"
    EDITED = "edited"
    SKIP = "skip"


@dataclass(frozen=True)
class Members:
    """Who may label: everyone of these roles, and these people by name.

    Researchers lead, so they see labels before an item is done: they label where somebody says so.
    """

    roles: tuple[Role, ...] = (Role.ANNOTATOR,)
    people: tuple[str, ...] = ()


@dataclass(frozen=True)
class NewProject:
    """A project to open.

    Attributes:
        dataset: The dataset version with the items (or the prompts, for candidates); empty for the arena.
        overlap: How many people label each item, 1 to 20.
        target: How many items to label; None takes all. A seeded sample where it is less.
        models: For candidates: the two model versions that write.
        suggestion_model: A model whose opinion is computed and shown beside each item; empty for none.
        gold: A preference (or unpaired) dataset version whose verdicts are known; empty for none.
        gold_every: One item in this many is gold, for each person.
        repeat_every: One item in this many is an earlier one again, for each person; 0 for none.
        lease_seconds: How long an item stays with the person it was given to, 30 to 86,400.
    """

    name: str
    task: Task = Task.PREFERENCE
    source: Source = Source.DATASET
    dataset: str = ""
    guideline: str = ""
    overlap: int = 1
    target: int | None = None
    members: Members = field(default_factory=Members)
    models: tuple[str, ...] = ()
    suggestion_model: str = ""
    gold: str = ""
    gold_every: int = 10
    repeat_every: int = 0
    lease_seconds: int = 900


@dataclass(frozen=True)
class ProjectChange:
    """What is to change of a project; None leaves it as it is.

    ``guideline`` becomes the next version of it. ``state`` may be OPEN or CLOSED.
    """

    name: str | None = None
    guideline: str | None = None
    overlap: int | None = None
    members: Members | None = None
    state: ProjectState | None = None
    lease_seconds: int | None = None
    gold_every: int | None = None
    repeat_every: int | None = None


@dataclass(frozen=True)
class Project:
    """An opened project; ``items`` counts its data items, and ``guideline`` is the newest version's text."""

    id: str
    name: str
    task: Task
    source: Source
    state: ProjectState
    dataset_version_id: str | None
    guideline: str
    guideline_version: int
    overlap: int
    target: int | None
    members: Members
    models: tuple[str, ...]
    suggestion_model: str
    gold_version_id: str | None
    gold_every: int
    repeat_every: int
    lease_seconds: int
    items: int
    created_at: float
    created_by: str
    job_id: str | None = None
    problem: str = ""


@dataclass(frozen=True)
class Suggestion:
    """What a model would say, from where this person sits; ``margin`` is its log-likelihood difference."""

    verdict: Verdict
    model: str
    margin: float


@dataclass(frozen=True)
class Item:
    """One item as a person sees it: ``b`` is empty where there is one answer.

    ``leased_until`` is when it goes back if nothing is heard; ``suggestion`` is None unless the project
    shows them. What the dataset prefers, and whether the item is gold, is not part of it.
    """

    id: str
    project_id: str
    prompt: tuple[Message, ...]
    a: tuple[Message, ...]
    b: tuple[Message, ...]
    leased_until: float | None = None
    suggestion: Suggestion | None = None


@dataclass(frozen=True)
class NewLabel:
    """A label to store; ``nonce`` makes a retry harmless.

    Attributes:
        verdict: Ratings derive theirs from the two ratings and may leave it None.
        strength: For A and B: 1 slightly, 2 clearly, 3 much better.
        rating_a: 1 to 5, for the rating task; likewise ``rating_b`` (None where there is one answer).
        reason: Why it was skipped.
        active_seconds: How long somebody was at work on it, idle time left out.
    """

    project_id: str
    item_id: str
    nonce: str
    verdict: Verdict | None = None
    strength: int | None = None
    rating_a: int | None = None
    rating_b: int | None = None
    comment: str = ""
    reason: str = ""
    better_answer: str = ""
    shown_at: float | None = None
    active_seconds: float | None = None


@dataclass(frozen=True)
class Label:
    """A stored label. ``withdrawn`` is an undo; the newest entry of a person for an item counts.

    ``origin`` is ``studio`` or ``import``; ``suggested`` what a model's suggestion said, if one was shown.
    ``restores`` names the earlier label that this one is a copy of, where an undo brought it back.
    """

    id: str
    project_id: str
    item_id: str
    verdict: Verdict
    strength: int | None
    rating_a: int | None
    rating_b: int | None
    withdrawn: bool
    comment: str
    reason: str
    better_answer: str
    annotator: str
    guideline_version: int
    supersedes: str | None
    shown_at: float | None
    labelled_at: float
    active_seconds: float | None
    suggested: Verdict | None = None
    origin: str = "studio"
    restores: str | None = None


@dataclass(frozen=True)
class Entry:
    """A label with what its annotator was not told.

    ``position`` counts the project's stored items from 0 (a repeat has the position of the item that it
    repeats); ``first_side`` is the side, ``a`` or ``b``, on which the item's first answer stood.
    """

    label: Label
    position: int
    kind: ItemKind
    first_side: str

    @property
    def standing(self) -> Standing:
        """The verdict in the item's own terms."""
        verdict = self.label.verdict
        if verdict in (Verdict.A, Verdict.B):
            return Standing.FIRST if verdict.value == self.first_side else Standing.SECOND
        return Standing(verdict.value)


@dataclass(frozen=True)
class StoredItem:
    """An item as the project holds it: its answers in their own order, and what is known of it.

    ``truth`` is the known verdict of gold; ``battle_id`` the battle that it came from, if it did.
    """

    id: str
    position: int
    kind: ItemKind
    prompt: tuple[Message, ...]
    first: tuple[Message, ...]
    second: tuple[Message, ...]
    truth: Standing | None = None
    battle_id: str = ""


@dataclass(frozen=True)
class Progress:
    """How far one person is, and the project as a whole.

    ``available`` is what this person could still be given now; ``needed``, ``done`` and ``left`` are labels
    of the whole project, and ``done`` goes in steps for those who do not lead it.
    """

    labelled: int
    skipped: int
    available: int
    needed: int
    done: int

    @property
    def left(self) -> int:
        """Labels that the project still lacks."""
        return max(0, self.needed - self.done)
