"""From a recipe's words to what they stand for: which model, on which base, learns from which rows.

Everything that can be known before a job is made is checked here, and all of it is said at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, TypeVar

from studio.core import SYSTEM, Actor, InvalidInput, Node, StudioError, read_json
from studio.datasets import DatasetVersion, SchemaKind, Split
from studio.registry import ModelKind, ModelVersion
from studio.training.engines.external import axolotl, environments, llamafactory
from studio.training.recipes import Recipe
from studio.training.records import Stage
from studio.training.task import Source, TrainTask

if TYPE_CHECKING:
    from studio.datasets import DatasetService
    from studio.registry import RegistryService

_KINDS = {
    Stage.CPT: SchemaKind.CORPUS,
    Stage.SFT: SchemaKind.INSTRUCTION,
    Stage.DPO: SchemaKind.PREFERENCE,
    Stage.KTO: SchemaKind.UNPAIRED,
    Stage.REWARD: SchemaKind.PREFERENCE,
}
_REFUSALS = {"llamafactory": llamafactory.refusals, "axolotl": axolotl.refusals}
#: What a run's outcome depends on beside its recipe.
_PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "trl",
    "accelerate",
    "datasets",
    "tokenizers",
    "safetensors",
    "bitsandbytes",
)

Found = TypeVar("Found")


@dataclass(frozen=True)
class Plan:
    """A recipe with its references looked up; ``mix`` are the further datasets in the recipe's order."""

    recipe: Recipe
    model: ModelVersion
    base: ModelVersion
    dataset: DatasetVersion
    mix: tuple[DatasetVersion, ...] = ()

    @property
    def output(self) -> str:
        """The name of the model that the run makes."""
        return output_name(self.recipe, self.model)

    @property
    def datasets(self) -> tuple[DatasetVersion, ...]:
        """Every dataset that is learnt from, the main one first."""
        return (self.dataset, *self.mix)

    def task(
        self, run_id: str, directory: Path, tokens: Path | None = None, resume_step: int | None = None
    ) -> TrainTask:
        """What the worker is given; ``tokens`` is where token files lie, ``resume_step`` where to go on."""
        sources = zip(self.recipe.mix, self.mix, strict=True)
        return TrainTask(
            run_id=run_id,
            recipe=self.recipe,
            directory=directory,
            base=self.base.path,
            adapter=self.model.path if self.model.kind is ModelKind.ADAPTER else None,
            train=self.dataset.file(Split.TRAIN),
            validation=self.dataset.file(Split.VALIDATION),
            mix=tuple(
                Source(one.reference, source.weight, one.file(Split.TRAIN), one.file(Split.VALIDATION))
                for source, one in sources
            ),
            tokens=tokens,
            resume_step=resume_step,
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
        datasets = self._sources(actor, recipe, errors)
        # Whoever may use an adapter may use it on its base, be the base private or not.
        base = self._registry.version(SYSTEM, model.base_id) if model else None
        errors += untranslatable(recipe, model)
        if model is not None and base is not None:
            errors += _check_model(recipe, model, base)
            errors += self._check_output(actor, recipe, model, datasets)
        if errors or model is None or base is None:
            raise InvalidInput(
                "This run cannot be started.", "Mend the fields below; nothing was started.", tuple(errors)
            )
        return Plan(recipe, model, base, datasets[0], datasets[1:])

    def _sources(self, actor: Actor, recipe: Recipe, errors: list[str]) -> tuple[DatasetVersion, ...]:
        """The datasets that there are; with those that are not, ``errors`` grows."""
        found: dict[str, DatasetVersion] = {}
        for field, reference in _references(recipe):
            version = _tried(field, lambda name=reference: self._datasets.version(actor, name), errors)  # type: ignore[misc]
            if version is None:
                continue
            if version.id in found:
                errors.append(f"{field}: {version.reference} is named twice; name it once.")
            found[version.id] = version
            errors += _check_dataset(field, recipe, version)
            errors += self._protected(actor, field, version)
        return tuple(found.values())

    def _protected(self, actor: Actor, field: str, dataset: DatasetVersion) -> list[str]:
        # A run that was started was checked then; the studio only hands it to its job again.
        refusal = self._datasets.protected_in(actor, dataset.id) if actor != SYSTEM else None
        if refusal is None:
            return []
        return [f"{field}: {refusal.message} {refusal.todo} ({', '.join(refusal.details)})"]

    def _check_output(
        self, actor: Actor, recipe: Recipe, model: ModelVersion, datasets: tuple[DatasetVersion, ...]
    ) -> list[str]:
        name = output_name(recipe, model)
        if recipe.output and model.kind is ModelKind.BASE and model.name == name:
            return [f"output: {name} is the base model itself; choose another name."]
        errors: list[str] = []
        made_of = [Node("dataset", dataset.dataset_id) for dataset in datasets]
        _tried("output", lambda: self._registry.admit(actor, name, model.id, made_of), errors)
        return errors


def output_name(recipe: Recipe, model: ModelVersion) -> str:
    """The name of the model that a run of ``recipe`` makes."""
    return recipe.output or f"{model.name}-{recipe.STAGE.value}"[:80]


def pinned(recipe: Recipe, model: str, datasets: tuple[str, ...]) -> Recipe:
    """The recipe with exact versions in place of names that may come to mean others.

    ``datasets`` are those of the recipe in its order, the main one first.
    """
    mix = tuple(
        source.model_copy(update={"dataset": exact})
        for source, exact in zip(recipe.mix, datasets[1:], strict=True)
    )
    return recipe.model_copy(update={"model": model, "dataset": datasets[0], "mix": mix})


def untranslatable(recipe: Recipe, model: ModelVersion | None) -> tuple[str, ...]:
    """What the recipe's engine cannot do of it, a line each that opens with the field."""
    adapter = model.path if model is not None and model.kind is ModelKind.ADAPTER else None
    asked = _REFUSALS.get(recipe.engine)
    return tuple(asked(recipe, adapter)) if asked else ()


def installed_packages(home: Path | None = None, engine: str = "trl") -> dict[str, str]:
    """The versions of what trains, read without importing any of it.

    Another engine's are those of its own environment on the studio's ``home``.
    """
    other = environments.find(home, engine) if home is not None and engine != "trl" else None
    if other is not None:
        return dict(other.packages)
    found = {"python": python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _references(recipe: Recipe) -> Iterator[tuple[str, str]]:
    yield "dataset", recipe.dataset
    for place, source in enumerate(recipe.mix):
        yield f"mix.{place}.dataset", source.dataset


def _tried(field: str, look: Callable[[], Found], errors: list[str]) -> Found | None:
    try:
        return look()
    except StudioError as error:
        errors.append(f"{field}: {error.message} {error.todo}".strip())
        return None


def _check_dataset(field: str, recipe: Recipe, dataset: DatasetVersion) -> list[str]:
    wanted = _KINDS[recipe.STAGE]
    errors = []
    if dataset.kind is not wanted:
        errors.append(
            f"{field}: {dataset.reference} is of kind {dataset.kind.value}, and "
            f"{recipe.STAGE.value.upper()} learns from kind {wanted.value}."
        )
    if not dataset.rows.get(Split.TRAIN):
        errors.append(f"{field}: {dataset.reference} has no training rows; import it with a smaller share.")
    return errors


def _check_model(recipe: Recipe, model: ModelVersion, base: ModelVersion) -> list[str]:
    errors = []
    if recipe.method == "full" and model.kind is ModelKind.ADAPTER:
        errors.append(
            f"method: {model.reference} is an adapter, and full training needs whole weights; "
            "take method: lora, or its base as the model."
        )
    scores = _gives_scores(model)
    if scores and recipe.STAGE is not Stage.REWARD:
        errors.append(f"model: {model.reference} scores answers and writes none; take a model that writes.")
    if not scores and recipe.STAGE is Stage.REWARD and model.kind is ModelKind.ADAPTER:
        errors.append(
            f"model: {model.reference} is an adapter that writes, and a reward model begins with whole "
            "weights or with another reward adapter; take its base."
        )
    config = read_json(base.path / "config.json") or {}
    longest = config.get("max_position_embeddings") if isinstance(config, dict) else None
    if isinstance(longest, int) and recipe.max_length > longest:
        errors.append(
            f"max_length: {recipe.max_length} is longer than the {longest} that the model can take."
        )
    return errors


def _gives_scores(model: ModelVersion) -> bool:
    """Whether the version is a reward model: it then has a head for numbers and none for words."""
    name = "adapter_config.json" if model.kind is ModelKind.ADAPTER else "config.json"
    try:
        config = read_json(model.path / name)
    except (OSError, ValueError):
        return False
    if not isinstance(config, dict):
        return False
    built = config.get("architectures") or []
    return config.get("task_type") == "SEQ_CLS" or any("SequenceClassification" in str(one) for one in built)
