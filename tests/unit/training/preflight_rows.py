"""Rows of every kind that exercise each fate: learnt whole, cut, in pieces, left out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.datasets import SchemaKind
from studio.datasets.parquet_files import RowWriter
from studio.training.records import Stage

KINDS = {
    Stage.CPT: SchemaKind.CORPUS,
    Stage.SFT: SchemaKind.INSTRUCTION,
    Stage.DPO: SchemaKind.PREFERENCE,
    Stage.KTO: SchemaKind.UNPAIRED,
    Stage.REWARD: SchemaKind.PREFERENCE,
}
LONG = "and so on, "


def say(role: str, text: str) -> dict[str, str]:
    """One message."""
    return {"role": role, "content": text}


def row(stage: Stage, number: int, times: int = 0, late: int = 0) -> dict[str, Any]:
    """A row of ``stage``; ``times`` makes its answer longer, ``late`` its prompt."""
    asked = f"Question {number}? {LONG * late}".strip()
    answer = f"It is {number}.\nA ✓ test. {LONG * times}".strip()
    if stage is Stage.CPT:
        return {"text": f"{asked} {answer}"}
    if stage is Stage.SFT:
        return {"messages": [say("user", asked), say("assistant", answer)]}
    if stage is Stage.KTO:
        return {
            "prompt": [say("user", asked)],
            "completion": [say("assistant", answer)],
            "label": number % 3 > 0,
        }
    return {
        "prompt": [say("user", asked)],
        "chosen": [say("assistant", answer)],
        "rejected": [say("assistant", "No.")],
    }


def rows(stage: Stage, count: int = 12, start: int = 0) -> list[dict[str, Any]]:
    """Rows of different lengths; every fourth has a long answer, every sixth a long prompt."""
    return [
        row(stage, number, 12 if number % 4 == 3 else number % 3, 14 if number % 6 == 5 else 0)
        for number in range(start, start + count)
    ]


def write_version(
    folder: Path, stage: Stage, sides: Mapping[str, list[dict[str, Any]]] | None = None
) -> Path:
    """A dataset version's folder with both sides."""
    folder.mkdir(parents=True, exist_ok=True)
    sides = sides or {"train": rows(stage), "validation": rows(stage, 4, 100)}
    for side, made in sides.items():
        with RowWriter(folder / f"{side}.parquet", KINDS[stage]) as writer:
            for one in made:
                writer.write(one, 100)
    return folder
