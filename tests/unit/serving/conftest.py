"""One engine for the tests of the room: a real subprocess, fp32, tiny model, two real adapters."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from studio.core import LOCAL_ADMIN, Audit, Database, Lineage, Settings
from studio.jobs import JobService
from studio.registry import BaseSource, ModelKind, ModelVersion, NewWeights, RegistryService
from studio.serving import (
    Backend,
    BackendRow,
    ChatMessage,
    EngineStatus,
    RowStream,
    Sampling,
    ServingService,
)
from studio.serving.backends.local import LocalBackend
from tests.unit.serving.adapters import NAMES, Reference, build_adapters

# The engines inherit it: a tiny model gains nothing from threads, and on a busy machine loses much.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def reference(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return build_adapters(tiny_model, tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="session")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    local = LocalBackend(tmp_path_factory.mktemp("engines"), dtype="fp32")
    yield local
    local.close()


@dataclass(frozen=True)
class Rows:
    """Makes backend rows on the tiny model."""

    model: Path
    reference: Reference

    def row(self, adapter: str | None, prompt: str, **sampling: float | int) -> BackendRow:
        values = {"temperature": 0.0, "max_tokens": 40, "seed": 0, **sampling}
        return BackendRow(
            base_id="tiny",
            base_path=self.model,
            adapter_id=adapter,
            adapter_path=self.reference.path(adapter) if adapter else None,
            messages=(ChatMessage(role="user", content=prompt),),
            sampling=Sampling(**values),
        )


@pytest.fixture(scope="session")
def rows(tiny_model: Path, reference: Reference) -> Rows:
    return Rows(tiny_model, reference)


@dataclass(frozen=True)
class Shelf:
    """A registry with the tiny model and its two adapters."""

    registry: RegistryService
    lineage: Lineage
    audit: Audit
    base: ModelVersion
    first: ModelVersion
    second: ModelVersion


@pytest.fixture
def shelf(database: Database, settings: Settings, tiny_model: Path, reference: Reference) -> Shelf:
    audit, lineage = Audit(database), Lineage(database)
    jobs = JobService(database, settings.home, audit, training_slots=1, stop_grace_seconds=5.0)
    registry = RegistryService(database, settings.home, jobs, lineage, audit)
    base = registry.register_base(LOCAL_ADMIN, BaseSource(str(tiny_model), "tiny"))
    first, second = (
        registry.register_weights(
            LOCAL_ADMIN,
            NewWeights(name, ModelKind.ADAPTER, reference.path(name), base.id, base.id, f"run_{name}", 1),
        )
        for name in NAMES
    )
    return Shelf(registry, lineage, audit, base, first, second)


def make_service(
    database: Database, settings: Settings, shelf: Shelf, backend: Backend | None
) -> ServingService:
    return ServingService(
        database, settings.home, shelf.registry, shelf.lineage, shelf.audit, settings, backend=backend
    )


class SharedEngine:
    """The shared backend for a service whose registry gave the tiny model an id of its own."""

    def __init__(self, backend: LocalBackend) -> None:
        self._backend = backend

    def generate(self, rows: Sequence[BackendRow]) -> RowStream:
        return self._backend.generate([replace(row, base_id="tiny") for row in rows])

    def status(self) -> tuple[EngineStatus, ...]:
        return self._backend.status()

    def unload(self, base_id: str) -> None:
        self._backend.unload("tiny")

    def tick(self) -> None:
        self._backend.tick()

    def close(self) -> None:
        pass


@pytest.fixture
def serving(database: Database, settings: Settings, shelf: Shelf, backend: LocalBackend) -> ServingService:
    """The service on the shared engine."""
    return make_service(database, settings, shelf, SharedEngine(backend))
