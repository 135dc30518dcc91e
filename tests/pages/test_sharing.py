"""The sharing panel and the marks, on the pages of a dataset, a run and a model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pages import data, data_build, models
from pages.components import sharing
from pages.components.marks import marks_note
from pages.components.run_detail import run_facts
from pages.components.visible import HIDDEN
from studio.accounts import NewAccount
from studio.core import Actor, Forbidden, InvalidInput, Mark, Node, NotFound, Role, Visibility
from studio.datasets import DatasetVersion, Split
from studio.registry import ModelVersion
from studio.studio import Studio
from studio.training import Stage, StartRun
from tests.pages.conftest import visiting
from tests.unit.api.conftest import ADA, PASSWORD, with_cheap_passwords

OLGA = Actor("olga", Role.RESEARCHER)
REX = Actor("rex", Role.RESEARCHER)
PANEL, WORDS, FORM, VISIBILITY, ROLES, PEOPLE, TARGET = range(7)


@pytest.fixture
def team(studio: Studio) -> Studio:
    """The studio with accounts, and an admin at the desk."""
    cheap = with_cheap_passwords(studio)
    cheap.accounts.create_first("ada", PASSWORD)
    for actor in (OLGA, REX):
        cheap.accounts.add(ADA, NewAccount(actor.name, actor.role, PASSWORD))
    return replace(cheap, actor=ADA)


def test_a_single_user_has_nobody_to_share_with(studio: Studio, instructions: DatasetVersion) -> None:
    filled = sharing.fill(studio, Node("dataset", instructions.dataset_id))
    assert filled[PANEL]["visible"] == HIDDEN


def test_sharing_is_said_and_changed(team: Studio, instructions: DatasetVersion, monkeypatch) -> None:
    monkeypatch.setattr(sharing, "toast", lambda *_: None)
    node = Node("dataset", instructions.dataset_id)
    filled = sharing.fill(team, node)
    assert (filled[PANEL]["visible"], filled[FORM]["visible"]) == (True, True)
    assert "Everyone whose role allows it" in filled[WORDS]
    assert filled[PEOPLE]["choices"] == ["ada", "olga", "rex"]
    filled = sharing.save(team, node, "private", ["annotator"], ["olga"])
    assert "all annotators, olga" in filled[WORDS]
    assert (filled[VISIBILITY], filled[ROLES], filled[PEOPLE]["value"]) == (
        "private",
        ["annotator"],
        ["olga"],
    )
    theirs = sharing.fill(team.acting(OLGA), node)
    assert (theirs[PANEL]["visible"], theirs[FORM]["visible"]) == (True, HIDDEN)
    assert sharing.fill(team.acting(REX), node)[PANEL]["visible"] == HIDDEN
    with pytest.raises(Forbidden):
        sharing.save(team.acting(OLGA), node, "team", [], [])
    with pytest.raises(NotFound):
        sharing.save(team.acting(REX), node, "team", [], [])
    assert team.access.sharing(ADA, node).visibility is Visibility.PRIVATE


@pytest.mark.parametrize(("visibility", "roles"), [("everyone", []), ("team", ["admin"]), ("team", ["x"])])
def test_what_no_form_offers_is_refused(
    team: Studio, instructions: DatasetVersion, visibility: str, roles: list[str]
) -> None:
    with pytest.raises(InvalidInput):
        sharing.save(team, Node("dataset", instructions.dataset_id), visibility, roles, [])


def test_the_open_dataset_and_model_have_their_panel(
    team: Studio, instructions: DatasetVersion, base: ModelVersion
) -> None:
    view = data.view(team, visiting(tab="data", version=instructions.id))
    assert view[-2] == instructions.dataset_id
    assert data.view(team, visiting(tab="data"))[-2] == ""
    *_, target, _form = models.arrive(team, visiting(tab="models", model=base.reference))
    assert target == base.model_id
    *_, target, _form = models.arrive(team, visiting(tab="models", model="gone"))
    assert target == ""


def test_marks_are_shown_on_all_three_pages(
    studio: Studio, instructions: DatasetVersion, base: ModelVersion
) -> None:
    recipe = f"model: {base.reference}\ndataset: {instructions.reference}\n"
    run = studio.training.start(studio.actor, StartRun(Stage.SFT, recipe))
    nodes = (Node("dataset_version", instructions.id), Node("model_version", base.id))
    studio.lineage.mark(nodes, "erased", "erased-<b>1")
    shown = (
        repr(data.view(studio, visiting(tab="data", version=instructions.id))),
        repr(models.view(studio, visiting(tab="models", model=base.id))),
        run_facts(studio, studio.training.get(studio.actor, run.id)),
    )
    for view in shown:
        assert "erased-&lt;b&gt;1" in view
    assert marks_note(()) == ""
    assert "2 people" in marks_note([Mark("erased", "erased-1", 0.0), Mark("erased", "erased-2", 0.0)])


def test_the_join_form_leaves_protected_prompts_out(studio: Studio, instructions: DatasetVersion) -> None:
    studio.datasets.protect(studio.actor, instructions.id, Split.TRAIN, "evaluation")
    refused = data_build.join(studio, dataset="all", versions=[instructions.reference], seed=0)
    assert "what is 0?" in refused
    assert "evaluation (numbers@1)" in refused
    made = data_build.join(studio, dataset="all", versions=[instructions.reference], seed=0, leave_out=True)
    assert "4 rows with protected prompts left out" in made
