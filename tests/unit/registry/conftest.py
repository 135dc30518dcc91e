from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core import Audit, Database, Lineage, Settings
from studio.jobs import JobService
from studio.registry import RegistryService


@pytest.fixture
def audit(database: Database) -> Audit:
    return Audit(database)


@pytest.fixture
def lineage(database: Database) -> Lineage:
    return Lineage(database)


@pytest.fixture
def jobs(database: Database, home: Path, audit: Audit, settings: Settings) -> Iterator[JobService]:
    return JobService(database, home, audit, training_slots=1, stop_grace_seconds=10.0)


@pytest.fixture
def registry(
    database: Database, home: Path, jobs: JobService, lineage: Lineage, audit: Audit
) -> RegistryService:
    return RegistryService(database, home, jobs, lineage, audit)
