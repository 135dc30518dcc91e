from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from studio.annotation import (
    AnnotationService,
    BattleSource,
    Item,
    Label,
    NewLabel,
    NewProject,
    Project,
    Source,
    StoredItem,
    Verdict,
)
from studio.core import LOCAL_ADMIN, Actor, Audit, Database, Lineage, Role, Settings, new_id
from studio.datasets import DatasetService, DatasetVersion, NewVersion, SchemaKind, Split
from studio.jobs import JobService

ANA = Actor("ana", Role.ANNOTATOR)
BEN = Actor("ben", Role.ANNOTATOR)
CAT = Actor("cat", Role.ANNOTATOR)
LEAD = Actor("lead", Role.RESEARCHER)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    at: float = 1_000_000.0

    def __call__(self) -> float:
        return self.at


@dataclass
class Desk:
    database: Database
    lineage: Lineage
    audit: Audit
    datasets: DatasetService
    clock: Clock = field(default_factory=Clock)
    battles: BattleSource | None = None
    annotation: AnnotationService = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A service that remembers nothing but what is stored."""
        self.annotation = AnnotationService(
            self.database, self.datasets, self.lineage, self.audit, self.battles, self.clock
        )

    def version(
        self,
        train: int = 8,
        validation: int = 0,
        name: str = "pairs",
        kind: SchemaKind = SchemaKind.PREFERENCE,
    ) -> DatasetVersion:
        rows = [ROWS[kind](n) for n in range(train + validation)]
        split = {Split.TRAIN: rows[:train], Split.VALIDATION: rows[train:]}
        return self.datasets.create(LOCAL_ADMIN, NewVersion(name, kind, split, ()))

    def project(self, items: int = 8, **asked: Any) -> Project:
        if "dataset" not in asked and asked.get("source") is not Source.ARENA:
            asked["dataset"] = self.version(items).id
        return self.annotation.open_project(LEAD, NewProject(**{"name": "round", **asked}))

    def next(self, project: Project, actor: Actor = ANA, held: tuple[str, ...] = ()) -> Item:
        return self.annotation.next_items(actor, project.id, 1, held)[0]

    def ids(self, project: Project, actor: Actor = ANA, count: int = 50) -> list[str]:
        return [item.id for item in self.annotation.next_items(actor, project.id, count)]

    def label(
        self, item: Item, verdict: Verdict | None = Verdict.A, actor: Actor = ANA, **more: Any
    ) -> Label:
        nonce = more.pop("nonce", None) or new_id("nonce")
        return self.annotation.label(actor, NewLabel(item.project_id, item.id, nonce, verdict, **more))

    def label_all(self, project: Project, actor: Actor = ANA, verdict: Verdict = Verdict.A) -> list[Item]:
        """Label until nothing comes any more; the items in the order in which they came."""
        done: list[Item] = []
        while found := self.annotation.next_items(actor, project.id, 1):
            self.label(found[0], verdict, actor)
            done.append(found[0])
        return done

    def stored(self, project: Project) -> tuple[StoredItem, ...]:
        return self.annotation.store.items(project.id)


def pair(n: int) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": f"Question {n}?"}],
        "chosen": [{"role": "assistant", "content": f"Good answer {n}."}],
        "rejected": [{"role": "assistant", "content": f"Poor answer {n}."}],
    }


def told(n: int) -> dict[str, Any]:
    answer = {"role": "assistant", "content": f"Answer {n}."}
    return {"messages": [{"role": "user", "content": f"Question {n}?"}, answer]}


def thumb(n: int) -> dict[str, Any]:
    completion = [{"role": "assistant", "content": f"Answer {n}."}]
    prompt = [{"role": "user", "content": f"Known {n}?"}]
    return {"prompt": prompt, "completion": completion, "label": n % 2 == 0}


ROWS: dict[SchemaKind, Callable[[int], dict[str, Any]]] = {
    SchemaKind.PREFERENCE: pair,
    SchemaKind.INSTRUCTION: told,
    SchemaKind.UNPAIRED: thumb,
    SchemaKind.CORPUS: lambda n: {"text": f"Words {n}."},
}


def number_of(item: Item) -> int:
    """Which row of the dataset an item is."""
    return int(item.prompt[0]["content"].strip("?").split()[-1])


@pytest.fixture
def desk(database: Database, home: Path, settings: Settings) -> Desk:
    lineage, audit = Lineage(database), Audit(database)
    jobs = JobService(database, home, audit, training_slots=1, stop_grace_seconds=1.0)
    datasets = DatasetService(database, home, jobs, lineage, audit, settings)
    return Desk(database, lineage, audit, datasets)
