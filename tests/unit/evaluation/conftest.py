from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from studio.core import LOCAL_ADMIN, Audit, Database, Lineage, Settings
from studio.datasets import DatasetService, DatasetVersion, NewVersion, SchemaKind, Split
from studio.evaluation import EvaluationService
from studio.jobs import JobService
from studio.registry import BaseSource, ModelKind, ModelVersion, NewWeights, RegistryService

_LORA = """
import sys, torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
torch.manual_seed(0)
# An alpha this high makes the random adapter opinionated, so that pairs stand clear of rounding.
config = LoraConfig(
    task_type="CAUSAL_LM", r=4, lora_alpha=400, target_modules="all-linear", init_lora_weights=False)
get_peft_model(AutoModelForCausalLM.from_pretrained(sys.argv[1]), config).save_pretrained(sys.argv[2])
"""


@pytest.fixture(scope="session")
def tiny_adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter of the tiny model with random weights that do change its answers."""
    folder = tmp_path_factory.mktemp("lora") / "adapter"
    subprocess.run([sys.executable, "-c", _LORA, str(tiny_model), str(folder)], check=True)
    return folder


@pytest.fixture
def audit(database: Database) -> Audit:
    return Audit(database)


@pytest.fixture
def jobs(database: Database, home: Path, audit: Audit) -> JobService:
    return JobService(database, home, audit, training_slots=1, stop_grace_seconds=10.0)


@pytest.fixture
def datasets(
    database: Database, home: Path, jobs: JobService, audit: Audit, settings: Settings
) -> DatasetService:
    return DatasetService(database, home, jobs, Lineage(database), audit, settings)


@pytest.fixture
def registry(database: Database, home: Path, jobs: JobService, audit: Audit) -> RegistryService:
    return RegistryService(database, home, jobs, Lineage(database), audit)


@pytest.fixture
def evaluation(
    home: Path, jobs: JobService, datasets: DatasetService, registry: RegistryService, audit: Audit
) -> EvaluationService:
    return EvaluationService(home, jobs, datasets, registry, audit)


@pytest.fixture
def base(registry: RegistryService, tiny_model: Path) -> ModelVersion:
    return registry.register_base(LOCAL_ADMIN, BaseSource(str(tiny_model), "tiny"))


@pytest.fixture
def adapter(registry: RegistryService, base: ModelVersion, tiny_adapter: Path) -> ModelVersion:
    new = NewWeights("tuned", ModelKind.ADAPTER, tiny_adapter, base.id, base.id, "run_1", 1000)
    return registry.register_weights(LOCAL_ADMIN, new)


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@pytest.fixture
def instructions(datasets: DatasetService) -> DatasetVersion:
    """Twelve conversations for validation: one of two turns, and one far too long for the tiny model."""
    rows = [
        {"messages": [turn("user", f"Say {i} " * (i + 1)), turn("assistant", f"I say {i}." * (i % 3 + 1))]}
        for i in range(10)
    ]
    two = [turn("user", "One?"), turn("assistant", "Yes, one.")]
    two += [turn("user", "Two?"), turn("assistant", "Two.")]
    rows += [{"messages": two}, {"messages": [turn("user", "long " * 2000), turn("assistant", "No.")]}]
    return _create(datasets, SchemaKind.INSTRUCTION, rows)


@pytest.fixture
def preferences(datasets: DatasetService) -> DatasetVersion:
    """Seven pairs for validation."""
    rows = [
        {
            "prompt": [turn("user", f"Question {i}")],
            "chosen": [turn("assistant", f"A good answer {i}")],
            "rejected": [turn("assistant", f"def {i}(): pass" * (i + 1))],
        }
        for i in range(7)
    ]
    return _create(datasets, SchemaKind.PREFERENCE, rows)


def _create(datasets: DatasetService, kind: SchemaKind, rows: list[dict[str, object]]) -> DatasetVersion:
    sides = {Split.TRAIN: [], Split.VALIDATION: rows}
    return datasets.create(LOCAL_ADMIN, NewVersion(f"{kind}-set", kind, sides, steps=()))
