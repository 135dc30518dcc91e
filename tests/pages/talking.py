"""A studio whose models answer from a script: real services over a backend that needs no model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from studio.arena import ArenaService
from studio.core import LOCAL_ADMIN
from studio.registry import ModelKind, ModelVersion, NewWeights
from studio.serving import ServingService
from studio.studio import Studio
from tests.unit.arena.fakes import FakeBackend


def with_backend(studio: Studio) -> tuple[Studio, FakeBackend]:
    """``studio`` with a backend of its own; the databases stay."""
    backend = FakeBackend()
    serving = ServingService(
        studio.database,
        studio.settings.home,
        studio.registry,
        studio.lineage,
        studio.audit,
        studio.settings,
        backend=backend,
    )
    arena = ArenaService(studio.database, serving, studio.registry, studio.lineage, studio.audit)
    serving.hide_when(arena.hides, arena.hidden, arena.beside_private)
    return replace(studio, serving=serving, arena=arena), backend


def adapter_of(studio: Studio, base: ModelVersion, folder: Path) -> ModelVersion:
    """An adapter that is registered and never loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    new = NewWeights("taught", ModelKind.ADAPTER, folder, base.id, base.id, "run_1", 1024)
    return studio.registry.register_weights(LOCAL_ADMIN, new)
