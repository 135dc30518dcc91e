from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from studio.annotation import AnnotationService, Item, Label, NewLabel, Queue
from studio.core import LOCAL_ADMIN, Actor, Audit, Database, Lineage, Role, Settings, new_id
from studio.datasets import DatasetService, DatasetVersion, NewVersion, Outcome, SchemaKind, Split
from studio.jobs import JobService

ANA = Actor("ana", Role.ANNOTATOR)
BEN = Actor("ben", Role.ANNOTATOR)


@dataclass(frozen=True)
class Desk:
    database: Database
    lineage: Lineage
    audit: Audit
    datasets: DatasetService
    annotation: AnnotationService

    def version(self, train: int = 8, validation: int = 4, name: str = "pairs") -> DatasetVersion:
        rows = [pair(n) for n in range(train + validation)]
        split = {Split.TRAIN: rows[:train], Split.VALIDATION: rows[train:]}
        return self.datasets.create(LOCAL_ADMIN, NewVersion(name, SchemaKind.PREFERENCE, split, ()))

    def queue(self, train: int = 8, validation: int = 4) -> Queue:
        return self.annotation.open_queue(LOCAL_ADMIN, self.version(train, validation).id, "first round")

    def ids(
        self, queue: Queue, count: int = 100, after: tuple[str, ...] = (), actor: Actor = ANA
    ) -> list[int]:
        return [item.position for item in self.annotation.next_items(actor, queue.id, count, after)]

    def next(self, queue: Queue, actor: Actor = ANA) -> Item:
        return self.annotation.next_items(actor, queue.id, 1)[0]

    def label(self, item: Item, outcome: Outcome = Outcome.A, actor: Actor = ANA) -> Label:
        return self.annotation.label(actor, NewLabel(item.queue_id, item.id, outcome, new_id("nonce")))


def pair(n: int) -> dict[str, object]:
    return {
        "prompt": [{"role": "user", "content": f"Question {n}?"}],
        "chosen": [{"role": "assistant", "content": f"Good answer {n}."}],
        "rejected": [{"role": "assistant", "content": f"Poor answer {n}."}],
    }


@pytest.fixture
def desk(database: Database, home: Path, settings: Settings) -> Desk:
    lineage, audit = Lineage(database), Audit(database)
    jobs = JobService(database, home, audit, training_slots=1, stop_grace_seconds=1.0)
    datasets = DatasetService(database, home, jobs, lineage, audit, settings)
    return Desk(database, lineage, audit, datasets, AnnotationService(database, datasets, lineage, audit))
