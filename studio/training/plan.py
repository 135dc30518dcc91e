"""From a recipe's words to what they stand for: which model, on which base, learns from which rows.

Everything that can be known before a job is made is checked here, and all of it is said at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, TypeVar

from studio.core import SYSTEM, Actor, InvalidInput, Node, StudioError, read_json
from studio.datasets import DatasetVersion, SchemaKind, Split
from studio.registry import ModelKind, ModelVersion
from studio.training.recipes import Recipe
from studio.training.records import Stage
from studio.training.task import TrainTask

if TYPE_CHECKING:
    from studio.datasets import DatasetService
    from studio.registry import RegistryService

_KINDS = {
    Stage.CPT: SchemaKind.CORPUS,
    Stage.SFT: SchemaKind.INSTRUCTION,
    Stage.DPO: SchemaKind.PREFERENCE,
}
#: What a run's outcome depends on beside its recipe.
_PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "datasets", "tokenizers", "safetensors")

Found = TypeVar("Found")


@dataclass(frozen=True)
class Plan:
    """A recipe with its references looked up."""

    recipe: Recipe
    model: ModelVersion
    base: ModelVersion
    dataset: DatasetVersion

    @property
    def output(self) -> str:
        """The name of the model that the run makes."""
        return output_name(self.recipe, self.model)

    def task(self, run_id: str, directory: Path) -> TrainTask:
        """What the worker is given."""
        return TrainTask(
            run_id=run_id,
            recipe=self.recipe,
            directory=directory,
            base=self.base.path,
            adapter=self.model.path if self.model.kind is ModelKind.ADAPTER else None,
            train=self.dataset.file(Split.TRAIN),
            validation=self.dataset.file(Split.VALIDATION),
        )


class Planner:
    """Looks references up and checks that they fit."""

    def __init__(self, datasets: DatasetService, registry: RegistryService) -> None:
        self._datasets = datasets
        self._registry = registry

    def plan(self, actor: Actor, recipe: Recipe) -> Plan:
        """The plan of a recipe.

        Raises:
            InvalidInput: Something it names does not exist or does not fit; ``details`` say all of it.
        """
        errors: list[str] = []
        model = _tried("model", lambda: self._registry.version(actor, recipe.model), errors)
        dataset = _tried("dataset", lambda: self._datasets.version(actor, recipe.dataset), errors)
        if dataset is not None:
            errors += _check_dataset(recipe, dataset)
            errors += self._protected(actor, dataset)
        # Whoever may use an adapter may use it on its base, be the base private or not.
        base = self._registry.version(SYSTEM, model.base_id) if model else None
        if model is not None and base is not None:
            errors += _check_model(recipe, model, base)
            errors += self._check_output(actor, recipe, model, dataset)
        if errors or model is None or dataset is None or base is None:
            raise InvalidInput(
                "This run cannot be started.", "Mend the fields below; nothing was started.", tuple(errors)
            )
        return Plan(recipe, model, base, dataset)

    def _protected(self, actor: Actor, dataset: DatasetVersion) -> list[str]:
        # A run that was started was checked then; the studio only hands it to its job again.
        refusal = self._datasets.protected_in(actor, dataset.id) if actor != SYSTEM else None
        if refusal is None:
            return []
        return [f"dataset: {refusal.message} {refusal.todo} ({', '.join(refusal.details)})"]

    def _check_output(
        self, actor: Actor, recipe: Recipe, model: ModelVersion, dataset: DatasetVersion | None
    ) -> list[str]:
        name = output_name(recipe, model)
        if recipe.output and model.kind is ModelKind.BASE and model.name == name:
            return [f"output: {name} is the base model itself; choose another name."]
        errors: list[str] = []
        made_of = (Node("dataset", dataset.dataset_id),) if dataset else ()
        _tried("output", lambda: self._registry.admit(actor, name, model.id, made_of), errors)
        return errors


def output_name(recipe: Recipe, model: ModelVersion) -> str:
    """The name of the model that a run of ``recipe`` makes."""
    return recipe.output or f"{model.name}-{recipe.STAGE.value}"[:80]


def installed_packages() -> dict[str, str]:
    """The versions of what trains, read without importing any of it."""
    found = {"python": python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _tried(field: str, look: Callable[[], Found], errors: list[str]) -> Found | None:
    try:
        return look()
    except StudioError as error:
        errors.append(f"{field}: {error.message} {error.todo}".strip())
        return None


def _check_dataset(recipe: Recipe, dataset: DatasetVersion) -> list[str]:
    wanted = _KINDS[recipe.STAGE]
    errors = []
    if dataset.kind is not wanted:
        errors.append(
            f"dataset: {dataset.reference} is of kind {dataset.kind.value}, and "
            f"{recipe.STAGE.value.upper()} learns from kind {wanted.value}."
        )
    if not dataset.rows.get(Split.TRAIN):
        errors.append(f"dataset: {dataset.reference} has no training rows; import it with a smaller share.")
    return errors


def _check_model(recipe: Recipe, model: ModelVersion, base: ModelVersion) -> list[str]:
    errors = []
    if recipe.method == "full" and model.kind is ModelKind.ADAPTER:
        errors.append(
            f"method: {model.reference} is an adapter, and full training needs whole weights; "
            "take method: lora, or its base as the model."
        )
    config = read_json(base.path / "config.json") or {}
    longest = config.get("max_position_embeddings") if isinstance(config, dict) else None
    if isinstance(longest, int) and recipe.max_length > longest:
        errors.append(
            f"max_length: {recipe.max_length} is longer than the {longest} that the model can take."
        )
    return errors
