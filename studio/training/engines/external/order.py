"""What a translation is made from: a recipe, what it goes on from, and where everything lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core import read_json
from studio.training.recipes import Recipe

TRAIN = "train.jsonl"
EVALUATION = "evaluation.jsonl"
_LOW = ("bfloat16", "float16")


@dataclass(frozen=True)
class Order:
    """One run in folders and facts.

    ``base`` holds whole weights, a tokeniser and a chat template, ``adapter`` what the run goes on from.
    ``data`` holds the rows, in which an epoch stands ``laps`` times behind each other where datasets are
    mixed. ``checkpoint`` is where the run goes on. ``half`` says that the base is stored in half precision,
    ``gpu`` that there is one.
    """

    recipe: Recipe
    base: Path
    adapter: Path | None
    data: Path
    output: Path
    evaluates: bool
    laps: int = 1
    checkpoint: Path | None = None
    half: bool = False
    gpu: bool = False

    @property
    def precision(self) -> str:
        """``bf16``, ``fp16`` or ``fp32``: what the recipe says, or what fits the stored weights."""
        if self.recipe.dtype != "auto":
            return self.recipe.dtype
        return "bf16" if self.half else "fp32"

    @property
    def warm_up(self) -> float:
        """Share of the steps in which the rate rises."""
        return 0.0 if self.recipe.scheduler == "constant" else self.recipe.warmup_ratio

    @property
    def epochs(self) -> float:
        """Passes over the rows as they were written."""
        return self.recipe.epochs / self.laps


def stored_in_half(base: Path) -> bool:
    """Whether the weights in ``base`` are stored in 16 bits, by their configuration."""
    config = _object(base / "config.json")
    return str(config.get("dtype") or config.get("torch_dtype") or "") in _LOW


def common_refusals(title: str, recipe: Recipe, adapter: Path | None) -> Iterator[str]:
    """What neither engine can do, a line each that opens with the recipe's field."""
    if recipe.parallel != "ddp":
        yield f"parallel: {recipe.parallel} is not translated for {title}; take ddp, or engine: trl."
    if recipe.keep_best and recipe.eval_every % recipe.save_every:
        yield (
            f"save_every: with keep_best, {title} has to save wherever it evaluates; give a number that "
            f"{recipe.eval_every} (eval_every) is a multiple of, or take engine: trl."
        )
    if adapter is None or not recipe.adapts:
        return
    dropout = float(_object(adapter / "adapter_config.json").get("lora_dropout") or 0.0)
    if dropout != recipe.lora.dropout:
        yield (
            f"lora.dropout: {title} keeps the dropout of the adapter that the run goes on from; give "
            f"{dropout:g}, or take engine: trl."
        )


def _object(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
