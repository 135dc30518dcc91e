"""Runs: a recipe, a model and a dataset become new weights, with curves to watch while they do.

The service checks and records runs and hands them to the job room; a worker in its own process trains,
writes metrics and checkpoints into the run's directory, and can be stopped and resumed. What a
finished run made is registered as a model version together with what it came from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from studio.training.records import (
    Checkpoint,
    Comparison,
    FailureCard,
    FailureKind,
    Points,
    QueuedRun,
    Run,
    Stage,
    StartRun,
)

if TYPE_CHECKING:
    from studio.training.recipes import (
        RECIPES,
        CptRecipe,
        DpoRecipe,
        KtoRecipe,
        LoraSettings,
        MixSource,
        Recipe,
        RewardRecipe,
        SftRecipe,
        dump_recipe,
        field_help,
        load_config,
        parse_recipe,
        recipe_text,
        stage_of,
    )
    from studio.training.service import TrainingService

__all__ = [
    "RECIPES",
    "Checkpoint",
    "Comparison",
    "CptRecipe",
    "DpoRecipe",
    "FailureCard",
    "FailureKind",
    "KtoRecipe",
    "LoraSettings",
    "MixSource",
    "Points",
    "QueuedRun",
    "Recipe",
    "RewardRecipe",
    "Run",
    "SftRecipe",
    "Stage",
    "StartRun",
    "TrainingService",
    "dump_recipe",
    "field_help",
    "load_config",
    "parse_recipe",
    "recipe_text",
    "stage_of",
]


def __getattr__(name: str) -> Any:
    # The trainer, the model server and the evaluator import this package for its small modules; the
    # database is for the web process only.
    if name == "TrainingService":
        from studio.training.service import TrainingService

        return TrainingService
    if name in __all__:
        from studio.training import recipes

        return getattr(recipes, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
