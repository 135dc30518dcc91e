"""What the service hands to its worker: one run, with every reference turned into a path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.training.recipes import Recipe, dump_recipe, parse_recipe
from studio.training.records import Stage

METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
ADAPTER = "adapter"
MODEL = "model"
RECIPE = "recipe.yaml"
RESULT = "result.json"
USAGE = "usage.json"


@dataclass(frozen=True)
class TrainTask:
    """A run for the worker.

    ``base`` is the folder of whole weights with the tokeniser; ``adapter`` is what the run goes on from,
    None for the base itself. ``train`` and ``validation`` are Parquet files of canonical rows.
    """

    run_id: str
    recipe: Recipe
    directory: Path
    base: Path
    adapter: Path | None
    train: Path
    validation: Path

    @property
    def stage(self) -> Stage:
        """What the run teaches."""
        return self.recipe.STAGE

    @property
    def metrics(self) -> Path:
        """The metrics file."""
        return self.directory / METRICS

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints stand."""
        return self.directory / CHECKPOINTS

    @property
    def usage(self) -> Path:
        """Where the worker leaves its peak memory, however it ends."""
        return self.directory / USAGE

    @property
    def output(self) -> Path:
        """Where the finished weights go."""
        return self.directory / (ADAPTER if self.recipe.method == "lora" else MODEL)

    def payload(self) -> dict[str, object]:
        """The task as JSON; ``from_payload`` reads it back."""
        return {
            "run_id": self.run_id,
            "stage": self.stage.value,
            "recipe": dump_recipe(self.recipe),
            "directory": str(self.directory),
            "base": str(self.base),
            "adapter": str(self.adapter) if self.adapter else None,
            "train": str(self.train),
            "validation": str(self.validation),
        }

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> TrainTask:
        """The task that ``payload`` describes."""
        return cls(
            run_id=payload["run_id"],
            recipe=parse_recipe(Stage(payload["stage"]), payload["recipe"]),
            directory=Path(payload["directory"]),
            base=Path(payload["base"]),
            adapter=Path(payload["adapter"]) if payload["adapter"] else None,
            train=Path(payload["train"]),
            validation=Path(payload["validation"]),
        )
