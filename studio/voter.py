"""A scripted voter for the loop: it judges answers that were really generated, by one plain rule.

It stands in for a person only where nobody is there to ask, and its votes say so: they are stored
under its own name. It rewards answers that speak of the studio; it cannot tell right from wrong.
"""

from __future__ import annotations

import re

from studio.arena import Battle
from studio.core import Actor, Role
from studio.datasets import Outcome

VOTER = Actor("scripted-voter", Role.STAKEHOLDER)

RULE = (
    "prefers the answer that names more of the studio's own terms per word (at least 12 words are counted); "
    "answers with fewer than 2 of them are bad, and a difference under a tenth is a tie"
)

_TERMS = (
    "adapter alias annotate answer base battle blind candidate chat checkpoint chosen corpus cpt csv "
    "data dataset deploy deployment dpo edit epoch evaluation held home import instruction job json "
    "jsonl keys label lineage log lora loss model models pair pairs parquet preference preferences "
    "prompt recipe registry reject rejected rejects resume reveal rollback route row rows run runs "
    "sft side sides split step steps stop studio tab thumb thumbs tie traffic train training undo "
    "validation variant variants version vote votes weight weights yaml"
)
TERMS = frozenset(_TERMS.split())

_MARGIN = 1.1
_FEWEST_TERMS = 2
# Below this an answer's density says more about its brevity than about its subject.
_FEWEST_WORDS = 12


def judge(battle: Battle) -> Outcome:
    """The verdict of ``RULE`` on a battle whose names are still hidden."""
    a, b = _density(battle.a.text), _density(battle.b.text)
    if a == b == 0.0:
        return Outcome.BOTH_BAD
    if a >= b * _MARGIN:
        return Outcome.A
    if b >= a * _MARGIN:
        return Outcome.B
    return Outcome.TIE


def _density(text: str) -> float:
    words = re.findall(r"[a-z]+", text.lower())
    terms = sum(word in TERMS for word in words)
    return terms / max(len(words), _FEWEST_WORDS) if terms >= _FEWEST_TERMS else 0.0
