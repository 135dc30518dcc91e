"""A dataset service in a home of its own, and writers of small real files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from studio.core import Audit, Database, Lineage, Settings
from studio.datasets import DatasetService
from studio.jobs import JobService


@dataclass(frozen=True)
class Room:
    """The service and what it stands on."""

    datasets: DatasetService
    jobs: JobService
    lineage: Lineage
    audit: Audit
    database: Database
    settings: Settings


def open_room(settings: Settings, database: Database) -> Room:
    lineage, audit = Lineage(database), Audit(database)
    jobs = JobService(database, settings.home, audit, training_slots=1, stop_grace_seconds=5)
    datasets = DatasetService(database, settings.home, jobs, lineage, audit, settings)
    return Room(datasets, jobs, lineage, audit, database, settings)


@pytest.fixture
def room(settings: Settings, database: Database) -> Room:
    made = open_room(settings, database)
    yield made
    made.jobs.close()


@pytest.fixture
def datasets(room: Room) -> DatasetService:
    return room.datasets


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., Path]:
    def write(rows: list[object], name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def instruction(question: str, answer: str) -> dict[str, object]:
    return {"messages": [user(question), assistant(answer)]}


def preference(question: str, chosen: str, rejected: str) -> dict[str, object]:
    return {"prompt": [user(question)], "chosen": [assistant(chosen)], "rejected": [assistant(rejected)]}
