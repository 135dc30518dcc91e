"""The records of the annotation room."""

from __future__ import annotations

from dataclasses import dataclass

from studio.datasets import Message, Outcome


@dataclass(frozen=True)
class Queue:
    """A preference dataset version to be labelled by one or more people."""

    id: str
    name: str
    dataset_version_id: str
    guideline: str
    guideline_version: int
    items: int
    created_at: float
    created_by: str


@dataclass(frozen=True)
class Item:
    """One pair as an annotator sees it; which of the two the dataset calls chosen is not part of it."""

    id: str
    queue_id: str
    position: int
    prompt: tuple[Message, ...]
    a: tuple[Message, ...]
    b: tuple[Message, ...]


@dataclass(frozen=True)
class NewLabel:
    """A label to store; ``nonce`` makes a retry harmless. Outcome SKIP sets the item aside."""

    queue_id: str
    item_id: str
    outcome: Outcome
    nonce: str
    comment: str = ""
    better_answer: str = ""
    shown_at: float | None = None
    active_seconds: float | None = None


@dataclass(frozen=True)
class Label:
    """A stored label. ``withdrawn`` is an undo; the newest entry of a person for an item counts."""

    id: str
    queue_id: str
    item_id: str
    outcome: Outcome
    withdrawn: bool
    comment: str
    better_answer: str
    annotator: str
    guideline_version: int
    supersedes: str | None
    shown_at: float | None
    labelled_at: float
    active_seconds: float | None


@dataclass(frozen=True)
class QueueProgress:
    """How far an annotator is in a queue."""

    total: int
    labelled: int
    skipped: int

    @property
    def left(self) -> int:
        """Items that have no entry yet."""
        return self.total - self.labelled - self.skipped
