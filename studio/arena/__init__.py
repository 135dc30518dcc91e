"""Two answers to one question, side by side, and what people think of them.

A turn is a battle: both contenders answer the same prompt, in a blind match without anyone being told
who is who before the verdict. Votes and thumbs are only ever added, and leave the room as judgements
and opinions, which the dataset room makes into preferences.
"""

from studio.arena.records import (
    Battle,
    BattlePair,
    BattleSide,
    BattleStarted,
    Contender,
    Experiment,
    Matchup,
    NewThumb,
    NewVote,
    SideDelta,
    SideEnd,
    Thumb,
    VariantScore,
    Vote,
)
from studio.arena.service import ArenaService

__all__ = [
    "ArenaService",
    "Battle",
    "BattlePair",
    "BattleSide",
    "BattleStarted",
    "Contender",
    "Experiment",
    "Matchup",
    "NewThumb",
    "NewVote",
    "SideDelta",
    "SideEnd",
    "Thumb",
    "VariantScore",
    "Vote",
]
