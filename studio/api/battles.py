"""Side-by-side comparisons: begin one, ask both models, read what may be seen.

While a battle is blind nothing here tells which model stands on which side; ``POST /feedback`` with
a verdict reveals it.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.arena import Battle, BattleSide, BattleStarted, Contender, Matchup, SideDelta, SideEnd
from studio.core import Role, StudioError
from studio.serving import ChatMessage, Sampling

router = APIRouter(tags=["comparison"])


class ConversationRequest(BaseModel):
    """Two models, or a deployment whose first two variants are compared."""

    model_config = ConfigDict(extra="forbid")

    first: str = ""
    second: str = ""
    deployment: str = ""
    blind: bool = True
    sampling: Sampling = Sampling()

    @model_validator(mode="after")
    def _one_way(self) -> ConversationRequest:
        if bool(self.deployment) == bool(self.first and self.second):
            raise ValueError("give either deployment, or first and second")
        return self


class ConversationView(BaseModel):
    """A begun conversation."""

    conversation_id: str


class TurnRequest(BaseModel):
    """The next thing to say to both."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=100_000)


class SideView(BaseModel):
    """One answer; ``model`` and ``variant`` are empty until the battle is revealed."""

    generation_id: str
    text: str
    finish_reason: str
    error: str
    model: str
    variant: str


class BattleView(BaseModel):
    """Two answers to one prompt."""

    id: str
    conversation_id: str
    turn: int
    prompt: list[ChatMessage]
    a: SideView
    b: SideView
    blind: bool
    revealed_at: float | None
    outcome: str | None
    created_at: float


def battle_view(battle: Battle) -> BattleView:
    """A battle as clients may see it now."""
    return BattleView(
        id=battle.id,
        conversation_id=battle.conversation_id,
        turn=battle.turn,
        prompt=list(battle.prompt),
        a=_side(battle.a),
        b=_side(battle.b),
        blind=battle.blind,
        revealed_at=battle.revealed_at,
        outcome=battle.outcome.value if battle.outcome else None,
        created_at=battle.created_at,
    )


@router.post(
    "/conversations",
    status_code=201,
    dependencies=[allow(Role.RESEARCHER, Role.STAKEHOLDER, scope=Scope.CHAT)],
)
def begin(request: ConversationRequest, studio: TheStudio, actor: TheActor) -> ConversationView:
    """Begin a comparison."""
    if request.deployment:
        matchup = studio.arena.deployment_matchup(
            actor, request.deployment, blind=request.blind, sampling=request.sampling
        )
    else:
        first, second = (
            Contender(studio.registry.version(actor, name).id) for name in (request.first, request.second)
        )
        matchup = Matchup(first, second, request.blind, request.sampling)
    return ConversationView(conversation_id=studio.arena.begin(actor, matchup))


@router.post(
    "/conversations/{conversation_id}/turns",
    dependencies=[allow(Role.RESEARCHER, Role.STAKEHOLDER, scope=Scope.CHAT)],
)
def turn(conversation_id: str, request: TurnRequest, studio: TheStudio, actor: TheActor) -> StreamingResponse:
    """Ask both; answers with one JSON object a line: ``battle``, then ``delta`` and ``end`` by side."""
    events = studio.arena.turn(actor, conversation_id, request.text)
    # The first event is drawn here, so that a refusal is an HTTP error and not a broken stream.
    first = next(events)
    return StreamingResponse(_lines(first, events), media_type="application/x-ndjson")


@router.get("/battles", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def battles(
    studio: TheStudio,
    actor: TheActor,
    limit: int = Query(50, ge=1, le=500),
    conversation_id: str = "",
) -> list[BattleView]:
    """The newest battles first."""
    found = studio.arena.battles(actor, limit=limit, conversation_id=conversation_id)
    return [battle_view(battle) for battle in found]


@router.get("/battles/{battle_id}", dependencies=[allow(Role.RESEARCHER, Role.STAKEHOLDER, scope=Scope.READ)])
def battle(battle_id: str, studio: TheStudio, actor: TheActor) -> BattleView:
    """One battle."""
    return battle_view(studio.arena.battle(actor, battle_id))


def _side(side: BattleSide) -> SideView:
    return SideView(
        generation_id=side.generation_id,
        text=side.text,
        finish_reason=side.finish_reason,
        error=side.error,
        model=side.model,
        variant=side.variant,
    )


Event = BattleStarted | SideDelta | SideEnd
_NAMES: dict[type[Event], str] = {BattleStarted: "battle", SideDelta: "delta", SideEnd: "end"}


def _lines(first: Event, rest: Generator[Event, None, None]) -> Iterator[str]:
    yield _line(first)
    try:
        # Closed here and not when the collector comes by: a client that leaves frees its rows at once.
        with closing(rest):
            for event in rest:
                yield _line(event)
    except StudioError as error:
        yield json.dumps({"error": {"message": error.message, "todo": error.todo}}) + "\n"


def _line(event: Event) -> str:
    return json.dumps({_NAMES[type(event)]: asdict(event)}, ensure_ascii=False) + "\n"
