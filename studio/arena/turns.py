"""One turn: draw the sides, let both answer one prompt, store the battle with its answers.

The invariants: a battle is committed in the transaction that commits its two answers, also when the
asker goes away half-way; one conversation answers one turn at a time; and in a blind match nothing in
the events depends on who stands on which side, except the answers themselves and their pace. The pace
is a known limit: where the contenders are of different size, or one of them is loaded first, how fast
the text comes can tell them apart.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import cast

from studio.arena.records import BattleStarted, Contender, Matchup, SideDelta, SideEnd
from studio.arena.store import ArenaStore
from studio.arena.stored import Conversation, StoredBattle, StoredSide
from studio.arena.views import side_end
from studio.core import Actor, Conflict, StudioError, Unavailable, new_id, now
from studio.datasets import Outcome
from studio.serving import ChatMessage, RowEnd, RowRequest, ServingService, TokenDelta

SIDES = ("a", "b")

TurnEvent = BattleStarted | SideDelta | SideEnd


@dataclass(frozen=True)
class _Continuation:
    """What a turn goes on from: the messages so far, whose answer is the last, and whether by lot."""

    prefix: tuple[ChatMessage, ...]
    generation_id: str | None = None
    drawn: bool = False


@dataclass(frozen=True)
class _Plan:
    battle: StoredBattle
    rows: tuple[RowRequest, ...]

    @property
    def generation_ids(self) -> tuple[str, str]:
        return (self.battle.a.generation_id, self.battle.b.generation_id)


class Turns:
    """Runs the turns of conversations."""

    def __init__(self, store: ArenaStore, serving: ServingService) -> None:
        self._store = store
        self._serving = serving
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._unstored: set[str] = set()

    def hides(self, generation_id: str) -> bool:
        """Whether an answer belongs to a blind turn that is still under way."""
        return generation_id in self._unstored

    def start(self, actor: Actor, conversation: Conversation, text: str) -> Generator[TurnEvent, None, None]:
        """The events of a new turn.

        Raises:
            Conflict: The turn before has no verdict yet and the match is blind (raised here), or
                another turn of the conversation is under way (raised by the first event).
        """
        self._refuse_without_verdict(conversation)
        return self._run(actor, conversation, text)

    def _run(self, actor: Actor, conversation: Conversation, text: str) -> Generator[TurnEvent, None, None]:
        with self._one_at_a_time(conversation.id):
            plan = self._plan(actor, conversation, text)
            yield BattleStarted(plan.battle.id, plan.battle.turn)
            yield from self._answer(actor, plan, conversation.matchup)

    def _answer(self, actor: Actor, plan: _Plan, matchup: Matchup) -> Iterator[TurnEvent]:
        battle = plan.battle
        if battle.hidden:
            self._unstored.update(plan.generation_ids)
        shown = False
        try:
            with closing(self._ask(actor, plan, matchup)) as events:
                for event in events:
                    yield _translated(event, blind=battle.hidden)
                    shown = True
        except StudioError:
            if battle.hidden and shown:
                # Beside half an answer, a message that names the failed model tells the side.
                raise Unavailable(
                    "The answers broke off.", "Send the message again; the models page says what is wrong."
                ) from None
            raise
        finally:
            self._unstored.difference_update(plan.generation_ids)

    def _ask(self, actor: Actor, plan: _Plan, matchup: Matchup) -> Generator[TokenDelta | RowEnd, None, None]:
        battle = plan.battle
        events = self._serving.stream(
            actor,
            plan.rows,
            user=actor.name,
            source=matchup.source,
            tags=[(side.deployment, side.variant) for side in (battle.a, battle.b)],
            on_stored=lambda connection, _ids: self._store.add_battle(connection, battle),
            generation_ids=plan.generation_ids,
        )
        # Closing it cancels the decoding and stores what came, so it has to be something that closes.
        return cast("Generator[TokenDelta | RowEnd, None, None]", events)

    def _plan(self, actor: Actor, conversation: Conversation, text: str) -> _Plan:
        self._refuse_without_verdict(conversation)
        matchup = conversation.matchup
        before = self._latest(conversation.id)
        continuation = self._continuation(actor, before) if before else _Continuation(())
        prompt = (*continuation.prefix, ChatMessage(role="user", content=text))
        contenders = _sides(matchup)
        created_at = now()
        # Which side's id is drawn first says nothing, because ids are random; see core.ids.
        a, b = (_stored_side(side, who) for side, who in zip(SIDES, contenders, strict=True))
        battle = StoredBattle(
            id=new_id("battle"),
            conversation_id=conversation.id,
            turn=before.turn + 1 if before else 1,
            prompt=prompt,
            blind=matchup.blind,
            source=matchup.source,
            probability=matchup.pairing_probability * (0.5 if matchup.blind else 1.0),
            continued_from=continuation.generation_id,
            continuation_drawn=continuation.drawn,
            created_at=created_at,
            revealed_at=None if matchup.blind else created_at,
            a=a,
            b=b,
        )
        return _Plan(battle, tuple(_row(who, prompt, matchup) for who in contenders))

    def _continuation(self, actor: Actor, before: StoredBattle) -> _Continuation:
        texts = {side.side: self._usable_text(actor, side) for side in (before.a, before.b)}
        usable = [side for side in SIDES if texts[side]]
        if not usable:
            # Nobody answered, so the question is left out too: two user turns in a row break templates.
            return _Continuation(before.prompt[:-1])
        preferred = before.outcome.value if before.outcome in (Outcome.A, Outcome.B) else ""
        drawn = preferred not in usable
        side = secrets.choice(usable) if drawn else preferred
        answer = ChatMessage(role="assistant", content=texts[side])
        generation_id = (before.a if side == "a" else before.b).generation_id
        return _Continuation((*before.prompt, answer), generation_id, drawn)

    def _usable_text(self, actor: Actor, side: StoredSide) -> str:
        answer = self._serving.generation(actor, side.generation_id)
        return "" if answer.error else answer.text

    def _latest(self, conversation_id: str) -> StoredBattle | None:
        return next(iter(self._store.battles(1, conversation_id)), None)

    def _refuse_without_verdict(self, conversation: Conversation) -> None:
        before = self._latest(conversation.id)
        if before is not None and before.hidden:
            raise Conflict(
                "The last two answers have no verdict yet, and the next turn goes on from the better one.",
                "Vote on them, or skip them, and send your message again.",
            )

    @contextmanager
    def _one_at_a_time(self, conversation_id: str) -> Iterator[None]:
        with self._lock:
            if conversation_id in self._busy:
                raise Conflict(
                    "This conversation is still being answered.", "Wait for the answers, or stop them."
                )
            self._busy.add(conversation_id)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(conversation_id)


def _sides(matchup: Matchup) -> tuple[Contender, Contender]:
    if matchup.blind and secrets.randbelow(2):
        return matchup.second, matchup.first
    return matchup.first, matchup.second


def _stored_side(side: str, who: Contender) -> StoredSide:
    return StoredSide(side, new_id("gen"), who.model_version_id, who.deployment, who.variant)


def _row(who: Contender, prompt: tuple[ChatMessage, ...], matchup: Matchup) -> RowRequest:
    system = (ChatMessage(role="system", content=who.system_prompt),) if who.system_prompt else ()
    return RowRequest(who.model_version_id, (*system, *prompt), matchup.sampling)


def _translated(event: TokenDelta | RowEnd, *, blind: bool) -> TurnEvent:
    side = SIDES[event.row]
    if isinstance(event, TokenDelta):
        return SideDelta(side, event.text)
    return side_end(side, event, blind=blind)
