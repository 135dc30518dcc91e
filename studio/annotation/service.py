"""Projects, what they offer to people, and the labels that people give.

Annotators are never told what the dataset prefers, which items are gold or repeats, or what others said
before an item is finished. A label is stored with its lineage and its line in the audit, all or nothing.

It does not hide all that counts tell (see ``progress``). In a finished project an item whose others are
not shown was gold or a repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from studio.annotation.battles import BattleIntake, BattleSource
from studio.annotation.checks import check_label, check_nonce, check_open
from studio.annotation.judging import COMPARING, judged
from studio.annotation.label_store import LabelStore
from studio.annotation.lease_store import LeaseStore
from studio.annotation.membership import as_told, is_hidden, leads, may_label, not_yours
from studio.annotation.opening import Opening
from studio.annotation.records import (
    Item,
    ItemKind,
    Label,
    NewLabel,
    NewProject,
    Progress,
    Project,
    ProjectChange,
    ProjectState,
    Source,
)
from studio.annotation.review_store import ReviewStore
from studio.annotation.store import AnnotationStore, Known
from studio.annotation.views import in_steps, items_of, others_labels
from studio.core import (
    Actor,
    Audit,
    Database,
    Forbidden,
    Lineage,
    Node,
    NotFound,
    Role,
    Unavailable,
    now,
    require,
)
from studio.datasets import DatasetService, Judgement

_MOST_AT_ONCE = 50
_MOST_HISTORY = 500
_MOST_HELD = 200


class ModelWriters(Protocol):
    """Lets models write a project's items or say what they think of them; jobs do the work."""

    def check(self, actor: Actor, new: NewProject) -> None:
        """See that what a project asks of models can be done."""

    def write_candidates(self, actor: Actor, project: Project) -> object:
        """Begin to write the items."""

    def suggest(self, actor: Actor, project: Project) -> object:
        """Begin to compute suggestions."""


class AnnotationService:
    """Opens projects, gives out items and keeps labels; ``clock`` is the time of day in seconds.

    ``known`` says whether somebody of a name can log in, so that a project can name them.
    """

    def __init__(
        self,
        database: Database,
        datasets: DatasetService,
        lineage: Lineage,
        audit: Audit,
        battles: BattleSource | None = None,
        clock: Callable[[], float] = now,
        known: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.store = AnnotationStore(database)
        self._leases = LeaseStore(database, clock)
        self._labels = LabelStore(database, lineage, audit, clock)
        self._reviews = ReviewStore(database)
        self._audit = audit
        self._datasets = datasets
        self._intake = BattleIntake(self.store, lineage, battles)
        self._opening = Opening(self.store, datasets, lineage, self._intake.offered, known)
        self._models: ModelWriters | None = None
        self._opening.complete()

    def subscribe(self, models: ModelWriters) -> None:
        """Let ``models`` work for projects that ask for candidates or suggestions."""
        self._models = models

    def open_project(self, actor: Actor, new: NewProject) -> Project:
        """A new project; without a name it is called as its dataset version is.

        With candidates it is PREPARING until both models have written.

        Raises:
            InvalidInput: Something is out of range or does not go together.
            NotFound: There is no such dataset version or model.
            Conflict: There is a project of that name.
            Unavailable: It needs models or an arena, and this studio has none.
        """
        require(actor, Role.RESEARCHER)
        plan = self._opening.plan(actor, new)
        if new.source is Source.CANDIDATES or new.suggestion_model:
            if self._models is None:
                raise Unavailable("No model can write here.", "Open the project without models.")
            self._models.check(actor, plan.new)
        project = self._opening.store(actor, plan)
        self._audit.record(actor, "opened", Node("project", project.id), project.name)
        self._ask_models(actor, project)
        return self._project(project.id).project

    def change(self, actor: Actor, project_id: str, change: ProjectChange) -> Project:
        """Change a project that this actor leads; a guideline that differs becomes its next version.

        Raises:
            NotFound: There is no such project.
            Forbidden: This actor does not lead it.
            InvalidInput: Something is out of range.
            Conflict: There is another project of that name, or its state cannot be set now.
        """
        require(actor, Role.RESEARCHER, Role.ANNOTATOR)
        known = self._led(actor, project_id)
        change = self._opening.checked(known.project, change)
        project = self.store.change(project_id, change, actor.name)
        named = [name for name, value in vars(change).items() if value is not None]
        self._audit.record(actor, "changed", Node("project", project_id), ", ".join(named))
        return project

    def projects(self, actor: Actor) -> tuple[Project, ...]:
        """The projects that this actor may label in or leads, the newest first."""
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        hidden = self._datasets.hidden(actor)
        found = (one for one in self.store.projects() if not is_hidden(one, actor, hidden))
        return tuple(as_told(one, actor) for one in found if may_label(one, actor) or leads(one, actor))

    def project(self, actor: Actor, project_id: str) -> Project:
        """One project.

        Raises:
            NotFound: There is none with that id.
            Forbidden: This actor neither labels in it nor leads it.
        """
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        return as_told(self._seen(actor, project_id).project, actor)

    def guideline(self, actor: Actor, project_id: str, version: int) -> str:
        """A version of a project's guideline, from 1.

        Raises:
            NotFound: There is no such project or version.
            Forbidden: This actor neither labels in it nor leads it.
        """
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        project = self._seen(actor, project_id).project
        text = self.store.guideline(project_id, version)
        if text is None:
            raise NotFound(
                f"{project.name} has no guideline {version}.", f"There are 1 to {project.guideline_version}."
            )
        return text

    def next_items(
        self, actor: Actor, project_id: str, count: int = 3, held: Collection[str] = ()
    ) -> tuple[Item, ...]:
        """Lease up to ``count`` further items and renew those in ``held``; nobody has more than 50 on hand.

        What this person was given before and has not answered comes first, what they skipped last.

        Raises:
            NotFound: There is no such project.
            Forbidden: This actor may not label in it.
            Conflict: It is not open.
        """
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        known = self._labelling(actor, project_id)
        self._intake.pull(known.project)
        wanted = max(0, min(count, _MOST_AT_ONCE))
        places = self._leases.give(known, actor.name, wanted, _ids(held))
        return items_of(self.store, known.project, places)

    def renew(self, actor: Actor, project_id: str, items: Collection[str]) -> tuple[str, ...]:
        """Lease items again that are still this person's, or free; returns the ids of those.

        Raises:
            As ``next_items``.
        """
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        return self._leases.renew(self._labelling(actor, project_id), actor.name, _ids(items))

    def release(self, actor: Actor, project_id: str, items: Collection[str]) -> None:
        """Give items back that this person will not answer now.

        Raises:
            NotFound: There is no such project.
            Forbidden: This actor may not label in it.
        """
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        self._leases.release(self._member(actor, project_id), actor.name, _ids(items))

    def item(self, actor: Actor, project_id: str, item_id: str) -> Item:
        """One item as this actor sees it, such as an earlier one to edit or a skipped one; it is leased.

        Raises:
            NotFound: There is no such project or item.
            Forbidden: This actor may not label in it.
            Conflict: The project is not open, others hold the item's places, or this actor has 50 on hand.
        """
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        known = self._labelling(actor, project_id)
        place = self._leases.take(known, actor.name, next(iter(_ids([item_id])), ""))
        return items_of(self.store, known.project, (place,))[0]

    def label(self, actor: Actor, new: NewLabel) -> Label:
        """Store a label over the actor's earlier one for the item; a retry with its nonce changes nothing.

        Raises:
            NotFound: There is no such project or item.
            Forbidden: This actor may not label in it.
            InvalidInput: The label does not fit the task, or cannot be stored.
            Conflict: The nonce belongs to another label, the project is not open, others have taken the
                item's last place, or the label is final since the others' were shown.
        """
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        known = self._labelling(actor, new.project_id)
        verdict = check_label(known.project, new, single=known.single)
        return self._labels.add(known, new, verdict, actor).label

    def undo(self, actor: Actor, project_id: str, nonce: str) -> Label | None:
        """Take back this actor's newest label; once more takes back the one before it.

        Returns:
            The withdrawal, which names the item; of a correction the corrected label, which stands again;
            or None where nothing is left to take back.

        Raises:
            NotFound: There is no such project.
            Forbidden: This actor may not label in it.
            Conflict: The nonce belongs to a label, the project is not open, or the newest label is final.
        """
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        check_nonce(nonce)
        entry = self._labels.withdraw(self._labelling(actor, project_id), actor, nonce)
        return entry.label if entry else None

    def own_labels(
        self, actor: Actor, project_id: str, limit: int = 50, before: str = ""
    ) -> tuple[Label, ...]:
        """This actor's standing labels, the newest first; ``before`` is the id of the last one seen.

        The text of one is ``item()``'s.

        Raises:
            NotFound: There is no such project.
            Forbidden: This actor may not label in it.
        """
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        self._member(actor, project_id)
        return self._labels.own(project_id, actor.name, max(0, min(limit, _MOST_HISTORY)), before)

    def skipped(self, actor: Actor, project_id: str) -> tuple[Label, ...]:
        """What this actor has set aside, the oldest first; ``item()`` brings one back.

        Raises:
            NotFound: There is no such project.
            Forbidden: This actor may not label in it.
        """
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        self._member(actor, project_id)
        return self._labels.skipped(project_id, actor.name)

    def others(self, actor: Actor, project_id: str, item_id: str) -> tuple[Label, ...]:
        """What others said of an item, from this actor's side of it; who does not lead sees no names.

        Who does not lead sees nothing of gold and repeats, and their own label is final once they looked.

        Raises:
            NotFound: There is no such project.
            Forbidden: This actor has not labelled the item, or it still lacks labels.
        """
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        project = self._member(actor, project_id).project
        own = self._labels.own_at(project_id, actor.name, next(iter(_ids([item_id])), ""))
        if own is None or own.label.verdict.value == "skip":
            raise Forbidden("Others' labels are shown once you have given yours.", "Label the item first.")
        led, entries = leads(project, actor), self.store.standing_at(project_id, own.position)
        if len(entries) < project.overlap or (not led and own.kind is not ItemKind.DATA):
            why = "Others' labels are shown once the item has all it needs."
            raise Forbidden(why, "Come back when it is finished.")
        self._labels.look(own)
        found = others_labels(own, entries, named=led)
        # There are more where the overlap was made smaller.
        return found if led else found[: project.overlap - 1]

    def progress(self, actor: Actor, project_id: str) -> Progress:
        """How far this actor is, and the project as a whole.

        To those who do not lead, ``done`` (and ``left``) goes in steps, exact only at the end, so it rarely
        moves with their own label; ``available`` falls by one with every label, nearly. What stays guessable:
        a label that reaches a step did count, unless somebody else's did just then; so who works alone learns
        at each step how many, not which, were gold or repeats.

        Raises:
            NotFound: There is no such project.
            Forbidden: This actor neither labels in it nor leads it.
        """
        require(actor, Role.ANNOTATOR, Role.RESEARCHER)
        known = self._seen(actor, project_id)
        done, needed = self._leases.done(project_id), known.project.items * known.project.overlap
        tally = self._leases.tally(project_id, actor.name)
        return Progress(
            labelled=tally.labelled,
            skipped=tally.skipped,
            available=self._leases.available(known, actor.name),
            needed=needed,
            done=done if leads(known.project, actor) else in_steps(done, needed),
        )

    def judgements(self, actor: Actor, project_id: str = "") -> tuple[Judgement, ...]:
        """What was said of pairs in one project or all, oldest first within each; skips are among it.

        Gold and repeats never are; an adjudicated item gives its adjudication alone.

        Raises:
            NotFound: There is no such project.
        """
        require(actor, Role.RESEARCHER)
        if project_id:
            return self._judged(self._shared(actor, project_id).project)
        hidden = self._datasets.hidden(actor)
        shared = [one for one in self.store.projects() if not is_hidden(one, actor, hidden)]
        found = [self._judged(project) for project in reversed(shared)]
        return tuple(judgement for one in found for judgement in one)

    def _judged(self, project: Project) -> tuple[Judgement, ...]:
        if project.task not in COMPARING:
            return ()
        entries = self.store.standing(project.id)
        decided = self._reviews.adjudications(project.id)
        positions = {entry.position for entry in entries} | {found.position for found in decided}
        return tuple(judged(entries, self.store.items(project.id, positions), decided))

    def _ask_models(self, actor: Actor, project: Project) -> None:
        if self._models is None:
            return
        if project.state is ProjectState.PREPARING:
            self._models.write_candidates(actor, project)
        elif project.suggestion_model:
            self._models.suggest(actor, project)

    def _project(self, project_id: str) -> Known:
        known = self.store.find(project_id)
        if known is None:
            raise NotFound(f"There is no project {project_id}.", "See the list of projects.")
        return known

    def _shared(self, actor: Actor, project_id: str) -> Known:
        known = self._project(project_id)
        if is_hidden(known.project, actor, self._datasets.hidden(actor)):
            raise NotFound(f"There is no project {project_id}.", "See the list of projects.")
        return known

    def _seen(self, actor: Actor, project_id: str) -> Known:
        known = self._shared(actor, project_id)
        if not may_label(known.project, actor) and not leads(known.project, actor):
            raise not_yours(known.project)
        return known

    def _member(self, actor: Actor, project_id: str) -> Known:
        known = self._shared(actor, project_id)
        if not may_label(known.project, actor):
            raise not_yours(known.project)
        return known

    def _labelling(self, actor: Actor, project_id: str) -> Known:
        known = self._member(actor, project_id)
        check_open(as_told(known.project, actor))
        return known

    def _led(self, actor: Actor, project_id: str) -> Known:
        known = self._seen(actor, project_id)
        if not leads(known.project, actor):
            raise Forbidden(f"{actor.name} does not lead {known.project.name}.", "Ask its lead.")
        return known


def _ids(items: Collection[str]) -> tuple[str, ...]:
    """Ids that could be ours: what holds other characters cannot be one, and some no database takes."""
    return tuple(item for item in items if item.isascii() and "\0" not in item)[:_MOST_HELD]
