"""Queues of pairs, and the labels that people give them.

Annotators are never told which answer the dataset calls chosen; judgements carry the answers as they
were displayed. Who labels what is not assigned: everyone may label every pair once.
"""

from __future__ import annotations

import math
from collections import defaultdict

from studio.annotation.items import (
    Pair,
    chosen_side,
    item_id,
    position_of,
    read_pairs,
    shown,
)
from studio.annotation.records import Item, Label, NewLabel, Queue, QueueProgress
from studio.annotation.store import AnnotationStore, Entry
from studio.core import (
    Actor,
    Audit,
    Database,
    Edge,
    InvalidInput,
    Lineage,
    Node,
    NotFound,
    Role,
    require,
)
from studio.core.text import plain_text
from studio.datasets import Candidate, DatasetService, Judgement, Outcome, SchemaKind

_ANSWER_LIMIT = 100_000
_TEXT_LIMIT = 20_000
_NAME_LIMIT = 200
_MOST_ITEMS = 100


class AnnotationService:
    """Offers pairs and keeps labels."""

    def __init__(self, database: Database, datasets: DatasetService, lineage: Lineage, audit: Audit) -> None:
        self._store = AnnotationStore(database)
        self._datasets = datasets
        self._lineage = lineage
        self._audit = audit

    def open_queue(self, actor: Actor, dataset: str, name: str = "", guideline: str = "") -> Queue:
        """A queue over a preference dataset version; the same version and name give the same queue.

        Without a name it is called as the version is. Another guideline than the queue has becomes the
        next version of it; labels say under which one they were given.

        Raises:
            NotFound: There is no such dataset version.
            InvalidInput: It holds no preference pairs.
        """
        require(actor, Role.RESEARCHER)
        version = self._datasets.version(actor, dataset)
        if version.kind is not SchemaKind.PREFERENCE or not version.total_rows:
            raise InvalidInput(
                f"{version.reference} holds no preference pairs (it is {version.kind.value}, "
                f"{version.total_rows} rows).",
                "Choose a version of preference pairs.",
            )
        name = plain_text("The name", name.strip(), _NAME_LIMIT) or version.reference
        plain_text("The guideline", guideline, _TEXT_LIMIT)
        queue, is_new = self._store.open_queue(version.id, name, guideline, version.total_rows, actor.name)
        if is_new:
            source = Node("dataset_version", version.id)
            self._lineage.link([Edge(Node("queue", queue.id), source, "offers")])
            self._audit.record(actor, "opened", Node("queue", queue.id), version.reference)
        return queue

    def queues(self, actor: Actor) -> tuple[Queue, ...]:
        """All queues, the newest first."""
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        return self._store.queues()

    def queue(self, actor: Actor, queue_id: str) -> Queue:
        """One queue.

        Raises:
            NotFound: There is none with that id.
        """
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        return self._queue(queue_id)

    def next_items(
        self, actor: Actor, queue_id: str, count: int = 10, after: tuple[str, ...] = ()
    ) -> tuple[Item, ...]:
        """The next pairs that this actor has not labelled, in order; then those set aside, oldest first.

        ``after`` names the items that the client holds already.
        """
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        queue = self._queue(queue_id)
        own = self._store.standing(queue.id, actor.name)
        taken = {entry.position for entry in own}
        skipped = [entry.position for entry in own if entry.label.outcome is Outcome.SKIP]
        offered = [position for position in range(queue.items) if position not in taken] + skipped
        held = set(after)
        free = [position for position in offered if item_id(position) not in held]
        return self._items(actor, queue, free[: max(0, min(count, _MOST_ITEMS))])

    def item(self, actor: Actor, queue_id: str, item: str) -> Item:
        """One pair as this actor sees it, such as the one that an undo brings back.

        Raises:
            NotFound: There is no such queue or item.
        """
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        queue = self._queue(queue_id)
        return self._items(actor, queue, [position_of(queue, item)])[0]

    def label(self, actor: Actor, new: NewLabel) -> Label:
        """Store a label over the actor's earlier one for the item; a retry with its nonce changes nothing.

        Raises:
            NotFound: There is no such queue or item.
            InvalidInput: A text or time cannot be stored.
            Conflict: The nonce belongs to another label.
        """
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        queue = self._queue(new.queue_id)
        position = position_of(queue, new.item_id)
        _check(new)
        side = self._side(queue, new.item_id, actor.name)
        entry, is_new = self._store.add_label(queue, new, actor.name, position, side)
        return self._noted(actor, queue, entry, "labelled" if is_new else "")

    def undo(self, actor: Actor, queue_id: str, nonce: str) -> Label | None:
        """Take back this actor's newest label in the queue; once more takes back the one before it.

        Returns:
            The withdrawal, which names the item, or None where nothing is left to take back.

        Raises:
            NotFound: There is no such queue.
            Conflict: The nonce belongs to a label.
        """
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        queue = self._queue(queue_id)
        _check_nonce(nonce)
        entry, is_new = self._store.withdraw(queue, actor.name, nonce)
        return self._noted(actor, queue, entry, "withdrew" if is_new else "") if entry else None

    def progress(self, actor: Actor, queue_id: str) -> QueueProgress:
        """How far this actor is in the queue."""
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        queue = self._queue(queue_id)
        own = self._store.standing(queue.id, actor.name)
        skipped = sum(entry.label.outcome is Outcome.SKIP for entry in own)
        return QueueProgress(queue.items, len(own) - skipped, skipped)

    def judgements(self, actor: Actor, queue_id: str = "") -> tuple[Judgement, ...]:
        """Each person's standing label on each item, of one queue or of all; skips are among them."""
        require(actor, Role.RESEARCHER)
        queues = [self._queue(queue_id)] if queue_id else list(reversed(self._store.queues()))
        by_queue: dict[str, list[Entry]] = defaultdict(list)
        for entry in self._store.standing(queue_id):
            by_queue[entry.label.queue_id].append(entry)
        return tuple(judgement for queue in queues for judgement in self._judged(queue, by_queue[queue.id]))

    def _judged(self, queue: Queue, entries: list[Entry]) -> list[Judgement]:
        positions = [entry.position for entry in entries]
        pairs = read_pairs(self._datasets, queue.dataset_version_id, positions) if positions else {}
        return [_judgement(queue, entry, pairs[entry.position]) for entry in entries]

    def _items(self, actor: Actor, queue: Queue, positions: list[int]) -> tuple[Item, ...]:
        pairs = read_pairs(self._datasets, queue.dataset_version_id, positions) if positions else {}
        return tuple(
            shown(queue, pairs[place], self._side(queue, item_id(place), actor.name)) for place in positions
        )

    def _side(self, queue: Queue, item: str, annotator: str) -> str:
        return chosen_side(self._store.salt(queue.id), item, annotator)

    def _queue(self, queue_id: str) -> Queue:
        queue = self._store.queue(queue_id)
        if queue is None:
            raise NotFound(f"There is no queue {queue_id}.", "Open one over a preference dataset.")
        return queue

    def _noted(self, actor: Actor, queue: Queue, entry: Entry, verb: str) -> Label:
        # Edges are idempotent, so a retry mends what a crash before this line left out.
        source = Node("dataset_version", queue.dataset_version_id)
        self._lineage.link([Edge(Node("label", entry.label.id), source, "judged")])
        if verb:
            self._audit.record(actor, verb, Node("label", entry.label.id), entry.label.item_id)
        return entry.label


def _judgement(queue: Queue, entry: Entry, pair: Pair) -> Judgement:
    label = entry.label
    item = shown(queue, pair, entry.chosen_side)
    return Judgement(
        kind="label",
        id=label.id,
        prompt=item.prompt,
        a=Candidate(item.a),
        b=Candidate(item.b),
        outcome=label.outcome,
        voter=label.annotator,
        voted_at=label.labelled_at,
        blind=True,
        better_answer=label.better_answer,
    )


def _check(new: NewLabel) -> None:
    _check_nonce(new.nonce)
    plain_text("The comment", new.comment, _TEXT_LIMIT)
    plain_text("The better answer", new.better_answer, _ANSWER_LIMIT)
    for name, value in (("shown_at", new.shown_at), ("active_seconds", new.active_seconds)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InvalidInput(f"{name} must be a number of seconds, 0 or more.", "Leave it out if unknown.")


def _check_nonce(nonce: str) -> None:
    if not plain_text("The nonce", nonce, _NAME_LIMIT).strip():
        raise InvalidInput("A nonce is missing.", "Send a random text that only a retry repeats.")
