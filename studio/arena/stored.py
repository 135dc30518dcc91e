"""What the arena keeps, as its own code sees it: with the names that an asker may not know yet.

These records never leave the room; ``views`` makes what others see of them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from studio.arena.records import Contender, Matchup, NewThumb, NewVote, Thumb, Vote
from studio.core import Conflict
from studio.datasets import Outcome
from studio.serving import ChatMessage, Sampling


@dataclass(frozen=True)
class Conversation:
    """A matchup under way."""

    id: str
    matchup: Matchup
    started_by: str
    created_at: float


@dataclass(frozen=True)
class StoredSide:
    """Who stood on a side, which the asker may not know yet."""

    side: str
    generation_id: str
    model_version_id: str
    deployment: str
    variant: str


@dataclass(frozen=True)
class StoredBattle:
    """A battle as it is on disk.

    ``probability`` is that of this pairing on these sides. ``continued_from`` is the generation whose
    answer stands in the prompt of a later turn, ``continuation_drawn`` says that lots chose it.
    """

    id: str
    conversation_id: str
    turn: int
    prompt: tuple[ChatMessage, ...]
    blind: bool
    source: str
    probability: float
    continued_from: str | None
    continuation_drawn: bool
    created_at: float
    revealed_at: float | None
    a: StoredSide
    b: StoredSide
    outcome: Outcome | None = None

    @property
    def hidden(self) -> bool:
        """Whether nobody may be told yet who stands where."""
        return self.blind and self.revealed_at is None


@dataclass(frozen=True)
class ThumbCount:
    """How many people stand by a thumb up and a thumb down for a variant's answers."""

    up: int
    down: int


def has_model(battle: StoredBattle, models: frozenset[str]) -> bool:
    """Whether one of ``models`` (ids of versions) stood in a battle."""
    return not models.isdisjoint((battle.a.model_version_id, battle.b.model_version_id))


def same_vote(known: Vote, new: NewVote, voter: str) -> Vote:
    """``known``, if ``new`` is a retry of it.

    Raises:
        Conflict: It is something else under the same nonce.
    """
    # Times are left out: a client that measures again before its retry still means the same vote.
    before = (known.battle_id, known.outcome, known.reasons, known.comment, known.better_answer)
    again = (new.battle_id, new.outcome, new.reasons, new.comment, new.better_answer)
    if (*before, known.voter) != (*again, voter):
        raise Conflict("This nonce belongs to another vote.", "Send a new vote with a nonce of its own.")
    return known


def same_thumb(known: Thumb, new: NewThumb, voter: str) -> Thumb:
    """``known``, if ``new`` is a retry of it.

    Raises:
        Conflict: It is something else under the same nonce.
    """
    before = (known.generation_id, known.up, known.comment, known.voter)
    if before != (new.generation_id, new.up, new.comment, voter):
        raise Conflict("This nonce belongs to another thumb.", "Send a new thumb with a nonce of its own.")
    return known


def dump_matchup(matchup: Matchup) -> str:
    """A matchup as JSON."""
    record = {**asdict(matchup), "sampling": matchup.sampling.model_dump()}
    return json.dumps(record, ensure_ascii=False, sort_keys=True)


def load_matchup(text: str) -> Matchup:
    """The inverse of ``dump_matchup``."""
    record = json.loads(text)
    return Matchup(
        **{
            **record,
            "first": Contender(**record["first"]),
            "second": Contender(**record["second"]),
            "sampling": Sampling(**record["sampling"]),
        }
    )
