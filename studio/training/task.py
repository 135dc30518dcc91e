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
class Source:
    """A dataset that is mixed in beside the main one: Parquet files of canonical rows, and their weight.

    ``name`` is how people call it; ``weight`` counts against those of the others, the main one among them.
    """

    name: str
    weight: float
    train: Path
    validation: Path

    def payload(self) -> dict[str, object]:
        """The source as JSON."""
        places = {name: str(getattr(self, name)) for name in ("train", "validation")}
        return {"name": self.name, "weight": self.weight, **places}

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> Source:
        """The source that ``payload`` describes."""
        return cls(
            name=payload["name"],
            weight=float(payload["weight"]),
            train=Path(payload["train"]),
            validation=Path(payload["validation"]),
        )


@dataclass(frozen=True)
class TrainTask:
    """A run for the worker.

    ``base`` is the folder of whole weights with the tokeniser; ``adapter`` is what the run goes on from,
    None for the base itself. ``train`` and ``validation`` are Parquet files of canonical rows, and ``mix``
    the further ones that the recipe mixes in, in its order. ``tokens`` is the folder in which token folders
    lie, where pre-flights may have made some of these rows. ``resume_step`` is the checkpoint that somebody
    chose to go on from: later ones are then to be removed before training; None takes the newest.
    """

    run_id: str
    recipe: Recipe
    directory: Path
    base: Path
    adapter: Path | None
    train: Path
    validation: Path
    mix: tuple[Source, ...] = ()
    tokens: Path | None = None
    resume_step: int | None = None

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
        return self.directory / (MODEL if self.recipe.method == "full" else ADAPTER)

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
            "mix": [source.payload() for source in self.mix],
            "tokens": str(self.tokens) if self.tokens else None,
            "resume_step": self.resume_step,
        }

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> TrainTask:
        """The task that ``payload`` describes; one from before a field was there lacks it."""
        return cls(
            run_id=payload["run_id"],
            recipe=parse_recipe(Stage(payload["stage"]), payload["recipe"]),
            directory=Path(payload["directory"]),
            base=Path(payload["base"]),
            adapter=_path(payload["adapter"]),
            train=Path(payload["train"]),
            validation=Path(payload["validation"]),
            mix=tuple(Source.from_payload(source) for source in payload.get("mix", ())),
            tokens=_path(payload.get("tokens")),
            resume_step=payload.get("resume_step"),
        )


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None
