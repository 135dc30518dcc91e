"""Canonical rows written as the engines read them: JSON lines, a file for training and one for evaluation.

Datasets that are mixed are mixed here, by the studio's own rule: the epochs of the mixture stand behind each
other in one file, so that a source's rows come as often as in a run of the studio's own worker. What an
engine cannot take (turns that do not alternate, for LLaMA-Factory) is left out and counted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core import InvalidInput
from studio.datasets.parquet_files import read_rows
from studio.training.engines.external.order import EVALUATION, TRAIN
from studio.training.engines.mixing import Mixture, sample
from studio.training.records import Stage
from studio.training.task import TrainTask

Row = dict[str, Any]
Turns = Sequence[Mapping[str, str]]
#: A row as an engine reads it; None where the engine cannot take it.
Shape = Callable[[Row], Row | None]


@dataclass(frozen=True)
class Written:
    """Rows of each file, how many epochs stand in the training file, and how many were left out."""

    train: int
    evaluation: int
    laps: int
    left_out: int


def shapes(engine: str) -> dict[Stage, Shape]:
    """How rows are written for an engine, by what is taught."""
    alternating = engine == "llamafactory"
    return {
        Stage.CPT: lambda row: {"text": row["text"]},
        Stage.SFT: lambda row: _conversation(row["messages"], alternating),
        Stage.DPO: lambda row: _pair(row, alternating),
        Stage.KTO: lambda row: _judged(row, alternating),
    }


def write(task: TrainTask, engine: str, folder: Path) -> Written:
    """Write the rows of ``task`` into ``folder``.

    Raises:
        InvalidInput: There is no row that the engine can take.
    """
    shape = shapes(engine)[task.stage]
    folder.mkdir(parents=True, exist_ok=True)
    sources = [_shaped(path, shape) for path in (task.train, *(source.train for source in task.mix))]
    names = ("the dataset", *(source.name for source in task.mix))
    for name, (kept, left_out) in zip(names, sources, strict=True):
        if not kept:
            raise InvalidInput(
                f"No training row of {name} can be handed to {engine} ({left_out} were left out).",
                "Look at the rows, or take engine: trl.",
            )
    order, laps = _order(task, [len(kept) for kept, _ in sources])
    every = [row for kept, _ in sources for row in kept]
    _write(folder / TRAIN, (every[place] for place in order))
    held_out = [_shaped(path, shape) for path in (task.validation, *(one.validation for one in task.mix))]
    asked = [row for kept, _ in held_out for row in kept]
    chosen = [asked[place] for place in sample(len(asked), task.recipe.eval_rows, task.recipe.seed)]
    _write(folder / EVALUATION, iter(chosen))
    left_out = sum(left for _, left in (*sources, *held_out))
    return Written(len(order), len(chosen), laps, left_out)


def _order(task: TrainTask, sizes: list[int]) -> tuple[list[int], int]:
    """The places of the rows in the training file, and how many epochs they make."""
    if not task.mix:
        return list(range(sizes[0])), 1
    weights = (task.recipe.weight, *(source.weight for source in task.mix))
    mixture = Mixture(tuple(sizes), weights, task.recipe.seed)
    laps = max(1, math.ceil(task.recipe.epochs))
    return [place for lap in range(laps) for place in mixture.order(lap)], laps


def _shaped(path: Path, shape: Shape) -> tuple[list[Row], int]:
    shaped = [shape(row) for row in read_rows(path)]
    kept = [row for row in shaped if row is not None]
    return kept, len(shaped) - len(kept)


def _write(path: Path, rows: Iterator[Row]) -> None:
    with path.open("w", encoding="utf-8") as handle:
        handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _conversation(messages: Turns, alternating: bool) -> Row | None:
    """A conversation up to its last answer."""
    answers = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    if not answers:
        return None
    kept = [dict(message) for message in messages[: answers[-1] + 1]]
    return {"messages": kept} if not alternating or _alternates(kept) else None


def _pair(row: Row, alternating: bool) -> Row | None:
    if len(row["chosen"]) != 1 or len(row["rejected"]) != 1:
        return None  # Both engines take one message as an answer.
    prompt = [dict(message) for message in row["prompt"]]
    if alternating and not _alternates([*prompt, row["chosen"][0]]):
        return None
    return {"messages": prompt, "chosen": dict(row["chosen"][0]), "rejected": dict(row["rejected"][0])}


def _judged(row: Row, alternating: bool) -> Row | None:
    messages = [dict(message) for message in (*row["prompt"], *row["completion"])]
    if len(row["completion"]) != 1 or (alternating and not _alternates(messages)):
        return None
    return {"messages": messages, "label": bool(row["label"])}


def _alternates(messages: Turns) -> bool:
    """Whether question (or a tool's answer) and answer take turns, after a system message if there is one."""
    turns = messages[1:] if messages[0]["role"] == "system" else messages
    asking = all(turn["role"] in ("user", "tool") for turn in turns[::2])
    return asking and all(turn["role"] == "assistant" for turn in turns[1::2]) and len(turns) % 2 == 0
