"""Battles as others may judge them: whole, blind, and without a word about who answered."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from studio.arena import Battle, NewVote
from studio.core import LOCAL_ADMIN, SYSTEM, Forbidden
from studio.datasets import Outcome
from tests.unit.arena.fakes import BASE, TUNED, VERSIONS
from tests.unit.arena.world import ANA, World


def _fight(world: World, *answers: str, blind: bool = True) -> Battle:
    world.backend.queue(BASE, answers[0])
    world.backend.queue(TUNED, answers[1])
    return world.fight(blind=blind)


def test_battles_come_oldest_first_after_a_cursor(world: World) -> None:
    fought = [_fight(world, f"One {n}.", f"Two {n}.") for n in range(5)]
    pairs = world.arena.pairs(SYSTEM, 0, 3)
    assert [pair.id for pair in pairs] == [battle.id for battle in fought[:3]]
    rest = world.arena.pairs(SYSTEM, pairs[-1].number, 10)
    assert [pair.id for pair in rest] == [battle.id for battle in fought[3:]]
    assert world.arena.pairs(SYSTEM, rest[-1].number, 10) == ()
    first = fought[0]
    assert (pairs[0].first[0]["content"], pairs[0].second[0]["content"]) == (first.a.text, first.b.text)
    assert pairs[0].generations == (first.a.generation_id, first.b.generation_id)
    assert pairs[0].prompt == ({"role": "user", "content": "What is a LoRA?"},)


def test_a_pair_names_no_model(world: World) -> None:
    battle = _fight(world, "One.", "Two.")
    hidden = str([asdict(pair) for pair in world.arena.pairs(SYSTEM, 0, 1)])
    world.arena.vote(ANA, NewVote(battle.id, Outcome.A, "n1"))
    shown = str([asdict(pair) for pair in world.arena.pairs(SYSTEM, 0, 1)])
    assert hidden == shown
    for version in VERSIONS:
        assert version.id not in shown
        assert version.name not in shown


def test_what_nobody_can_judge_is_left_out(world: World) -> None:
    _fight(world, "One.", "Two.", blind=False)
    _fight(world, "Same.", "Same. ")
    _fight(world, "One.", " ")
    world.backend.failing.add(TUNED)
    world.fight()
    world.backend.failing.clear()
    good = _fight(world, "One.", "Two.")
    assert [pair.id for pair in world.arena.pairs(SYSTEM, 0, 10)] == [good.id]


def test_an_answer_that_was_cut_off_is_not_whole(world: World) -> None:
    battle = _fight(world, "One.", "Two.")
    assert world.serving.is_whole(SYSTEM, battle.a.generation_id)
    with world.database.write() as connection:
        guards = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'generations'"
        for row in connection.execute(guards).fetchall():
            connection.execute(f"DROP TRIGGER {row['name']}")
        connection.execute("UPDATE generations SET finish_reason = 'length'")
    assert not world.serving.is_whole(SYSTEM, battle.a.generation_id)
    assert world.arena.pairs(SYSTEM, 0, 10) == ()


def test_only_the_studio_may_ask(world: World) -> None:
    battle = _fight(world, "One.", "Two.")
    for call in (
        lambda: world.arena.pairs(ANA, 0, 10),
        lambda: world.serving.is_whole(ANA, battle.a.generation_id),
    ):
        with pytest.raises(Forbidden):
            call()
    assert world.arena.pairs(LOCAL_ADMIN, 0, 10)
