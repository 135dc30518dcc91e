"""What happens in a comparison: a message is asked of both sides, judged, and the names are told.

Handlers make ``Screen`` records: everything the page shows at one moment. While a blind battle has no
verdict a screen holds no name and no measurement, and neither does ``Talk``, the state that Gradio keeps;
the line-up travels from the pickers to the arena, which draws the sides and tells nobody.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from markupsafe import Markup

from pages.chat_records import Lineup, Screen, Stage, Talk
from pages.chat_relay import Relay
from pages.chat_words import (
    NOTHING,
    SideView,
    contender_head,
    finished_side,
    history_view,
    named_head,
    phase,
    reveal,
)
from pages.components.markup import error_note, note
from studio.arena import Battle, BattleStarted, Contender, Matchup, NewThumb, NewVote, SideDelta, SideEnd
from studio.core import InvalidInput, StudioError, new_id, now
from studio.datasets import Outcome
from studio.serving import ChatMessage
from studio.studio import Studio

_POLL_SECONDS = 0.1
#: Text goes to the browser at most this often; faster than anyone reads and cheap to send.
_FRAME_SECONDS = 0.08

#: Turns under way by conversation, so that another event can stop one.
_under_way: dict[str, Relay] = {}


def converse(studio: Studio, before: Talk, text: str, lineup: Lineup) -> Iterator[Screen]:
    """Ask both sides and show their answers as they grow; the last screen asks for a verdict."""
    screen = _asked(studio, before, text, lineup)
    try:
        conversation, heads = _conversation(studio, before, lineup)
        relay = Relay(studio.arena.turn(studio.actor, conversation, text))
    except StudioError as error:
        yield _failed(studio, before, screen, text, error)
        return
    _under_way[conversation] = relay
    try:
        sides = {side: SideView(heads.get(side, NOTHING), foot=phase(studio, 0.0)) for side in "ab"}
        screen = replace(screen, talk=Talk(conversation), sides=sides)
        yield from _written(studio, screen, relay, replace(before, conversation=conversation), text)
    finally:
        relay.stop()
        _under_way.pop(conversation, None)


def stop(talk: Talk) -> bool:
    """Ask the turn that is under way to end; whether there was one."""
    relay = _under_way.get(talk.conversation)
    if relay is not None:
        relay.stop()
    return relay is not None


def _asked(studio: Studio, before: Talk, text: str, lineup: Lineup) -> Screen:
    earlier = studio.arena.battle(studio.actor, before.battle).prompt if before.battle else ()
    asked = (*earlier, ChatMessage(role="user", content=text[:200_000]))
    return Screen(before, Stage.WRITING, lineup.blind, history_view(asked))


def _conversation(studio: Studio, before: Talk, lineup: Lineup) -> tuple[str, dict[str, Markup]]:
    """The conversation to go on with, begun if need be, and the heads of its sides unless it is blind."""
    if before.conversation:
        if lineup.blind or not before.battle:
            return before.conversation, {}
        battle = studio.arena.battle(studio.actor, before.battle)
        return before.conversation, {side.side: named_head(studio, side) for side in (battle.a, battle.b)}
    matchup = _matchup(studio, lineup)
    conversation = studio.arena.begin(studio.actor, matchup)
    if matchup.blind:
        return conversation, {}
    # In a named match the sides are not drawn: the first contender is A.
    return conversation, {
        "a": contender_head(studio, matchup.first),
        "b": contender_head(studio, matchup.second),
    }


def _matchup(studio: Studio, lineup: Lineup) -> Matchup:
    if lineup.deployment:
        return studio.arena.deployment_matchup(
            studio.actor, lineup.deployment, blind=lineup.blind, sampling=lineup.sampling
        )
    if not (lineup.first and lineup.second):
        raise InvalidInput("Two models are needed for a comparison.", "Choose both; they may be the same.")
    return Matchup(Contender(lineup.first), Contender(lineup.second), lineup.blind, lineup.sampling)


def _written(studio: Studio, screen: Screen, relay: Relay, before: Talk, text: str) -> Iterator[Screen]:
    began = drawn = time.monotonic()
    ends: dict[str, SideEnd] = {}
    battle_id = ""
    yield screen
    try:
        for event in relay.events(_POLL_SECONDS):
            moment = time.monotonic()
            if isinstance(event, BattleStarted):
                battle_id = event.battle_id
            elif isinstance(event, SideDelta):
                screen = _grown(screen, event)
            elif isinstance(event, SideEnd):
                ends[event.side] = event
            else:
                screen = _waiting(screen, phase(studio, moment - began, stopping=relay.stopped))
            if moment - drawn >= _FRAME_SECONDS:
                drawn = moment
                yield screen
        yield _ended(studio, screen, battle_id, ends)
    except StudioError as error:
        yield _failed(studio, before, screen, text, error)


def _grown(screen: Screen, delta: SideDelta) -> Screen:
    side = screen.sides[delta.side]
    sides = screen.sides | {delta.side: replace(side, text=side.text + delta.text, foot=NOTHING)}
    return replace(screen, sides=sides)


def _waiting(screen: Screen, words: Markup) -> Screen:
    """The phase under each side that has not begun; while nobody has, it is the same under both."""
    sides = {name: side if side.text else replace(side, foot=words) for name, side in screen.sides.items()}
    return replace(screen, sides=sides)


def _ended(studio: Studio, screen: Screen, battle_id: str, ends: dict[str, SideEnd]) -> Screen:
    battle = studio.arena.battle(studio.actor, battle_id)
    talk = replace(screen.talk, battle=battle.id, nonce=new_id("nonce"), shown_at=now())
    shown = Screen(talk, Stage.VERDICT, battle.blind, history_view(battle.prompt), _to_judge(battle))
    return replace(
        shown,
        sides={s.side: finished_side(studio, s, battle, ends.get(s.side)) for s in (battle.a, battle.b)},
    )


def _to_judge(battle: Battle) -> Markup:
    if battle.a.error and battle.b.error:
        return note("Neither side answered. Skip this turn to see why, and send the message again.", "td-bad")
    if battle.blind:
        return Markup('<p class="td-sub">Which answer is better? The names are told after your vote.</p>')
    return Markup('<p class="td-sub">Which answer is better? You may also just go on.</p>')


def _failed(studio: Studio, before: Talk, screen: Screen, text: str, error: StudioError) -> Screen:
    """Nothing was stored of the turn: what stood before it stands again, with the error and the message."""
    found = error_note(error)
    if not before.battle:
        return Screen(before, blind=screen.blind, status=found, message=text)
    return replace(standing(studio, before), status=found, message=text)


def standing(studio: Studio, talk: Talk) -> Screen:
    """The conversation as it stands, read from what is stored."""
    battle = studio.arena.battle(studio.actor, talk.battle)
    judged = battle.outcome is not None
    return Screen(
        talk,
        Stage.JUDGED if judged else Stage.VERDICT,
        battle.blind,
        history_view(battle.prompt),
        reveal(studio, battle) if judged else _to_judge(battle),
        sides={side.side: finished_side(studio, side, battle, None) for side in (battle.a, battle.b)},
    )


def judge(studio: Studio, talk: Talk, outcome: Outcome, comment: str, better: str) -> Screen:
    """Store the verdict, once however often it is sent, and tell who was who."""
    if not talk.battle:
        raise InvalidInput("There are no two answers to judge yet.", "Ask something first.")
    vote = NewVote(
        talk.battle,
        outcome,
        talk.nonce,
        comment=comment.strip(),
        better_answer=better.strip(),
        shown_at=talk.shown_at,
    )
    studio.arena.vote(studio.actor, vote)
    return standing(studio, talk)


def thumb(studio: Studio, talk: Talk, side: str, up: bool) -> Talk:
    """Put a thumb on one answer, or take the same one back."""
    if not talk.battle:
        raise InvalidInput("There is no answer to judge yet.", "Ask something first.")
    battle = studio.arena.battle(studio.actor, talk.battle)
    answer = battle.a if side == "a" else battle.b
    wanted = None if talk.thumb(side) is up else up
    studio.arena.thumb(studio.actor, NewThumb(answer.generation_id, wanted, new_id("nonce")))
    others = tuple(one for one in talk.thumbs if one[0] != side)
    return replace(talk, thumbs=others if wanted is None else (*others, (side, wanted)))
