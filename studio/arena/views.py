"""What may be seen of a battle: the one place where blindness is kept for reads.

While a blind battle has no verdict, its view holds the prompt and the two texts and nothing else: no
model, variant, measurement, and no error message in its own words, since those may name a model.
"""

from __future__ import annotations

from studio.arena.records import Battle, BattleSide, SideEnd
from studio.arena.stored import StoredBattle, StoredSide
from studio.core import Actor
from studio.registry import RegistryService
from studio.serving import Generation, RowEnd, ServingService

HIDDEN_ERROR = "This answer failed. The reason is shown after the verdict."


class Views:
    """Makes records for askers out of what is stored."""

    def __init__(self, serving: ServingService, registry: RegistryService) -> None:
        self._serving = serving
        self._registry = registry

    def battle(self, actor: Actor, stored: StoredBattle) -> Battle:
        """A battle with the names it may show."""
        return Battle(
            id=stored.id,
            conversation_id=stored.conversation_id,
            turn=stored.turn,
            prompt=stored.prompt,
            a=self._side(actor, stored, stored.a),
            b=self._side(actor, stored, stored.b),
            blind=stored.blind,
            revealed_at=stored.revealed_at,
            outcome=stored.outcome,
            created_at=stored.created_at,
        )

    def _side(self, actor: Actor, stored: StoredBattle, side: StoredSide) -> BattleSide:
        answer = self._serving.generation(actor, side.generation_id)
        if stored.hidden:
            return _hidden_side(side, answer)
        return BattleSide(
            side=side.side,
            generation_id=side.generation_id,
            text=answer.text,
            finish_reason=answer.finish_reason,
            error=answer.error,
            model_version_id=side.model_version_id,
            model=self._registry.version(actor, side.model_version_id).reference,
            variant=side.variant,
        )


def _hidden_side(side: StoredSide, answer: Generation) -> BattleSide:
    return BattleSide(
        side=side.side,
        generation_id=side.generation_id,
        text=answer.text,
        finish_reason=answer.finish_reason,
        error=HIDDEN_ERROR if answer.error else "",
        model_version_id="",
        model="",
        variant="",
    )


def side_end(side: str, end: RowEnd, *, blind: bool) -> SideEnd:
    """The end of a side, with its measurements unless the battle is blind."""
    if blind:
        return SideEnd(side, end.finish_reason, HIDDEN_ERROR if end.error else "", None, None, None)
    return SideEnd(
        side,
        end.finish_reason,
        end.error,
        end.completion_tokens,
        _tokens_per_second(end),
        end.first_token_seconds,
    )


def _tokens_per_second(end: RowEnd) -> float | None:
    # Counted from the first token on, so that loading a model does not look like slow decoding.
    if end.first_token_seconds is None or end.completion_tokens < 2:
        return None
    seconds = end.seconds - end.first_token_seconds
    return (end.completion_tokens - 1) / seconds if seconds > 0 else None
