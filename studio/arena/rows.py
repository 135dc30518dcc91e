"""Rows of the arena's tables as records; nothing outside the store sees a row."""

from __future__ import annotations

import json

from studio.arena.records import Thumb, Vote
from studio.arena.stored import StoredBattle, StoredSide
from studio.core.database import Row
from studio.datasets import Outcome
from studio.serving import ChatMessage


def battle_of(row: Row) -> StoredBattle:
    """A battle with both of its sides."""
    return StoredBattle(
        id=row["id"],
        conversation_id=row["conversation_id"],
        turn=row["turn"],
        prompt=tuple(ChatMessage(**message) for message in json.loads(row["prompt"])),
        blind=bool(row["blind"]),
        source=row["source"],
        probability=row["probability"],
        continued_from=row["continued_from"],
        continuation_drawn=bool(row["continuation_drawn"]),
        created_at=row["created_at"],
        revealed_at=row["revealed_at"],
        a=_side(row, "a"),
        b=_side(row, "b"),
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
    )


def _side(row: Row, side: str) -> StoredSide:
    return StoredSide(
        side,
        row[f"{side}_generation_id"],
        row[f"{side}_model_version_id"],
        row[f"{side}_deployment"],
        row[f"{side}_variant"],
    )


def vote_of(row: Row) -> Vote:
    """A vote."""
    values = {key: row[key] for key in row.keys() if key not in ("number", "nonce")}  # noqa: SIM118
    values["outcome"] = Outcome(row["outcome"])
    values["reasons"] = tuple(json.loads(row["reasons"]))
    values["after_reveal"] = bool(row["after_reveal"])
    return Vote(**values)


def thumb_of(row: Row) -> Thumb:
    """A thumb."""
    up = None if row["up"] is None else bool(row["up"])
    return Thumb(row["id"], row["generation_id"], up, row["comment"], row["voter"], row["at"])
