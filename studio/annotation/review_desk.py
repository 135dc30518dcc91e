"""What review and exchange share: the records they read, and who leads a project.

A project is led by whoever opened it, by researchers and by admins. To be named in it lets a person label
and nothing more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from studio.annotation.membership import leads
from studio.annotation.records import Entry, ItemKind, Project, Standing, StoredItem
from studio.core import Actor, Forbidden, NotFound
from studio.datasets import DatasetService


class Records(Protocol):
    """What is read of ``AnnotationStore``."""

    def project(self, project_id: str) -> Project | None:
        """The project with that id."""
        ...

    def standing(self, project_id: str, annotator: str = "") -> tuple[Entry, ...]:
        """The newest label of each person on each item, withdrawn ones left out."""
        ...

    def first_entries(self, project_id: str) -> tuple[Entry, ...]:
        """The first answer of each person to each gold item and repeat, and to what they saw repeated."""
        ...

    def items(self, project_id: str, positions: Collection[int] | None = None) -> tuple[StoredItem, ...]:
        """Items with their texts: all, or those at some positions."""
        ...


def led_project(records: Records, datasets: DatasetService, actor: Actor, project_id: str) -> Project:
    """The project, for somebody who leads it and may use the dataset that it is about.

    Raises:
        NotFound: There is none with that id, or its dataset is hidden from the actor.
        Forbidden: The actor does not lead it.
    """
    project = some_project(records, project_id)
    if not leads(project, actor):
        raise Forbidden(
            f"{actor.name} does not lead the project {project.name}.",
            f"Ask {project.created_by}, a researcher or an admin.",
        )
    if project.dataset_version_id:
        # Also to a lead a private dataset is not there.
        datasets.version(actor, project.dataset_version_id)
    return project


def some_project(records: Records, project_id: str) -> Project:
    """The project with that id.

    Raises:
        NotFound: There is none.
    """
    project = records.project(project_id)
    if project is None:
        raise NotFound(f"There is no project {project_id}.", "Choose one from the list.")
    return project


def with_first_gold(entries: Iterable[Entry], firsts: Iterable[Entry]) -> tuple[Entry, ...]:
    """``entries`` with the first answers to gold in place of those that stand now.

    How much a person's word weighs follows from gold, and no correction may repair that.
    """
    plain = [entry for entry in entries if entry.kind is not ItemKind.GOLD]
    return (*plain, *(entry for entry in firsts if entry.kind is ItemKind.GOLD))


def gold_truths(records: Records, project_id: str, entries: Iterable[Entry]) -> dict[int, Standing]:
    """The known verdicts of the gold items that somebody answered, by position."""
    positions = {entry.position for entry in entries if entry.kind is ItemKind.GOLD}
    if not positions:
        return {}
    found = records.items(project_id, sorted(positions))
    return {item.position: item.truth for item in found if item.truth is not None}
