from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from studio.arena import NewThumb, NewVote
from studio.core import LOCAL_ADMIN, Actor, Conflict, Forbidden, InvalidInput, Node, NotFound, Role
from studio.datasets import Outcome
from studio.serving import ChatMessage, RowRequest, Sampling
from tests.unit.arena.fakes import BASE, TUNED
from tests.unit.arena.world import ANA, BEN, World


def test_a_vote_reveals_and_is_kept(world: World) -> None:
    battle = world.fight()
    new = NewVote(battle.id, Outcome.A, "n1", ("clear",), "short", "A better one.", 10.0, 4.5)
    vote, revealed = world.arena.vote(ANA, new)
    assert (vote.outcome, vote.reasons, vote.comment, vote.better_answer) == (
        Outcome.A, ("clear",), "short", "A better one.",
    )  # fmt: skip
    assert (vote.voter, vote.after_reveal, vote.supersedes) == ("ana", False, None)
    assert (vote.shown_at, vote.active_seconds) == (10.0, 4.5)
    assert revealed.revealed_at == vote.voted_at
    assert revealed.outcome is Outcome.A
    assert {revealed.a.model_version_id, revealed.b.model_version_id} == {BASE, TUNED}
    assert world.arena.votes(LOCAL_ADMIN) == (vote,)


def test_a_vote_leads_back_to_its_answers(world: World) -> None:
    battle = world.fight()
    vote, _ = world.arena.vote(ANA, NewVote(battle.id, Outcome.A, "n1"))
    parents = {edge.parent for edge in world.lineage.parents(Node("vote", vote.id))}
    assert parents == {Node("generation", side.generation_id) for side in (battle.a, battle.b)}
    assert [(e.actor, e.verb) for e in world.audit.recent(LOCAL_ADMIN, 1)] == [("ana", "voted")]


def test_a_retry_is_the_same_vote(world: World) -> None:
    battle = world.fight()
    new = NewVote(battle.id, Outcome.TIE, "n1", shown_at=1.0)
    first, _ = world.arena.vote(ANA, new)
    again, _ = world.arena.vote(ANA, replace(new, shown_at=2.0, active_seconds=3.0))
    assert again == first
    assert len(world.arena.votes(LOCAL_ADMIN)) == 1
    assert sum(entry.verb == "voted" for entry in world.audit.recent(LOCAL_ADMIN)) == 1


@pytest.mark.parametrize(
    "change", [{"outcome": Outcome.B}, {"comment": "other"}, {"better_answer": "x"}, {"reasons": ("y",)}]
)
def test_a_nonce_of_another_vote_is_refused(world: World, change: dict[str, object]) -> None:
    battle = world.fight()
    new = NewVote(battle.id, Outcome.A, "n1")
    world.arena.vote(ANA, new)
    with pytest.raises(Conflict):
        world.arena.vote(ANA, replace(new, **change))
    with pytest.raises(Conflict):
        world.arena.vote(BEN, new)
    with pytest.raises(Conflict):
        world.arena.vote(ANA, replace(new, battle_id=world.fight().id))


def test_fifty_retries_at_once_make_one_vote(world: World) -> None:
    new = NewVote(world.fight().id, Outcome.A, "n1")
    with ThreadPoolExecutor(50) as pool:
        votes = list(pool.map(lambda _: world.arena.vote(ANA, new)[0], range(50)))
    assert len({vote.id for vote in votes}) == 1
    assert world.arena.votes(LOCAL_ADMIN) == (votes[0],)


def test_fifty_voters_at_once_have_one_who_was_first(world: World) -> None:
    battle = world.fight()

    def vote(n: int) -> bool:
        actor = Actor(f"voter {n}", Role.STAKEHOLDER)
        return world.arena.vote(actor, NewVote(battle.id, Outcome.A, f"n{n}"))[0].after_reveal

    with ThreadPoolExecutor(50) as pool:
        assert sorted(pool.map(vote, range(50))) == [False] + [True] * 49


def test_a_correction_supersedes_and_is_flagged(world: World) -> None:
    battle = world.fight()
    first, _ = world.arena.vote(ANA, NewVote(battle.id, Outcome.A, "n1"))
    second, corrected = world.arena.vote(ANA, NewVote(battle.id, Outcome.B, "n2"))
    assert (second.supersedes, second.after_reveal) == (first.id, True)
    assert corrected.outcome is Outcome.B
    assert corrected.revealed_at == first.voted_at
    other, _ = world.arena.vote(BEN, NewVote(battle.id, Outcome.B, "n3"))
    assert other.supersedes is None
    assert world.arena.outcomes(ANA) == {Outcome.A: 1, Outcome.B: 2}


def test_of_a_blind_battle_the_verdict_before_the_reveal_stands(world: World) -> None:
    battle = world.fight()
    first, _ = world.arena.vote(ANA, NewVote(battle.id, Outcome.A, "n1", better_answer="Better."))
    world.arena.vote(ANA, NewVote(battle.id, Outcome.B, "n2"))
    world.arena.vote(BEN, NewVote(battle.id, Outcome.B, "n3"))
    [judgement] = world.arena.judgements(LOCAL_ADMIN)
    assert (judgement.kind, judgement.id, judgement.outcome) == ("vote", first.id, Outcome.A)
    assert (judgement.blind, judgement.voter, judgement.better_answer) == (True, "ana", "Better.")
    assert judgement.prompt == ({"role": "user", "content": "What is a LoRA?"},)
    assert judgement.a.generation_id == battle.a.generation_id
    assert judgement.a.messages == ({"role": "assistant", "content": battle.a.text},)


def test_verdicts_on_named_battles_are_not_blind(world: World) -> None:
    battle = world.fight(blind=False)
    first, _ = world.arena.vote(ANA, NewVote(battle.id, Outcome.A, "n1"))
    assert first.after_reveal
    newest, _ = world.arena.vote(ANA, NewVote(battle.id, Outcome.B, "n2"))
    [judgement] = world.arena.judgements(LOCAL_ADMIN)
    assert (judgement.id, judgement.blind) == (newest.id, False)


def test_judgements_by_deployment_and_source(world: World) -> None:
    world.deploy()
    matchup = world.arena.deployment_matchup(LOCAL_ADMIN, "assistant", blind=True, source="loop")
    mine = world.ask(world.arena.begin(LOCAL_ADMIN, matchup))
    other = world.fight()
    for n, battle in enumerate((mine, other)):
        world.arena.vote(ANA, NewVote(battle.id, Outcome.A, f"n{n}"))
    assert len(world.arena.judgements(LOCAL_ADMIN)) == 2
    for found in (
        world.arena.judgements(LOCAL_ADMIN, deployment="assistant"),
        world.arena.judgements(LOCAL_ADMIN, source="loop"),
    ):
        assert [j.a.generation_id for j in found] == [mine.a.generation_id]
    assert world.arena.judgements(LOCAL_ADMIN, deployment="none") == ()


def test_judgements_carry_how_an_answer_ended(world: World) -> None:
    world.backend.failing = {BASE}
    battle = world.fight()
    world.arena.vote(ANA, NewVote(battle.id, Outcome.BOTH_BAD, "n"))
    [judgement] = world.arena.judgements(LOCAL_ADMIN)
    assert {(c.finish_reason, bool(c.error)) for c in (judgement.a, judgement.b)} == {
        ("stop", False),
        ("error", True),
    }


def test_a_thumb_reveals_nothing_and_the_newest_counts(world: World) -> None:
    battle = world.fight()
    up = NewThumb(battle.a.generation_id, True, "t1", "good")
    thumb = world.arena.thumb(ANA, up)
    assert world.arena.thumb(ANA, up) == thumb
    assert world.arena.battle(ANA, battle.id).revealed_at is None
    assert world.arena.hides(battle.a.generation_id)
    # Whether the answer was cut off is hidden too, so the thumb waits for the verdict.
    assert world.arena.opinions(LOCAL_ADMIN) == ()
    world.arena.vote(ANA, NewVote(battle.id, Outcome.A, "v"))
    [opinion] = world.arena.opinions(LOCAL_ADMIN)
    assert (opinion.kind, opinion.id, opinion.positive, opinion.voter) == ("thumb", thumb.id, True, "ana")
    assert opinion.answer.messages == ({"role": "assistant", "content": battle.a.text},)
    down = world.arena.thumb(ANA, NewThumb(battle.a.generation_id, False, "t2"))
    assert [(o.id, o.positive) for o in world.arena.opinions(LOCAL_ADMIN)] == [(down.id, False)]
    world.arena.thumb(ANA, NewThumb(battle.a.generation_id, None, "t3"))
    assert world.arena.opinions(LOCAL_ADMIN) == ()


def test_a_thumb_on_an_answer_outside_any_battle(world: World) -> None:
    row = RowRequest(BASE, (ChatMessage(role="user", content="Hi"),), Sampling())
    answer = world.serving.complete(LOCAL_ADMIN, row, user="u", source="predict")
    world.arena.thumb(ANA, NewThumb(answer.id, True, "t"))
    [opinion] = world.arena.opinions(LOCAL_ADMIN)
    assert opinion.prompt == ({"role": "user", "content": "Hi"},)
    with pytest.raises(NotFound):
        world.arena.thumb(ANA, NewThumb("gen_none", True, "t9"))


def test_fifty_retries_at_once_make_one_thumb(world: World) -> None:
    battle = world.fight()
    world.arena.vote(ANA, NewVote(battle.id, Outcome.A, "v"))
    new = NewThumb(battle.a.generation_id, True, "t")
    with ThreadPoolExecutor(50) as pool:
        assert len({t.id for t in pool.map(lambda _: world.arena.thumb(ANA, new), range(50))}) == 1
    assert len(world.arena.opinions(LOCAL_ADMIN)) == 1
    with pytest.raises(Conflict):
        world.arena.thumb(ANA, replace(new, up=False))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE votes SET outcome = 'b'",
        "DELETE FROM votes",
        "INSERT OR REPLACE INTO votes SELECT * FROM votes",
        "UPDATE thumbs SET up = 0",
        "DELETE FROM thumbs",
        "INSERT OR REPLACE INTO thumbs SELECT * FROM thumbs",
        "UPDATE battles SET revealed_at = 1",
        "UPDATE battles SET revealed_at = NULL",
        "UPDATE battles SET prompt = '[]'",
        "DELETE FROM battles",
        "UPDATE sides SET side = 'a'",
        "DELETE FROM sides",
    ],
)
def test_what_is_stored_stays(world: World, statement: str) -> None:
    battle = world.fight()
    world.arena.thumb(ANA, NewThumb(battle.a.generation_id, True, "t"))
    world.arena.vote(ANA, NewVote(battle.id, Outcome.A, "n"))
    with pytest.raises(sqlite3.IntegrityError), world.database.write() as connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": " "},
        {"comment": "a\0b"},
        {"better_answer": "\udc00"},
        {"reasons": ("r",) * 21},
        {"shown_at": float("nan")},
        {"active_seconds": -1.0},
    ],
)
def test_votes_that_cannot_be_stored(world: World, change: dict[str, object]) -> None:
    battle = world.fight()
    with pytest.raises(InvalidInput):
        world.arena.vote(ANA, replace(NewVote(battle.id, Outcome.A, "n"), **change))
    assert world.arena.battle(ANA, battle.id).revealed_at is None


def test_a_vote_on_nothing(world: World) -> None:
    with pytest.raises(NotFound):
        world.arena.vote(ANA, NewVote("battle_none", Outcome.A, "n"))


def test_roles(world: World) -> None:
    for read in (world.arena.votes, world.arena.judgements, world.arena.opinions):
        with pytest.raises(Forbidden):
            read(ANA)
