"""Feedback: verdicts on battles and thumbs on single answers, and reading the answers themselves."""

from __future__ import annotations

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from studio.api.battles import BattleView, battle_view
from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.arena import NewThumb, NewVote
from studio.core import Role, new_id
from studio.datasets import Outcome
from studio.serving import ChatMessage, Generation, Sampling

router = APIRouter(tags=["feedback"])


class FeedbackRequest(BaseModel):
    """A verdict (``battle_id`` with ``outcome``) or a thumb (``generation_id`` with ``thumb``).

    ``nonce`` is the client's own id for this feedback: sent again, it is stored once.
    """

    model_config = ConfigDict(extra="forbid")

    battle_id: str = ""
    outcome: Outcome | None = None
    generation_id: str = ""
    thumb: str | None = Field(None, pattern="^(up|down|none)$")
    nonce: str = Field("", max_length=100)
    reasons: list[str] = Field(default_factory=list, max_length=20)
    comment: str = Field("", max_length=10_000)
    better_answer: str = Field("", max_length=50_000)
    shown_at: float | None = None
    active_seconds: float | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _vote_or_thumb(self) -> FeedbackRequest:
        is_vote = bool(self.battle_id) and self.outcome is not None
        is_thumb = bool(self.generation_id) and self.thumb is not None
        if is_vote == is_thumb:
            raise ValueError("give either battle_id and outcome, or generation_id and thumb")
        return self


class FeedbackView(BaseModel):
    """The stored feedback's id; a verdict also answers the revealed battle."""

    id: str
    battle: BattleView | None = None


class GenerationView(BaseModel):
    """A stored answer; what would tell its model is empty while its battle is blind."""

    id: str
    messages: list[ChatMessage]
    text: str
    model_version_id: str
    deployment: str
    variant: str
    sampling: Sampling
    seed: int
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    first_token_seconds: float | None
    seconds: float
    error: str
    created_at: float
    redacted: bool


def generation_view(found: Generation) -> GenerationView:
    """A generation as clients may see it now."""
    return GenerationView(
        id=found.id,
        messages=list(found.messages),
        text=found.text,
        model_version_id=found.model_version_id,
        deployment=found.deployment,
        variant=found.variant,
        sampling=found.sampling,
        seed=found.seed,
        prompt_tokens=found.prompt_tokens,
        completion_tokens=found.completion_tokens,
        finish_reason=found.finish_reason,
        first_token_seconds=found.first_token_seconds,
        seconds=found.seconds,
        error=found.error,
        created_at=found.created_at,
        redacted=found.redacted,
    )


@router.post(
    "/feedback", status_code=201, dependencies=[allow(Role.RESEARCHER, Role.STAKEHOLDER, scope=Scope.CHAT)]
)
def feedback(request: FeedbackRequest, studio: TheStudio, actor: TheActor) -> FeedbackView:
    """Store a verdict or a thumb; a correction is stored beside what it corrects."""
    nonce = request.nonce or new_id("nonce")
    if request.outcome is None:
        up = {"up": True, "down": False}.get(request.thumb or "")
        thumb = NewThumb(request.generation_id, up, nonce, request.comment)
        return FeedbackView(id=studio.arena.thumb(actor, thumb).id)
    new = NewVote(
        battle_id=request.battle_id,
        outcome=request.outcome,
        nonce=nonce,
        reasons=tuple(request.reasons),
        comment=request.comment,
        better_answer=request.better_answer,
        shown_at=request.shown_at,
        active_seconds=request.active_seconds,
    )
    vote, battle = studio.arena.vote(actor, new)
    return FeedbackView(id=vote.id, battle=battle_view(battle))


@router.get("/generations", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def generations(
    studio: TheStudio, actor: TheActor, limit: int = Query(50, ge=1, le=500), deployment: str = ""
) -> list[GenerationView]:
    """The newest answers first."""
    return [generation_view(g) for g in studio.serving.generations(actor, limit, deployment)]


@router.get(
    "/generations/{generation_id}", dependencies=[allow(Role.RESEARCHER, Role.STAKEHOLDER, scope=Scope.READ)]
)
def generation(generation_id: str, studio: TheStudio, actor: TheActor) -> GenerationView:
    """One answer."""
    return generation_view(studio.serving.generation(actor, generation_id))
