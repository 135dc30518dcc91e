"""The arena door: a stakeholder finds two answers without choosing, and never learns of what is private."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pages.app import ARENA, build
from pages.chat_lineup import VARIANTS, arrive_arena
from pages.chat_records import Lineup, Talk
from pages.chat_talk import converse, judge
from pages.components.visible import HIDDEN
from studio.core import LOCAL_ADMIN, Access, Node, Role
from studio.core.access import SharingChange, Visibility
from studio.datasets import Outcome
from studio.registry import ModelVersion
from studio.serving import Sampling, VariantSpec
from studio.studio import Studio
from tests.pages.building import in_a_loop
from tests.pages.conftest import visiting
from tests.pages.people import at_the_desk, settle_in
from tests.pages.talking import adapter_of, with_backend

MISSING, PAGE, MODE, SOURCE, FIRST, SECOND, DEPLOYMENT, APPLIED = range(8)


@pytest.fixture
def talking(studio: Studio) -> Studio:
    made, _ = with_backend(studio)
    settle_in(made)
    return made


@pytest.fixture
def taught(talking: Studio, base: ModelVersion, home: Path) -> ModelVersion:
    return adapter_of(talking, base, home / "adapter")


def arrived(
    studio: Studio, role: Role = Role.STAKEHOLDER, applied: str = "", **asked: str
) -> tuple[Any, ...]:
    theirs = at_the_desk(studio, role)
    return arrive_arena(theirs, visiting(**asked), first=None, second=None, applied=applied)


def keep_private(studio: Studio, *models: ModelVersion) -> None:
    for model in models:
        change = SharingChange(visibility=Visibility.PRIVATE)
        Access(studio.database, studio.audit).share(LOCAL_ADMIN, Node("model", model.model_id), change)


def test_with_nothing_to_compare_it_asks_for_nothing(talking: Studio) -> None:
    view = arrived(talking)
    assert view[MISSING]["visible"] is True
    assert view[PAGE]["visible"] == HIDDEN


def test_two_models_are_there_without_choosing(
    talking: Studio, base: ModelVersion, taught: ModelVersion
) -> None:
    view = arrived(talking)
    assert (view[FIRST]["value"], view[SECOND]["value"]) == (taught.reference, base.reference)
    assert view[SOURCE]["visible"] == HIDDEN


def test_what_is_in_use_is_compared_until_somebody_chooses(
    talking: Studio, base: ModelVersion, taught: ModelVersion
) -> None:
    variants = (VariantSpec("control", base.id, 1.0), VariantSpec("candidate", taught.id, 1.0))
    talking.serving.deploy(LOCAL_ADMIN, "helper", variants)
    view = arrived(talking)
    assert view[SOURCE]["value"] == VARIANTS
    assert view[DEPLOYMENT]["value"] == "helper"
    again = arrived(talking, applied=view[APPLIED])
    assert "value" not in again[SOURCE]
    asked = arrived(talking, a=taught.reference, b=base.reference)
    assert asked[FIRST]["value"] == taught.reference
    assert "value" not in asked[SOURCE]


@pytest.mark.parametrize(("role", "linked"), [(Role.STAKEHOLDER, False), (Role.RESEARCHER, True)])
def test_the_verdict_names_models_and_leads_only_where_one_may_go(
    talking: Studio, base: ModelVersion, taught: ModelVersion, role: Role, linked: bool
) -> None:
    theirs = at_the_desk(talking, role)
    lineup = Lineup(True, taught.reference, base.reference, "", Sampling())
    talk = list(converse(theirs, Talk(), "Hi", lineup))[-1].talk
    told = judge(theirs, talk, Outcome.A, "", "").status
    assert base.reference in told
    assert ("?tab=models" in told) is linked
    [vote] = talking.arena.votes(LOCAL_ADMIN)
    assert vote.voter == theirs.actor.name


def test_what_is_private_is_neither_shown_nor_an_error(
    talking: Studio, base: ModelVersion, taught: ModelVersion
) -> None:
    keep_private(talking, taught)
    view = arrived(talking, a=taught.reference)
    assert taught.reference not in repr(view[:APPLIED])
    assert view[FIRST]["value"] == view[SECOND]["value"] == base.reference
    keep_private(talking, base)
    assert arrived(talking)[MISSING]["visible"] is True
    assert arrived(talking, Role.ADMIN)[MISSING]["visible"] == HIDDEN


def test_nothing_in_the_arena_needs_to_be_explained(studio: Studio) -> None:
    """No word of the workshop stands where a stakeholder looks."""
    blocks = in_a_loop(partial(build, studio, ARENA)).blocks.values()
    seen = [one for one in blocks if getattr(one, "visible", True) is True]
    labels = [str(getattr(one, name, "") or "") for one in seen for name in ("label", "info", "placeholder")]
    words = " ".join(labels).casefold()
    for word in ("adapter", "lora", "variant", "deployment", "top p", "token", "repetition", "temperature"):
        assert word not in words.replace("tokens for programs", ""), word
