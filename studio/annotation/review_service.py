"""What a project's lead asks: how it goes, what the labels come to, and where people disagree.

Reads the labels and adds adjudications; it never changes a label. Every number is computed from the
labels as they stand when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from studio.annotation.consensus import by_position, consensus
from studio.annotation.records import Entry, Project, StoredItem
from studio.annotation.review_dashboard import dashboard, divided, enough_labels
from studio.annotation.review_desk import Records, gold_truths, led_project, with_first_gold
from studio.annotation.review_inbox import (
    decided_verdict,
    disagreement,
    refusal,
    side_of,
)
from studio.annotation.review_records import (
    Adjudication,
    Consensus,
    Dashboard,
    Disagreement,
    NewAdjudication,
)
from studio.annotation.review_store import ReviewStore
from studio.annotation.verdict_table import counted
from studio.core import (
    Actor,
    Audit,
    Conflict,
    Database,
    Edge,
    Forbidden,
    InvalidInput,
    Lineage,
    Node,
    NotFound,
    Role,
    new_id,
    now,
    require,
)
from studio.core.text import plain_text
from studio.datasets import DatasetService

_TEXT_LIMIT = 20_000
_ANSWER_LIMIT = 100_000
_NONCE_LIMIT = 200
_INBOX = 50


class ReviewService:
    """Shows leads their projects, and lets them decide.

    Args:
        database: Where adjudications are kept.
        records: Projects, items and labels: the annotation store.
        datasets: Says who may use the dataset that a project is about.
        audit: Gets who decided what.
        deciders: Names those who can log in and lead every project; nobody while there are no accounts.
    """

    def __init__(
        self,
        database: Database,
        records: Records,
        datasets: DatasetService,
        audit: Audit,
        deciders: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self._store = ReviewStore(database)
        self._records = records
        self._datasets = datasets
        self._audit = audit
        self._deciders = deciders
        self._lineage = Lineage(database)

    def dashboard(self, actor: Actor, project_id: str) -> Dashboard:
        """A project at a glance: progress, each person, agreement.

        Raises:
            NotFound: There is no such project.
            Forbidden: The actor does not lead it.
        """
        require(actor, Role.RESEARCHER, Role.ANNOTATOR)
        project = led_project(self._records, self._datasets, actor, project_id)
        entries = self._records.standing(project.id)
        firsts = self._records.first_entries(project.id)
        truths = gold_truths(self._records, project.id, firsts)
        return dashboard(project, entries, firsts, self._store.adjudications(project.id), truths, now())

    def consensus(self, actor: Actor, project_id: str) -> tuple[Consensus, ...]:
        """What the labels of each item come to, by position; an adjudicated item has its decision.

        Raises:
            NotFound: There is no such project.
            Forbidden: The actor does not lead it.
        """
        require(actor, Role.RESEARCHER, Role.ANNOTATOR)
        project = led_project(self._records, self._datasets, actor, project_id)
        return self._consensus(project, self._records.standing(project.id))

    def inbox(self, actor: Actor, project_id: str, limit: int = _INBOX) -> tuple[Disagreement, ...]:
        """Items whose people do not agree and that nobody has decided, the least certain first.

        Those that the actor labelled carry a ``refusal`` where somebody else can decide them.

        Raises:
            NotFound: There is no such project.
            Forbidden: The actor does not lead it.
        """
        require(actor, Role.RESEARCHER, Role.ANNOTATOR)
        project = led_project(self._records, self._datasets, actor, project_id)
        entries = self._records.standing(project.id)
        votes = by_position(counted(project.task, entries))
        decided = {one.position for one in self._store.adjudications(project.id)}
        agreed = {one.position: one for one in self._consensus(project, entries)}
        deciders = self._deciders()
        waiting = divided(project, votes, decided)
        waiting.sort(key=lambda position: (agreed[position].probability or 0.0, position))
        items = self._items(project, waiting[: max(0, limit)])
        return tuple(
            disagreement(
                actor,
                project,
                items[position],
                votes[position],
                agreed[position],
                refusal(actor, votes[position], deciders),
            )
            for position in waiting[: max(0, limit)]
            if position in items
        )

    def items(self, actor: Actor, project_id: str, positions: Collection[int]) -> tuple[StoredItem, ...]:
        """The items at some positions with their texts, as the project holds them.

        Raises:
            NotFound: There is no such project.
            Forbidden: The actor does not lead it.
        """
        require(actor, Role.RESEARCHER, Role.ANNOTATOR)
        project = led_project(self._records, self._datasets, actor, project_id)
        return self._records.items(project.id, positions)

    def adjudications(self, actor: Actor, project_id: str) -> tuple[Adjudication, ...]:
        """The decision that counts of each decided item, oldest first.

        Raises:
            NotFound: There is no such project.
            Forbidden: The actor does not lead it.
        """
        require(actor, Role.RESEARCHER, Role.ANNOTATOR)
        project = led_project(self._records, self._datasets, actor, project_id)
        return self._store.adjudications(project.id)

    def adjudicate(self, actor: Actor, new: NewAdjudication) -> Adjudication:
        """Decide an item over its labels; a later decision supersedes, a retry with its nonce changes none.

        Raises:
            NotFound: There is no such project or item.
            Forbidden: The actor does not lead it, or labelled the item and somebody else can decide.
            InvalidInput: It does not say what the task asks.
            Conflict: The item still lacks labels, or the nonce belongs to another decision.
        """
        require(actor, Role.RESEARCHER, Role.ANNOTATOR)
        project = led_project(self._records, self._datasets, actor, new.project_id)
        _check_texts(new)
        votes, item = self._item(project, new.item_id)
        verdict = decided_verdict(project.task, new, bool(item.second))
        if len(votes) < enough_labels(project, at_least=1):
            raise Conflict("The item still lacks labels.", "Decide it when its people have labelled it.")
        refused = refusal(actor, votes, self._deciders())
        if refused:
            raise Forbidden(refused, "Leave it to them.")
        earlier = {one.position: one for one in self._store.adjudications(project.id)}.get(item.position)
        made = Adjudication(
            id=new_id("adjudication"),
            project_id=project.id,
            item_id=item.id,
            position=item.position,
            verdict=verdict,
            first_side=side_of(item.id, actor.name) if item.second else "a",
            rating_a=new.rating_a,
            rating_b=new.rating_b,
            comment=new.comment,
            better_answer=new.better_answer,
            adjudicator=actor.name,
            own_label=any(vote.label.annotator == actor.name for vote in votes),
            supersedes=earlier.id if earlier else None,
            at=now(),
        )
        node = Node("adjudication", made.id)
        edges = tuple(Edge(node, Node("label", vote.label.id), "decides") for vote in votes)
        return self._store.add(made, new.nonce, edges, self._lineage, self._audit, actor)

    def _consensus(self, project: Project, entries: tuple[Entry, ...]) -> tuple[Consensus, ...]:
        entries = with_first_gold(entries, self._records.first_entries(project.id))
        truths = gold_truths(self._records, project.id, entries)
        return consensus(project.task, entries, self._store.adjudications(project.id), truths)

    def _items(self, project: Project, positions: list[int]) -> dict[int, StoredItem]:
        if not positions:
            return {}
        return {item.position: item for item in self._records.items(project.id, sorted(positions))}

    def _item(self, project: Project, item_id: str) -> tuple[list[Entry], StoredItem]:
        entries = counted(project.task, self._records.standing(project.id))
        votes = [entry for entry in entries if entry.label.item_id == item_id]
        found = self._items(project, [votes[0].position]) if votes else {}
        if not found:
            raise NotFound(
                f"Nobody has labelled an item {item_id} of {project.name}.", "Choose one from the inbox."
            )
        return votes, found[votes[0].position]


def _check_texts(new: NewAdjudication) -> None:
    if not plain_text("The nonce", new.nonce, _NONCE_LIMIT).strip():
        raise InvalidInput("A nonce is missing.", "Send a random text that only a retry repeats.")
    plain_text("The comment", new.comment, _TEXT_LIMIT)
    plain_text("The better answer", new.better_answer, _ANSWER_LIMIT)
