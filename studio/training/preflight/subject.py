"""What a pre-flight is about: a recipe with its model and datasets looked up, as far as they are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from studio.core import SYSTEM, Actor, StudioError, read_json
from studio.datasets import DatasetVersion
from studio.registry import ModelKind, ModelVersion
from studio.training.plan import pinned
from studio.training.preflight.records import Finding, Severity
from studio.training.preflight.token_files import tokens_digest
from studio.training.recipes import Recipe

if TYPE_CHECKING:
    from studio.datasets import DatasetService
    from studio.registry import RegistryService

Found = TypeVar("Found")


@dataclass(frozen=True)
class Subject:
    """A recipe whose references all stand for something; ``datasets`` has the main one first."""

    recipe: Recipe
    model: ModelVersion
    base: ModelVersion
    datasets: tuple[DatasetVersion, ...]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The base model's configuration, that of its text part over the whole; empty where unreadable."""
        found = _json(self.base.path / "config.json")
        text = found.get("text_config")
        return {**found, **text} if isinstance(text, dict) else found

    @property
    def adapter(self) -> ModelVersion | None:
        """The adapter that the run goes on from."""
        return self.model if self.model.kind is ModelKind.ADAPTER else None

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """The name of each dataset's token folder."""
        return tuple(tokens_digest(one.directory, self.base.path, self.recipe) for one in self.datasets)

    @property
    def exact(self) -> Recipe:
        """The recipe with ids in place of names, which may come to stand for others."""
        return pinned(self.recipe, self.model.id, tuple(one.id for one in self.datasets))

    def field_of(self, place: int) -> str:
        """The recipe's field that names the dataset at ``place``."""
        return "dataset" if place == 0 else f"mix.{place - 1}.dataset"


def look_up(
    actor: Actor, recipe: Recipe, datasets: DatasetService, registry: RegistryService
) -> tuple[Subject | None, tuple[Finding, ...]]:
    """What ``recipe`` is about; None with the reasons where something that it names is not there."""
    missing: list[Finding] = []
    model = _tried("model", lambda: registry.version(actor, recipe.model), missing)
    references = (recipe.dataset, *(source.dataset for source in recipe.mix))
    found = []
    for place, reference in enumerate(references):
        field = "dataset" if place == 0 else f"mix.{place - 1}.dataset"
        version = _tried(field, lambda name=reference: datasets.version(actor, name), missing)  # type: ignore[misc]
        if version is not None:
            found.append(version)
    if model is None or missing:
        return None, tuple(missing)
    # Whoever may use an adapter may use it on its base.
    base = registry.version(SYSTEM, model.base_id)
    return Subject(recipe, model, base, tuple(found)), ()


def _tried(field: str, look: Callable[[], Found], missing: list[Finding]) -> Found | None:
    try:
        return look()
    except StudioError as error:
        missing.append(Finding(Severity.ERROR, field, error.message, error.todo))
        return None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
