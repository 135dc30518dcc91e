from __future__ import annotations

from itertools import combinations

import pytest

from studio.arena import NewThumb, NewVote, VariantScore
from studio.core import LOCAL_ADMIN, Conflict
from studio.datasets import Outcome
from studio.serving import ChatMessage, VariantSpec
from tests.unit.arena.fakes import BASE, OTHER, TUNED
from tests.unit.arena.world import ANA, BEN, World


def scores(world: World) -> dict[str, VariantScore]:
    [experiment] = world.arena.experiments(ANA)
    return {score.variant: score for score in experiment.variants}


def counts(score: VariantScore) -> tuple[int, ...]:
    return (score.wins, score.losses, score.ties, score.both_bad)


def side_of(world: World, battle_id: str, model: str) -> str:
    battle = world.arena.battle(LOCAL_ADMIN, battle_id)
    return next(side for side in "ab" if world.model_on(battle, side) == model)


def test_votes_count_for_the_variant_that_stood_there(world: World) -> None:
    world.deploy()
    for n in range(6):
        battle = world.fight_in("assistant")
        world.arena.vote(ANA, NewVote(battle.id, Outcome(side_of(world, battle.id, TUNED)), f"n{n}"))
    for n, outcome in enumerate((Outcome.TIE, Outcome.BOTH_BAD, Outcome.SKIP)):
        world.arena.vote(ANA, NewVote(world.fight_in("assistant").id, outcome, f"m{n}"))
    found = scores(world)
    assert counts(found["candidate"]) == (6, 0, 1, 1)
    assert counts(found["control"]) == (0, 6, 1, 1)
    assert (found["candidate"].answers, found["candidate"].weight) == (9, 3.0)
    assert found["candidate"].model_version_id == TUNED


def test_hidden_battles_are_not_counted(world: World) -> None:
    """One side fails: were hidden answers counted, the counts would tell which variant it was."""
    world.deploy()
    world.backend.failing = {TUNED}
    before = repr(world.arena.experiments(ANA))
    battle = world.fight_in("assistant")
    for n, side in enumerate((battle.a, battle.b)):
        world.arena.thumb(ANA, NewThumb(side.generation_id, n == 0, f"t{n}"))
    assert repr(world.arena.experiments(ANA)) == before
    world.arena.vote(ANA, NewVote(battle.id, Outcome.SKIP, "n"))
    found = scores(world)
    assert (found["control"].answers, found["candidate"].answers) == (1, 0)
    assert sum(s.thumbs_up for s in found.values()) == sum(s.thumbs_down for s in found.values()) == 1


def test_a_correction_after_the_reveal_does_not_count(world: World) -> None:
    world.deploy()
    battle = world.fight_in("assistant")
    side = side_of(world, battle.id, TUNED)
    world.arena.vote(ANA, NewVote(battle.id, Outcome(side), "n1"))
    world.arena.vote(ANA, NewVote(battle.id, Outcome.BOTH_BAD, "n2"))
    assert counts(scores(world)["candidate"]) == (1, 0, 0, 0)


def test_battles_with_others_and_with_former_models_do_not_count(world: World) -> None:
    world.deploy()
    world.arena.vote(ANA, NewVote(world.fight().id, Outcome.A, "n1"))
    world.arena.vote(ANA, NewVote(world.fight_in("assistant").id, Outcome.A, "n2"))
    changed = (VariantSpec("control", OTHER, 1.0), VariantSpec("candidate", TUNED, 1.0))
    world.serving.deploy(LOCAL_ADMIN, "assistant", changed)
    assert {counts(score) for score in scores(world).values()} == {(0, 0, 0, 0)}


def test_thumbs_on_what_clients_were_answered_count(world: World) -> None:
    world.deploy()
    message = ChatMessage(role="user", content="Hi")
    prediction = world.serving.predict(LOCAL_ADMIN, "assistant", "user 1", (message,))
    world.arena.thumb(ANA, NewThumb(prediction.generation.id, True, "t1"))
    world.arena.thumb(BEN, NewThumb(prediction.generation.id, False, "t2"))
    world.arena.thumb(BEN, NewThumb(prediction.generation.id, None, "t3"))
    score = scores(world)[prediction.variant]
    assert (score.answers, score.thumbs_up, score.thumbs_down) == (1, 1, 0)


def test_only_live_deployments_with_several_variants(world: World) -> None:
    world.serving.deploy(LOCAL_ADMIN, "single", (VariantSpec("only", BASE, 1.0),))
    world.deploy("gone")
    world.serving.retire(LOCAL_ADMIN, "gone")
    assert world.arena.experiments(ANA) == ()
    for name in ("single", "gone"):
        with pytest.raises(Conflict):
            world.arena.deployment_matchup(ANA, name, blind=True)


def test_a_pair_of_three_variants_is_drawn_and_its_probability_kept(world: World) -> None:
    world.deploy("three", VariantSpec("outsider", OTHER, 1.0))
    drawn = [world.arena.deployment_matchup(ANA, "three", blind=True) for _ in range(60)]
    pairs = {(matchup.first.variant, matchup.second.variant) for matchup in drawn}
    assert pairs == set(combinations(("control", "candidate", "outsider"), 2))
    battle = world.ask(world.arena.begin(ANA, drawn[0]))
    row = world.database.row("SELECT probability FROM battles WHERE id = ?", (battle.id,))
    assert row is not None
    assert row["probability"] == pytest.approx(1 / 6)


def test_a_variants_system_prompt_goes_with_it(world: World) -> None:
    world.deploy()
    matchup = world.arena.deployment_matchup(ANA, "assistant", blind=False)
    assert (matchup.first.system_prompt, matchup.second.system_prompt) == ("", "Be brief.")
