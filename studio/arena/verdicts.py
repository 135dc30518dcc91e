"""What leaves the arena: votes as judgements, thumbs as opinions, both with the answers they were about."""

from __future__ import annotations

from studio.arena.store import ArenaStore
from studio.core import Actor
from studio.datasets import Candidate, Judgement, Message, Opinion
from studio.serving import ChatMessage, Generation, ServingService


class Verdicts:
    """Reads the standing votes and thumbs."""

    def __init__(self, store: ArenaStore, serving: ServingService) -> None:
        self._store = store
        self._serving = serving

    def judgements(self, actor: Actor, deployment: str, source: str) -> tuple[Judgement, ...]:
        """The standing votes, oldest first; ``deployment`` and ``source`` narrow them where not empty."""
        battles = {
            battle.id: battle for battle in self._store.judged(deployment) if source in ("", battle.source)
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

    def opinions(self, actor: Actor) -> tuple[Opinion, ...]:
        """The standing thumbs, oldest first.

        Those on answers whose model is still hidden wait: whether such an answer was cut off is hidden too.
        """
        found = []
        for thumb in self._store.standing_thumbs():
            answer = self._serving.generation(actor, thumb.generation_id)
            if answer.redacted:
                continue
            battle = self._store.battle_of(thumb.generation_id)
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
