"""A model's opinion of a project's items: which of two answers it would rather have said itself.

Pure and light: ``suggestions_job`` scores, in a process of its own. The opinion is the difference of the
summed log-likelihoods of the two answers, so a longer answer has to earn its length token by token. It
is a suggestion and never a label.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.annotation.candidates import Writer
from studio.annotation.records import ItemKind, Standing, StoredItem

#: What the job leaves beside its ``result.json``: one line an item.
MARGINS = "margins.jsonl"

Opinions = dict[int, tuple[Standing, float]]


@dataclass(frozen=True)
class SuggestionsTask:
    """What the job is to do: ``items`` is a file of JSON lines as ``item_lines`` writes them."""

    items: Path
    model: Writer

    def payload(self) -> dict[str, object]:
        """The task as JSON; ``from_payload`` reads it back."""
        return {"items": str(self.items), "model": self.model.payload()}

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> SuggestionsTask:
        """The task that ``payload`` describes."""
        return cls(Path(payload["items"]), Writer.from_payload(payload["model"]))


def comparable(items: Iterable[StoredItem]) -> tuple[StoredItem, ...]:
    """The items that a model can have an opinion of: those with two answers, each once."""
    return tuple(item for item in items if item.second and item.kind is not ItemKind.REPEAT)


def item_lines(items: Iterable[StoredItem]) -> str:
    """Items as the job reads them, one JSON line each."""
    return "".join(json.dumps(_record(item), ensure_ascii=False) + "\n" for item in items)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file that this room wrote, a line each."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def margin_lines(positions: Sequence[int], margins: Sequence[float]) -> str:
    """Margins (nats, first answer over second) as ``opinions`` reads them."""
    pairs = zip(positions, margins, strict=True)
    return "".join(json.dumps({"position": place, "margin": margin}) + "\n" for place, margin in pairs)


def opinions(found: Iterable[Mapping[str, Any]]) -> Opinions:
    """By position: what the model says of an item and by how much; what is no number is left out."""
    return {
        line["position"]: (_standing(line["margin"]), abs(line["margin"]))
        for line in found
        if math.isfinite(line["margin"])
    }


def _record(item: StoredItem) -> dict[str, Any]:
    return {
        "position": item.position,
        "prompt": list(item.prompt),
        "first": list(item.first),
        "second": list(item.second),
    }


def _standing(margin: float) -> Standing:
    if margin == 0.0:
        return Standing.TIE
    return Standing.FIRST if margin > 0 else Standing.SECOND
