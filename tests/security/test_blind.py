"""A blind battle stays blind: no read of the arena or of the serving room tells who is who."""

from __future__ import annotations

import dataclasses
import secrets
from pathlib import Path

import pytest

from studio.arena import BattleStarted, NewThumb, NewVote, SideEnd
from studio.core import LOCAL_ADMIN, Database, Node, Settings
from studio.datasets import Outcome
from studio.serving import RowEnd, TokenDelta
from tests.unit.arena.fakes import BASE, TUNED
from tests.unit.arena.world import World, build_world

# Whatever names a contender: ids, names, variants, the deployment, and what only one of them was told.
TELLING = (BASE, TUNED, "plainbase", "finetuned", "control", "candidate", "helpdesk", "Be brief.")


@pytest.fixture
def world(database: Database, home: Path, settings: Settings) -> World:
    built = build_world(database, home, settings)
    built.deploy("helpdesk")
    return built


def blind_turn(world: World) -> tuple[str, list[object]]:
    matchup = world.arena.deployment_matchup(LOCAL_ADMIN, "helpdesk", blind=True)
    events = list(world.arena.turn(LOCAL_ADMIN, world.arena.begin(LOCAL_ADMIN, matchup), "What is a LoRA?"))
    assert isinstance(events[0], BattleStarted)
    return events[0].battle_id, list(events)


def everything_readable(world: World, battle_id: str) -> str:
    """Every read that an asker has, in one string."""
    battle = world.arena.battle(LOCAL_ADMIN, battle_id)
    answers = [battle.a.generation_id, battle.b.generation_id]
    reads = [
        battle,
        world.arena.battles(LOCAL_ADMIN),
        world.arena.votes(LOCAL_ADMIN),
        world.arena.judgements(LOCAL_ADMIN),
        world.arena.judgements(LOCAL_ADMIN, deployment="helpdesk"),
        world.arena.opinions(LOCAL_ADMIN),
        world.arena.hidden(LOCAL_ADMIN),
        world.serving.generations(LOCAL_ADMIN),
        world.serving.generations(LOCAL_ADMIN, deployment="helpdesk"),
        [world.serving.generation(LOCAL_ADMIN, answer) for answer in answers],
        [world.lineage.ancestors(Node("generation", answer)) for answer in answers],
        [world.lineage.children(Node("generation", answer)) for answer in answers],
        # What was done before the battle (a deployment) may name its models; what was done in it may not.
        [entry for entry in world.audit.recent(LOCAL_ADMIN) if entry.verb != "deployed"],
    ]
    return "\n".join(map(repr, reads))


def counts(world: World) -> str:
    """What is counted by variant."""
    answers = world.serving.variant_answers(LOCAL_ADMIN, "helpdesk")
    return repr((world.arena.experiments(LOCAL_ADMIN), answers))


def told(text: str) -> set[str]:
    return {word for word in TELLING if word in text}


def test_nothing_tells_before_the_verdict_and_everything_after(world: World) -> None:
    counted = repr(
        (world.arena.experiments(LOCAL_ADMIN), world.serving.variant_answers(LOCAL_ADMIN, "helpdesk"))
    )
    battle_id, events = blind_turn(world)
    assert told(repr(events)) == set()
    assert told(everything_readable(world, battle_id)) == set()
    now = repr((world.arena.experiments(LOCAL_ADMIN), world.serving.variant_answers(LOCAL_ADMIN, "helpdesk")))
    assert now == counted
    vote, revealed = world.arena.vote(LOCAL_ADMIN, NewVote(battle_id, Outcome.A, "n"))
    assert told(repr(vote)) == set()
    assert told(repr(revealed)) >= {BASE, TUNED, "plainbase", "finetuned", "control", "candidate"}
    assert told(everything_readable(world, battle_id)) == set(TELLING)


def test_thumbs_and_corrections_of_them_tell_nothing(world: World) -> None:
    battle_id, _ = blind_turn(world)
    battle = world.arena.battle(LOCAL_ADMIN, battle_id)
    thumb = world.arena.thumb(LOCAL_ADMIN, NewThumb(battle.a.generation_id, True, "t", "nice"))
    assert told(repr(thumb) + everything_readable(world, battle_id)) == set()


def test_no_measurement_reaches_a_blind_asker(world: World) -> None:
    battle_id, events = blind_turn(world)
    ends = [event for event in events if isinstance(event, SideEnd)]
    assert {dataclasses.astuple(end)[3:] for end in ends} == {(None, None, None)}
    battle = world.arena.battle(LOCAL_ADMIN, battle_id)
    first, second = (world.serving.generation(LOCAL_ADMIN, s.generation_id) for s in (battle.a, battle.b))
    measured = (
        "prompt_tokens",
        "completion_tokens",
        "seed",
        "seconds",
        "first_token_seconds",
        "template_digest",
    )
    for name in measured:
        assert not getattr(first, name)
    same = ("messages", "sampling", "created_at", "user", "source", "deployment", "variant", *measured)
    for name in same:
        assert getattr(first, name) == getattr(second, name)


def test_a_failure_does_not_name_its_model(world: World) -> None:
    world.backend.failing = {TUNED}
    battle_id, events = blind_turn(world)
    assert "failed" in repr(events)
    assert told(repr(events) + everything_readable(world, battle_id)) == set()
    _, revealed = world.arena.vote(LOCAL_ADMIN, NewVote(battle_id, Outcome.SKIP, "n"))
    assert f"{TUNED} ran out of memory" in repr(revealed)


def test_answers_are_hidden_while_they_are_written(world: World) -> None:
    matchup = world.arena.deployment_matchup(LOCAL_ADMIN, "helpdesk", blind=True)
    events = world.arena.turn(LOCAL_ADMIN, world.arena.begin(LOCAL_ADMIN, matchup), "Hello")
    next(events), next(events)
    under_way = set(world.arena._turns._unstored)
    assert len(under_way) == 2
    assert all(world.arena.hides(generation_id) for generation_id in under_way)
    list(events)
    assert world.arena._turns._unstored == set()
    assert world.arena.hidden(LOCAL_ADMIN) == under_way


def test_an_abandoned_turn_stays_hidden(world: World) -> None:
    world.backend.hanging = {BASE, TUNED}
    matchup = world.arena.deployment_matchup(LOCAL_ADMIN, "helpdesk", blind=True)
    events = world.arena.turn(LOCAL_ADMIN, world.arena.begin(LOCAL_ADMIN, matchup), "Hello")
    started = next(events)
    next(events)
    events.close()
    assert told(everything_readable(world, started.battle_id)) == set()


def test_the_order_of_storing_says_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row that is stored first is side A, whoever stands there."""
    firsts = set()
    for swap in (0, 1):
        monkeypatch.setattr(secrets, "randbelow", lambda n, swap=swap: swap)
        battle_id, _ = blind_turn(world)
        battle = world.arena.battle(LOCAL_ADMIN, battle_id)
        newest = world.serving.generations(LOCAL_ADMIN, 2)
        assert [g.id for g in reversed(newest)] == [battle.a.generation_id, battle.b.generation_id]
        firsts.add(world.model_on(battle, "a"))
    assert firsts == {BASE, TUNED}


def test_the_verdict_on_one_turn_does_not_reveal_the_next(world: World) -> None:
    conversation = world.begin()
    first = world.ask(conversation)
    world.arena.vote(LOCAL_ADMIN, NewVote(first.id, Outcome.A, "n"))
    second = world.ask(conversation, "And then?")
    assert told(repr(world.arena.battle(LOCAL_ADMIN, second.id))) == set()
    assert world.arena.hides(second.a.generation_id)
    assert not world.arena.hides(first.a.generation_id)


def test_events_carry_no_more_than_text(world: World) -> None:
    """Were the serving room's own events passed on, their token counts and seeds would go along."""
    _, events = blind_turn(world)
    assert not any(isinstance(event, TokenDelta | RowEnd) for event in events)
