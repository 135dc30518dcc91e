"""Projects and labels made by hand, and an office in which everything is real."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from studio.annotation import AnnotationService, NewLabel, NewProject
from studio.annotation.exchange_service import ExchangeService
from studio.annotation.items import seen_from
from studio.annotation.records import (
    Entry,
    ItemKind,
    Label,
    Members,
    Project,
    ProjectState,
    Source,
    Standing,
    StoredItem,
    Task,
    Verdict,
)
from studio.annotation.review_service import ReviewService
from studio.core import Actor, Audit, Database, Lineage, Role, Settings, new_id
from studio.datasets import DatasetService, NewVersion, SchemaKind, Split
from studio.jobs import JobService

ANA = Actor("ana", Role.ANNOTATOR)
BEN = Actor("ben", Role.ANNOTATOR)
CAT = Actor("cat", Role.ANNOTATOR)
LEAD = Actor("lea", Role.RESEARCHER)
OTHER = Actor("rob", Role.RESEARCHER)
GUEST = Actor("guest", Role.STAKEHOLDER)


def project(task: Task = Task.PREFERENCE, *, items: int = 10, overlap: int = 2, people: tuple[str, ...] = ()):
    return Project(
        id="project_1",
        name="First round",
        task=task,
        source=Source.DATASET,
        state=ProjectState.OPEN,
        dataset_version_id=None,
        guideline="",
        guideline_version=1,
        overlap=overlap,
        target=None,
        members=Members(people=people),
        models=(),
        suggestion_model="",
        gold_version_id=None,
        gold_every=10,
        repeat_every=0,
        lease_seconds=900,
        items=items,
        created_at=0.0,
        created_by="lea",
    )


def says(
    name: str,
    position: int,
    standing: Standing = Standing.FIRST,
    *,
    side: str = "a",
    kind: ItemKind = ItemKind.DATA,
    ratings: tuple[int | None, int | None] = (None, None),
    seconds: float | None = None,
    at: float = 1000.0,
    origin: str = "studio",
    better: str = "",
) -> Entry:
    """What somebody says about an item, in the item's own terms."""
    if standing in (Standing.FIRST, Standing.SECOND):
        other = "b" if side == "a" else "a"
        verdict = Verdict(side if standing is Standing.FIRST else other)
    else:
        verdict = Verdict(standing.value)
    a, b = ratings if side == "a" else ratings[::-1]
    label = Label(
        id=f"label_{name}_{position}_{kind.value}",
        project_id="project_1",
        item_id=f"item_{position}" if kind is not ItemKind.REPEAT else f"again_{position}",
        verdict=verdict,
        strength=None,
        rating_a=a,
        rating_b=b,
        withdrawn=False,
        comment="",
        reason="",
        better_answer=better,
        annotator=name,
        guideline_version=1,
        supersedes=None,
        shown_at=None,
        labelled_at=at,
        active_seconds=seconds,
        origin=origin,
    )
    return Entry(label, position, kind, side)


def stored(position: int, *, kind: ItemKind = ItemKind.DATA, truth: Standing | None = None) -> StoredItem:
    return StoredItem(
        id=f"item_{position}",
        position=position,
        kind=kind,
        prompt=({"role": "user", "content": f"Question {position}?"},),
        first=({"role": "assistant", "content": f"First {position}."},),
        second=({"role": "assistant", "content": f"Second {position}."},),
        truth=truth,
    )


@dataclass(frozen=True)
class Office:
    """The annotation room with everything real: people label through the service."""

    database: Database
    lineage: Lineage
    audit: Audit
    datasets: DatasetService
    annotation: AnnotationService
    review: ReviewService
    exchange: ExchangeService
    deciders: set[str]

    def open(self, items: int = 6, *, overlap: int = 2, task: Task = Task.PREFERENCE, **given) -> Project:
        rows = [_pair(n) for n in range(items)]
        version = self.datasets.create(
            LEAD, NewVersion("pairs", SchemaKind.PREFERENCE, {Split.TRAIN: rows, Split.VALIDATION: []}, ())
        )
        new = NewProject("First round", task=task, dataset=version.id, overlap=overlap, **given)
        return self.annotation.open_project(LEAD, new)

    def labels(self, who: Actor, project: Project, verdicts: dict[int, Standing | tuple[int, int]], **given):
        """Let somebody label items by position, in the item's own terms; returns the labels by position."""
        found = {}
        for item in self.annotation.store.items(project.id, list(verdicts)):
            found[item.position] = self._label(who, project, item, verdicts[item.position], given)
        return found

    def _label(self, who, project, item, said, given):
        shown = self.annotation.item(who, project.id, item.id)
        side = "a" if shown.a == item.first else "b"
        if isinstance(said, tuple):
            a, b = said if side == "a" else said[::-1]
            ratings = {"rating_a": a, "rating_b": b}
            return self.annotation.label(
                who, NewLabel(project.id, item.id, new_id("nonce"), **ratings, **given)
            )
        verdict = seen_from(said, side)
        return self.annotation.label(who, NewLabel(project.id, item.id, new_id("nonce"), verdict, **given))

    def prompt(self, project: Project, position: int) -> str:
        return self.annotation.store.items(project.id, [position])[0].prompt[0]["content"]


def _pair(n: int) -> dict[str, object]:
    return {
        "prompt": [{"role": "user", "content": f"Question {n}?"}],
        "chosen": [{"role": "assistant", "content": f"First {n}."}],
        "rejected": [{"role": "assistant", "content": f"Second {n}."}],
    }


def open_office(database: Database, home: Path, settings: Settings) -> Office:
    lineage, audit = Lineage(database), Audit(database)
    jobs = JobService(database, home, audit, training_slots=1, stop_grace_seconds=1.0)
    datasets = DatasetService(database, home, jobs, lineage, audit, settings)
    annotation = AnnotationService(database, datasets, lineage, audit)
    deciders = {LEAD.name, OTHER.name}
    review = ReviewService(database, annotation.store, datasets, audit, lambda: frozenset(deciders))
    exchange = ExchangeService(database, annotation.store, datasets, audit, settings)
    return Office(database, lineage, audit, datasets, annotation, review, exchange, deciders)
