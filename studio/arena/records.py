"""The records of the arena: battles, votes and thumbs."""

from __future__ import annotations

from dataclasses import dataclass, field

from studio.datasets import Message, Outcome
from studio.serving import ChatMessage, Sampling


@dataclass(frozen=True)
class Contender:
    """Who answers on one side: a model version, and the deployment's variant where it stands for one."""

    model_version_id: str
    deployment: str = ""
    variant: str = ""
    system_prompt: str = ""


@dataclass(frozen=True)
class Matchup:
    """Two contenders and how they are compared; in a blind one the server draws the sides anew each turn.

    ``pairing_probability`` is how likely these two were to be paired, where they were drawn from more.
    """

    first: Contender
    second: Contender
    blind: bool
    sampling: Sampling = field(default_factory=Sampling)
    source: str = "chat"
    pairing_probability: float = 1.0


@dataclass(frozen=True)
class BattleStarted:
    """The first event of a turn. ``turn`` counts from 1."""

    battle_id: str
    turn: int


@dataclass(frozen=True)
class SideDelta:
    """A piece of text for side ``a`` or ``b``."""

    side: str
    text: str


@dataclass(frozen=True)
class SideEnd:
    """The end of one side; the measurements are None while the battle is blind."""

    side: str
    finish_reason: str
    error: str
    completion_tokens: int | None
    tokens_per_second: float | None
    first_token_seconds: float | None


@dataclass(frozen=True)
class BattleSide:
    """One answer of a battle as the asker may see it.

    ``model_version_id``, ``model`` (``name@number``), ``variant`` and ``finish_reason`` are empty until
    the battle is revealed.
    """

    side: str
    generation_id: str
    text: str
    finish_reason: str
    error: str
    model_version_id: str
    model: str
    variant: str


@dataclass(frozen=True)
class Battle:
    """Two answers to one shared prompt; ``revealed_at`` is None while the names are hidden."""

    id: str
    conversation_id: str
    turn: int
    prompt: tuple[ChatMessage, ...]
    a: BattleSide
    b: BattleSide
    blind: bool
    revealed_at: float | None
    outcome: Outcome | None
    created_at: float


@dataclass(frozen=True)
class BattlePair:
    """A blind battle with two whole answers, without a word about who gave them.

    ``number`` grows from one battle to the next; ``generations`` are the ids of the two answers.
    """

    number: int
    id: str
    prompt: tuple[Message, ...]
    first: tuple[Message, ...]
    second: tuple[Message, ...]
    generations: tuple[str, str]


@dataclass(frozen=True)
class NewVote:
    """A verdict to store; ``nonce`` makes a retry harmless, times are seconds since the epoch."""

    battle_id: str
    outcome: Outcome
    nonce: str
    reasons: tuple[str, ...] = ()
    comment: str = ""
    better_answer: str = ""
    shown_at: float | None = None
    active_seconds: float | None = None


@dataclass(frozen=True)
class Vote:
    """A stored verdict. ``supersedes`` is the id of the vote that it corrects; the newest one counts."""

    id: str
    battle_id: str
    outcome: Outcome
    reasons: tuple[str, ...]
    comment: str
    better_answer: str
    voter: str
    after_reveal: bool
    supersedes: str | None
    shown_at: float | None
    voted_at: float
    active_seconds: float | None


@dataclass(frozen=True)
class NewThumb:
    """A thumb on one answer; ``up`` None takes an earlier one back."""

    generation_id: str
    up: bool | None
    nonce: str
    comment: str = ""


@dataclass(frozen=True)
class Thumb:
    """A stored thumb; the newest one of a person counts."""

    id: str
    generation_id: str
    up: bool | None
    comment: str
    voter: str
    at: float


@dataclass(frozen=True)
class VariantScore:
    """What a variant of a deployment received: answers, and votes of battles between its variants."""

    variant: str
    model_version_id: str
    weight: float
    answers: int
    wins: int
    losses: int
    ties: int
    both_bad: int
    thumbs_up: int
    thumbs_down: int


@dataclass(frozen=True)
class Experiment:
    """A deployment with several variants, with answers and votes by variant."""

    deployment: str
    revision: int
    variants: tuple[VariantScore, ...]
