"""How a project comes to be: what it is to hold is checked and read before anything is stored."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from studio.annotation.checks import (
    MOST_GOLD,
    SINGLE_TASKS,
    check_gold,
    check_numbers,
    check_project,
    check_texts,
    check_version,
)
from studio.annotation.items import read_items, sampled
from studio.annotation.records import (
    ItemKind,
    NewProject,
    Project,
    ProjectChange,
    ProjectState,
    Source,
    StoredItem,
)
from studio.annotation.store import AnnotationStore
from studio.core import (
    SYSTEM,
    Actor,
    Conflict,
    Edge,
    InvalidInput,
    Lineage,
    Node,
    StudioError,
    Unavailable,
)
from studio.datasets import DatasetService, DatasetVersion, SchemaKind

_log = logging.getLogger(__name__)

#: How many shared prompts an error names, and how much of each it shows.
_NAMED = 10
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True)
class Plan:
    """A project that can be stored: everything it names exists and fits."""

    new: NewProject
    version: DatasetVersion | None
    gold: DatasetVersion | None
    single: bool


class Opening:
    """Plans and stores projects; ``arena`` says whether battles can be had, ``known`` who can log in."""

    def __init__(
        self,
        store: AnnotationStore,
        datasets: DatasetService,
        lineage: Lineage,
        arena: bool,
        known: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._datasets = datasets
        self._lineage = lineage
        self._arena = arena
        self._known = known

    def plan(self, actor: Actor, new: NewProject) -> Plan:
        """Check a project and look up what it names; it reads as ``actor``, who must be allowed to.

        Raises:
            InvalidInput: Something is out of range or does not go together.
            NotFound: There is no such dataset version.
            Unavailable: There is no arena.
        """
        check_project(new)
        self._check_people(new.members.people)
        version = None
        if new.source is Source.ARENA:
            if not self._arena:
                raise Unavailable("There is no arena here.", "Take the items from a dataset.")
        else:
            version = self._datasets.version(actor, new.dataset)
        if version is not None and new.source is Source.DATASET:
            check_version(new.task, version, new.target)
        gold = self._datasets.version(actor, new.gold) if new.gold else None
        single = new.task in SINGLE_TASKS or (
            new.source is Source.DATASET and version is not None and version.kind is not SchemaKind.PREFERENCE
        )
        if gold is not None:
            check_gold(new.task, single, gold)
            self._check_apart(actor, gold, version)
        name = new.name.strip() or self._name(version.reference if version else "Arena")
        return Plan(replace(new, name=name), version, gold, single)

    def store(self, actor: Actor, plan: Plan) -> Project:
        """Store a planned project with its items.

        Raises:
            Conflict: There is a project of that name.
        """
        new, version = plan.new, plan.version
        if plan.gold is not None:
            # Whoever trained on gold would be judged by what they have seen. Nothing is stored without it.
            self._datasets.protect(actor, plan.gold.id, None, f"gold of {new.name}"[:100])
        writes = new.source is Source.CANDIDATES
        state = ProjectState.PREPARING if writes else ProjectState.OPEN
        items = self._gold(plan)
        if version is not None and new.source is Source.DATASET:
            rows = sampled(version.total_rows, new.target, version.digest)
            items = self._read(version, rows, ItemKind.DATA, single=plan.single) + items
        version_id, gold_id = (one.id if one else None for one in (version, plan.gold))
        project = self._store.open(new, state, version_id, gold_id, items, actor.name, single=plan.single)
        node = Node("project", project.id)
        sources = [(version_id, "offers"), (gold_id, "checked_by")]
        self._lineage.link(
            Edge(node, Node("dataset_version", source), how) for source, how in sources if source
        )
        return project

    def checked(self, project: Project, change: ProjectChange) -> ProjectChange:
        """A change that can be applied.

        Raises:
            InvalidInput: Something is out of range.
            Conflict: The project's state cannot be set now.
        """
        check_numbers(change.overlap, change.lease_seconds, change.gold_every, change.repeat_every)
        members = change.members
        check_texts(change.name or "", change.guideline or "", members.people if members else ())
        if members is not None and not members.roles and not members.people:
            raise InvalidInput("Nobody may label in this project.", "Name a role or a person.")
        if members is not None:
            # Who was named before may be erased or disabled by now, and a lead changes other things too.
            self._check_people(tuple(name for name in members.people if name not in project.members.people))
        if change.state is not None:
            _check_state(project, change.state)
        name = change.name.strip() if change.name is not None else None
        if name == "":
            raise InvalidInput("The name is empty.", "Give the project a name.")
        return replace(change, name=name)

    def complete(self) -> None:
        """Give items their texts that a migration could only count; once, after an upgrade."""
        for project in self._store.untold():
            try:
                version = self._datasets.version(SYSTEM, project.dataset_version_id or "")
                items = self._read(version, range(version.total_rows), ItemKind.DATA, single=False)
                self._store.add_texts(project.id, items)
            except (StudioError, OSError) as error:
                _log.exception("The items of %s could not be read.", project.id)
                self._store.set_state(project.id, ProjectState.FAILED, f"Its items cannot be read: {error}")

    def _check_people(self, people: tuple[str, ...]) -> None:
        unknown = [name for name in people if not self._known(name)]
        if unknown:
            raise InvalidInput(
                f"Nobody can log in as {' or '.join(unknown)}.", "Name people by the names of their accounts."
            )

    def _check_apart(self, actor: Actor, gold: DatasetVersion, version: DatasetVersion | None) -> None:
        """See that no gold is among what is labelled: it would be known, or told by its two faces."""
        if version is None:
            return
        # All rows of the version, not only a target's: another project or a later target takes the others.
        shared = sorted(self._datasets.prompts(actor, gold.id) & self._datasets.prompts(actor, version.id))
        if shared:
            same = "is what is labelled" if gold.id == version.id else f"has prompts of {version.reference}"
            many = len(shared) - _NAMED
            more = (f"and {many:,} more",) if many > 0 else ()
            raise InvalidInput(
                f"The gold {gold.reference} {same}: {len(shared):,} of its prompts are among the items.",
                "Choose gold on other prompts, or take these rows out of one of the two.",
                (*(repr(key[:_SHOWN_CHARACTERS]) for key in shared[:_NAMED]), *more),
            )

    def _gold(self, plan: Plan) -> list[StoredItem]:
        gold = plan.gold
        if gold is None:
            return []
        rows = sampled(gold.total_rows, MOST_GOLD, gold.digest)
        return self._read(gold, rows, ItemKind.GOLD, single=plan.single)

    def _read(
        self, version: DatasetVersion, rows: range | list[int], kind: ItemKind, *, single: bool
    ) -> list[StoredItem]:
        return read_items(self._datasets, version, rows, kind, single=single)

    def _name(self, wanted: str) -> str:
        """``wanted``, with a number behind it where projects are called so already."""
        taken = {project.name for project in self._store.projects()}
        numbered = (f"{wanted} ({number})" for number in range(2, len(taken) + 3))
        return next(name for name in (wanted, *numbered) if name not in taken)


def _check_state(project: Project, state: ProjectState) -> None:
    if state not in (ProjectState.OPEN, ProjectState.CLOSED):
        raise InvalidInput("A project can be opened or closed.", "Choose open or closed.")
    if project.state in (ProjectState.PREPARING, ProjectState.FAILED):
        raise Conflict(
            f"{project.name} is {project.state}, so it cannot be {state} now.",
            project.problem or "Wait until its items are written.",
        )
