"""What the variants of a deployment received, counted without telling anything about hidden battles.

A vote counts where both answers came from the deployment's variants as they are now: a variant that got
another model starts again. Counts, no verdict: which variant is better is for statistics to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from studio.arena.records import Experiment, VariantScore, Vote
from studio.arena.store import ArenaStore
from studio.arena.stored import StoredBattle, StoredSide
from studio.datasets import Outcome
from studio.serving import Deployment, VariantSpec

_Tally = Counter[tuple[str, str]]
#: Whether the answer with this id ended with an error.
Failed = Callable[[str], bool]


def experiment(
    store: ArenaStore, deployment: Deployment, answers: Mapping[str, int], failed: Failed
) -> Experiment:
    """Answers, votes and thumbs by variant; ``answers`` counts what clients may see of each variant.

    Votes on battles in which an answer ``failed`` do not count: they judge a server and no model.
    """
    tally = _tally(store, deployment, failed)
    return Experiment(
        deployment.name,
        deployment.revision,
        tuple(_score(store, deployment, variant, answers, tally) for variant in deployment.variants),
    )


def _tally(store: ArenaStore, deployment: Deployment, failed: Failed) -> _Tally:
    current = {(deployment.name, v.name, v.model_version_id) for v in deployment.variants}
    battles = {
        battle.id: battle
        for battle in store.judged(deployment.name)
        if _between(battle, current)
        and not failed(battle.a.generation_id)
        and not failed(battle.b.generation_id)
    }
    tally: _Tally = Counter()
    for vote in store.standing_votes():
        if vote.battle_id in battles:
            tally.update(_received(vote, battles[vote.battle_id]))
    return tally


def _received(vote: Vote, battle: StoredBattle) -> list[tuple[str, str]]:
    """What a vote adds to each side's variant: a (variant, field) pair each; a skip adds nothing."""
    fields = {
        Outcome.A: ("wins", "losses"),
        Outcome.B: ("losses", "wins"),
        Outcome.TIE: ("ties", "ties"),
        Outcome.BOTH_BAD: ("both_bad", "both_bad"),
    }
    if vote.outcome not in fields:
        return []
    a, b = fields[vote.outcome]
    return [(battle.a.variant, a), (battle.b.variant, b)]


def _score(
    store: ArenaStore,
    deployment: Deployment,
    variant: VariantSpec,
    answers: Mapping[str, int],
    tally: _Tally,
) -> VariantScore:
    thumbs = store.thumb_count(deployment.name, variant.name, variant.model_version_id)
    return VariantScore(
        variant=variant.name,
        model_version_id=variant.model_version_id,
        weight=variant.weight,
        answers=answers.get(variant.name, 0),
        wins=tally[variant.name, "wins"],
        losses=tally[variant.name, "losses"],
        ties=tally[variant.name, "ties"],
        both_bad=tally[variant.name, "both_bad"],
        thumbs_up=thumbs.up,
        thumbs_down=thumbs.down,
    )


def _between(battle: StoredBattle, current: set[tuple[str, str, str]]) -> bool:
    a, b = _who(battle.a), _who(battle.b)
    return a != b and {a, b} <= current


def _who(side: StoredSide) -> tuple[str, str, str]:
    return side.deployment, side.variant, side.model_version_id
