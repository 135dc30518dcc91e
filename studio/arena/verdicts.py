"""What leaves the arena: votes as judgements, thumbs as opinions, and battles for others to judge."""

from __future__ import annotations

from studio.arena.records import BattlePair
from studio.arena.store import ArenaStore
from studio.arena.stored import StoredBattle, has_model
from studio.core import Actor
from studio.datasets import Candidate, Judgement, Message, Opinion
from studio.serving import ChatMessage, Generation, ServingService

_PAGE = 200


class Verdicts:
    """Reads the standing votes and thumbs."""

    def __init__(self, store: ArenaStore, serving: ServingService) -> None:
        self._store = store
        self._serving = serving

    def judgements(
        self, actor: Actor, deployment: str, source: str, private: frozenset[str]
    ) -> tuple[Judgement, ...]:
        """The standing votes, oldest first; ``deployment`` and ``source`` narrow them where not empty.

        ``private`` are the models whose answers the actor may not read.
        """
        battles = {
            battle.id: battle
            for battle in self._store.judged(deployment)
            if source in ("", battle.source) and not has_model(battle, private)
        }
        votes = [vote for vote in self._store.standing_votes() if vote.battle_id in battles]
        found = []
        for vote in votes:
            battle = battles[vote.battle_id]
            found.append(
                Judgement(
                    kind="vote",
                    id=vote.id,
                    prompt=_messages(battle.prompt),
                    a=self._candidate(actor, battle.a.generation_id),
                    b=self._candidate(actor, battle.b.generation_id),
                    outcome=vote.outcome,
                    voter=vote.voter,
                    voted_at=vote.voted_at,
                    blind=battle.blind,
                    better_answer=vote.better_answer,
                )
            )
        return tuple(found)

    def opinions(self, actor: Actor, private: frozenset[str]) -> tuple[Opinion, ...]:
        """The standing thumbs, oldest first; none on an answer of a model in ``private``.

        Those on answers whose model is still hidden wait: whether such an answer was cut off is hidden too.
        """
        found = []
        for thumb in self._store.standing_thumbs():
            battle = self._store.battle_of(thumb.generation_id)
            if private and (
                self._store.maker(thumb.id) in private or (battle and has_model(battle, private))
            ):
                continue
            answer = self._serving.generation(actor, thumb.generation_id)
            if answer.redacted:
                continue
            found.append(
                Opinion(
                    kind="thumb",
                    id=thumb.id,
                    prompt=_messages(battle.prompt if battle else answer.messages),
                    answer=_as_candidate(answer),
                    positive=bool(thumb.up),
                    voter=thumb.voter,
                    at=thumb.at,
                )
            )
        return tuple(found)

    def pairs(self, actor: Actor, after: int, limit: int, private: frozenset[str]) -> tuple[BattlePair, ...]:
        """Blind battles newer than number ``after`` whose answers are both whole, oldest first.

        None with a model in ``private``.
        """
        found: list[BattlePair] = []
        while len(found) < limit:
            page = self._store.blind_after(after, _PAGE)
            pairs = (
                self._pair(actor, number, battle) for number, battle in page if not has_model(battle, private)
            )
            found += [pair for pair in pairs if pair is not None]
            if len(page) < _PAGE:
                break
            after = page[-1][0]
        return tuple(found[:limit])

    def _pair(self, actor: Actor, number: int, battle: StoredBattle) -> BattlePair | None:
        ids = (battle.a.generation_id, battle.b.generation_id)
        if not all(self._serving.is_whole(actor, answer) for answer in ids):
            return None
        first, second = (self._candidate(actor, answer).messages for answer in ids)
        # Nobody can prefer one of two answers that are the same, or a blank one to anything.
        texts = {messages[-1]["content"].strip() for messages in (first, second)}
        if len(texts) < 2 or "" in texts:
            return None
        return BattlePair(number, battle.id, _messages(battle.prompt), first, second, ids)

    def _candidate(self, actor: Actor, generation_id: str) -> Candidate:
        return _as_candidate(self._serving.generation(actor, generation_id))


def _as_candidate(answer: Generation) -> Candidate:
    return Candidate(
        messages=({"role": "assistant", "content": answer.text},),
        generation_id=answer.id,
        finish_reason=answer.finish_reason,
        error=answer.error,
    )


def _messages(messages: tuple[ChatMessage, ...]) -> tuple[Message, ...]:
    return tuple({"role": message.role, "content": message.content} for message in messages)
