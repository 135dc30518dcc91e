from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from studio.arena import BattleStarted, Contender, Matchup, NewVote, SideDelta, SideEnd
from studio.core import LOCAL_ADMIN, Conflict, InvalidInput, NotFound, Unavailable
from studio.datasets import Outcome
from studio.serving import ChatMessage, Sampling, TokenDelta
from tests.unit.arena.fakes import BASE, OTHER, TUNED
from tests.unit.arena.world import World


def draw(monkeypatch: pytest.MonkeyPatch, *, swap: bool) -> None:
    monkeypatch.setattr(secrets, "randbelow", lambda n: int(swap))


def test_a_named_turn_streams_both_sides_with_measurements(world: World) -> None:
    world.backend.queue(BASE, "plain words here")
    world.backend.queue(TUNED, "tuned words")
    events = list(world.arena.turn(LOCAL_ADMIN, world.begin(blind=False), "Hello"))
    assert isinstance(events[0], BattleStarted)
    assert events[0].turn == 1
    texts = {
        side: "".join(e.text for e in events if isinstance(e, SideDelta) and e.side == side) for side in "ab"
    }
    assert texts == {"a": "plain words here", "b": "tuned words"}
    ends = {e.side: e for e in events if isinstance(e, SideEnd)}
    assert ends["a"].completion_tokens == 3
    assert ends["a"].tokens_per_second is not None
    battle = world.arena.battle(LOCAL_ADMIN, events[0].battle_id)
    assert (battle.a.model, battle.b.model) == ("plainbase@1", "finetuned@3")
    assert battle.revealed_at == battle.created_at


def test_named_sides_are_never_drawn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(monkeypatch, swap=True)
    battle = world.fight(blind=False)
    assert (battle.a.model_version_id, battle.b.model_version_id) == (BASE, TUNED)
    assert stored(world, battle.id)["probability"] == 1.0


@pytest.mark.parametrize("swap", [False, True])
def test_blind_sides_are_drawn_each_turn(world: World, monkeypatch: pytest.MonkeyPatch, swap: bool) -> None:
    draw(monkeypatch, swap=swap)
    battle = world.fight()
    assert world.model_on(battle, "a") == (TUNED if swap else BASE)
    assert stored(world, battle.id)["probability"] == 0.5


def test_blind_sides_come_both_ways(world: World) -> None:
    matchup = world.matchup()
    seen = {world.model_on(world.ask(world.arena.begin(LOCAL_ADMIN, matchup)), "a") for _ in range(30)}
    assert seen == {BASE, TUNED}


def test_both_answers_are_asked_in_one_batch(world: World) -> None:
    world.fight()
    assert [len(rows) for rows in world.backend.seen] == [2]


def test_contenders_on_different_bases_answer_too(world: World) -> None:
    matchup = Matchup(Contender("plainbase"), Contender("otherbase@2"), blind=False)
    battle = world.ask(world.arena.begin(LOCAL_ADMIN, matchup))
    assert (battle.a.model_version_id, battle.b.model_version_id) == (BASE, OTHER)


def test_battle_and_answers_are_stored_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the disk is full")

    conversation = world.begin()
    monkeypatch.setattr(world.arena._store, "add_battle", fail)
    with pytest.raises(RuntimeError):
        list(world.arena.turn(LOCAL_ADMIN, conversation, "Hello"))
    assert world.serving.generations(LOCAL_ADMIN) == ()
    assert world.arena.battles(LOCAL_ADMIN) == ()


def test_a_client_that_goes_away_leaves_a_cancelled_battle(world: World) -> None:
    world.backend.hanging = {BASE, TUNED}
    conversation = world.begin()
    events = world.arena.turn(LOCAL_ADMIN, conversation, "Hello")
    started = next(events)
    assert isinstance(next(events), SideDelta)
    events.close()
    assert world.backend.closed.is_set()
    battle = world.arena.battle(LOCAL_ADMIN, started.battle_id)
    _, revealed = world.arena.vote(LOCAL_ADMIN, NewVote(battle.id, Outcome.SKIP, "n"))
    assert (revealed.a.finish_reason, revealed.b.finish_reason) == ("cancelled", "cancelled")
    world.backend.hanging.clear()
    assert world.ask(conversation, "Once more").turn == 2


def test_closing_before_anything_was_asked_stores_nothing(world: World) -> None:
    events = world.arena.turn(LOCAL_ADMIN, world.begin(), "Hello")
    next(events)
    events.close()
    assert world.arena.battles(LOCAL_ADMIN) == ()
    assert world.backend.seen == []


def test_one_turn_at_a_time(world: World) -> None:
    conversation = world.begin(blind=False)
    first = world.arena.turn(LOCAL_ADMIN, conversation, "One")
    next(first)
    second = world.arena.turn(LOCAL_ADMIN, conversation, "Two")
    with pytest.raises(Conflict):
        next(second)
    list(first)
    assert world.ask(conversation, "Three").turn == 2


def test_a_blind_turn_needs_the_verdict_before(world: World) -> None:
    conversation = world.begin()
    battle = world.ask(conversation)
    with pytest.raises(Conflict):
        world.arena.turn(LOCAL_ADMIN, conversation, "And then?")
    world.arena.vote(LOCAL_ADMIN, NewVote(battle.id, Outcome.SKIP, "n"))
    assert world.ask(conversation, "And then?").turn == 2


def test_the_next_turn_goes_on_from_the_preferred_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(monkeypatch, swap=True)
    world.backend.queue(BASE, "from base")
    world.backend.queue(TUNED, "from tuned")
    conversation = world.begin()
    first = world.ask(conversation, "One")
    world.arena.vote(LOCAL_ADMIN, NewVote(first.id, Outcome.B, "n"))
    second = world.ask(conversation, "Two")
    assert second.prompt == (
        ChatMessage(role="user", content="One"),
        ChatMessage(role="assistant", content="from base"),
        ChatMessage(role="user", content="Two"),
    )
    row = stored(world, second.id)
    assert (row["continued_from"], row["continuation_drawn"]) == (first.b.generation_id, 0)
    assert all(asked.messages == second.prompt for asked in world.backend.seen[-1])


@pytest.mark.parametrize("outcome", [Outcome.TIE, Outcome.BOTH_BAD, Outcome.SKIP])
def test_without_a_preferred_answer_one_is_drawn(world: World, outcome: Outcome) -> None:
    conversation = world.begin()
    first = world.ask(conversation)
    world.arena.vote(LOCAL_ADMIN, NewVote(first.id, outcome, "n"))
    row = stored(world, world.ask(conversation, "Two").id)
    assert row["continued_from"] in (first.a.generation_id, first.b.generation_id)
    assert row["continuation_drawn"] == 1


def test_a_failed_answer_is_never_gone_on_from(world: World) -> None:
    world.backend.failing = {BASE}
    conversation = world.begin(blind=False)
    first = world.ask(conversation, "One")
    world.arena.vote(LOCAL_ADMIN, NewVote(first.id, Outcome.A, "n"))
    second = world.ask(conversation, "Two")
    assert stored(world, second.id)["continued_from"] == first.b.generation_id


def test_a_turn_that_nobody_answered_leaves_no_trace_in_the_next(world: World) -> None:
    world.backend.failing = {BASE, TUNED}
    conversation = world.begin(blind=False)
    world.ask(conversation, "One")
    world.backend.failing.clear()
    assert world.ask(conversation, "Two").prompt == (ChatMessage(role="user", content="Two"),)


def test_a_system_prompt_stays_out_of_the_shared_prompt(world: World) -> None:
    first, second = Contender(BASE, system_prompt="Be kind."), Contender(TUNED)
    battle = world.ask(world.arena.begin(LOCAL_ADMIN, Matchup(first, second, blind=False)))
    assert [m.role for m in battle.prompt] == ["user"]
    asked = {row.adapter_id: [m.role for m in row.messages] for row in world.backend.seen[-1]}
    assert asked == {None: ["system", "user"], TUNED: ["user"]}


def test_an_engine_that_refuses_leaves_nothing_and_may_be_asked_again(world: World) -> None:
    conversation = world.begin()
    world.backend.refusing = "The engine is full."
    with pytest.raises(Unavailable):
        list(world.arena.turn(LOCAL_ADMIN, conversation, "Hello"))
    world.backend.refusing = ""
    assert world.arena.battles(LOCAL_ADMIN) == ()
    assert world.ask(conversation).turn == 1


def test_sampling_is_the_matchups(world: World) -> None:
    matchup = Matchup(Contender(BASE), Contender(TUNED), blind=True, sampling=Sampling(max_tokens=9, seed=4))
    world.ask(world.arena.begin(LOCAL_ADMIN, matchup))
    assert {row.sampling for row in world.backend.seen[-1]} == {Sampling(max_tokens=9, seed=4)}


@pytest.mark.parametrize("text", ["", "  \n", "a\0b", "half a pair \ud800", "x" * 100_001])
def test_messages_that_cannot_be_used(world: World, text: str) -> None:
    with pytest.raises(InvalidInput):
        world.arena.turn(LOCAL_ADMIN, world.begin(), text)


def test_what_is_not_there(world: World) -> None:
    with pytest.raises(NotFound):
        world.arena.turn(LOCAL_ADMIN, "conv_none", "Hello")
    with pytest.raises(NotFound):
        world.arena.battle(LOCAL_ADMIN, "battle_none")
    with pytest.raises(NotFound):
        world.arena.begin(LOCAL_ADMIN, Matchup(Contender("nobody"), Contender(BASE), blind=True))


def test_battles_come_newest_first(world: World) -> None:
    conversation = world.begin(blind=False)
    first, other = world.ask(conversation), world.fight(blind=False)
    second = world.ask(conversation, "Two")
    assert [b.id for b in world.arena.battles(LOCAL_ADMIN)] == [second.id, other.id, first.id]
    assert [b.turn for b in world.arena.battles(LOCAL_ADMIN, conversation_id=conversation)] == [2, 1]
    assert len(world.arena.battles(LOCAL_ADMIN, limit=1)) == 1


def stored(world: World, battle_id: str) -> dict[str, object]:
    row = world.database.row("SELECT * FROM battles WHERE id = ?", (battle_id,))
    assert row is not None
    return dict(row)


@pytest.mark.parametrize("blind", [True, False])
def test_answers_that_break_off_name_no_model_to_a_blind_asker(
    world: World, monkeypatch: pytest.MonkeyPatch, blind: bool
) -> None:
    def broken(*_: object, **__: object) -> Iterator[TokenDelta]:
        yield TokenDelta(0, "half")
        raise Unavailable(f"{TUNED} is gone.")

    conversation = world.begin(blind=blind)
    monkeypatch.setattr(world.serving, "stream", broken)
    with pytest.raises(Unavailable) as caught:
        list(world.arena.turn(LOCAL_ADMIN, conversation, "Hello"))
    assert (TUNED in str(caught.value)) is not blind
