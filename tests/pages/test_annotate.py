"""Annotate: projects are listed with progress and state, opened and changed by their lead, read by all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pages import annotate, annotate_change, annotate_form
from pages.components.project_words import people_of
from studio.annotation import NewLabel, NewProject, Project, ProjectState, Source, Task, Verdict
from studio.core import LOCAL_ADMIN, Actor, InvalidInput, Role
from studio.datasets import DatasetVersion, NewVersion, SchemaKind, Split
from studio.studio import Studio
from tests.pages.conftest import visiting

HEAD, LIST, READING, TITLE, GUIDELINE = range(5)
FORM, DATASET = 5, 6
SETTINGS = 5 + annotate_form.PARTS
GIVEN = {
    "name": "",
    "task": "preference",
    "source": "dataset",
    "dataset": "pairs@1",
    "first_model": None,
    "second_model": None,
    "guideline": "",
    "overlap": 1,
    "target": None,
    "roles": ["annotator"],
    "people": "",
    "gold": "",
    "gold_every": 10,
    "suggestion_model": "",
    "repeat_every": 0,
    "lease_minutes": 15,
}
LABELLER = Actor("ana", Role.ANNOTATOR)


def pair(number: int) -> dict[str, object]:
    return {
        "prompt": [{"role": "user", "content": f"Question {number}"}],
        "chosen": [{"role": "assistant", "content": f"Good {number}"}],
        "rejected": [{"role": "assistant", "content": f"Bad {number}"}],
    }


@pytest.fixture
def pairs(studio: Studio) -> DatasetVersion:
    rows = {Split.TRAIN: [pair(n) for n in range(4)], Split.VALIDATION: []}
    return studio.datasets.create(
        LOCAL_ADMIN, NewVersion("pairs", SchemaKind.PREFERENCE, rows, ({"step": "test"},))
    )


@pytest.fixture
def project(studio: Studio, pairs: DatasetVersion) -> Project:
    new = NewProject(name="<first>", dataset=pairs.reference, guideline="Be **fair**.")
    return studio.annotation.open_project(LOCAL_ADMIN, new)


def view(studio: Studio, holds: str = "", **asked: str) -> tuple[object, ...]:
    return annotate.view(studio, visiting(tab="annotate", **asked), holds=holds)


def test_without_data_the_page_leads_to_data(studio: Studio) -> None:
    shown = view(studio)
    assert "Nothing to label yet" in shown[LIST]
    assert "?tab=data&amp;new=import" in shown[LIST]


def test_with_pairs_it_offers_a_project_and_chooses_what_the_address_names(
    studio: Studio, pairs: DatasetVersion
) -> None:
    shown = view(studio, dataset=pairs.reference)
    assert "No project yet" in shown[LIST]
    assert shown[FORM]["visible"] is True
    assert shown[DATASET]["value"] == pairs.reference


def test_an_annotator_sees_what_is_theirs_and_nothing_to_lead(studio: Studio, project: Project) -> None:
    theirs = studio.acting(LABELLER)
    shown = view(theirs)
    assert "New project" not in shown[HEAD]
    assert f"project={project.id}" in shown[LIST]
    assert "Settings" not in shown[LIST]
    assert "tab=review" not in shown[LIST]
    # The address does not open what is not theirs.
    assert view(theirs, new="project")[FORM]["visible"] == "hidden"
    assert view(theirs, settings=project.id)[SETTINGS]["visible"] == "hidden"


def test_an_annotator_without_a_project_is_told_so(studio: Studio, pairs: DatasetVersion) -> None:
    shown = view(studio.acting(LABELLER))
    assert "somebody adds you" in shown[LIST]


def test_the_list_shows_own_progress_and_what_is_left(studio: Studio, project: Project) -> None:
    item = studio.annotation.next_items(LOCAL_ADMIN, project.id)[0]
    studio.annotation.label(LOCAL_ADMIN, NewLabel(project.id, item.id, "nonce-1", Verdict.A))
    shown = str(view(studio)[LIST])
    assert "1 labelled, 3 left for you" in shown
    assert "25 %" in shown
    assert "Go on" in shown
    assert "&lt;first&gt;" in shown
    assert f"?tab=review&amp;project={project.id}" in shown


def test_while_somebody_labels_nothing_behind_the_card_is_looked_up(studio: Studio, project: Project) -> None:
    shown = view(studio, project=project.id)
    assert all(part == {"__type__": "update"} for part in shown)
    assert annotate.look_again(studio, visiting(project=project.id)) == {"__type__": "update"}


def test_a_guideline_can_be_read_before_labelling(studio: Studio, project: Project) -> None:
    shown = view(studio.acting(LABELLER), read=project.id)
    assert shown[READING]["visible"] is True
    assert shown[GUIDELINE] == "Be **fair**."
    assert view(studio, read="nothing")[READING]["visible"] == "hidden"


def test_every_field_of_the_form_reaches_the_project(studio: Studio, pairs: DatasetVersion) -> None:
    rows = [{**pair(n), "prompt": [{"role": "user", "content": f"Known {n}?"}]} for n in range(3)]
    gold = studio.datasets.create(
        LOCAL_ADMIN, NewVersion("known", SchemaKind.PREFERENCE, {Split.VALIDATION: rows}, ())
    )
    given = GIVEN | {
        "name": " second ",
        "task": "rating",
        "guideline": "# Look",
        "overlap": 3,
        "target": 2,
        "roles": [],
        "people": "ana, ben,ana",
        "gold": "known@1",
        "gold_every": 5,
        "repeat_every": 20,
        "lease_minutes": 2,
    }
    said = annotate_form.open_project(studio, **given)
    assert "is open with 2 items" in said
    (made,) = studio.annotation.projects(LOCAL_ADMIN)
    assert (made.name, made.task, made.overlap, made.target) == ("second", Task.RATING, 3, 2)
    assert (made.members.roles, made.members.people) == ((), ("ana", "ben"))
    assert (made.gold_every, made.repeat_every, made.lease_seconds) == (5, 20, 120)
    assert made.gold_version_id == gold.id
    assert f"project={made.id}" in said


def test_faults_of_the_form_are_shown_plainly(studio: Studio) -> None:
    for wrong in ({"dataset": "nothing@1"}, {"source": "candidates"}, {"overlap": None}, {"overlap": 1.5}):
        assert "td-bad" in annotate_form.open_project(studio, **(GIVEN | wrong))


def test_candidates_take_two_models_and_the_arena_no_dataset() -> None:
    given = GIVEN | {"first_model": "x@1", "second_model": "y@1"}
    assert annotate_form.entered(given | {"source": "candidates"}).models == ("x@1", "y@1")
    assert annotate_form.entered(given).models == ()
    arena = annotate_form.entered(given | {"source": "arena"})
    assert (arena.source, arena.dataset) == (Source.ARENA, "")
    with pytest.raises(InvalidInput):
        annotate_form.entered(GIVEN | {"source": "candidates", "first_model": "x@1"})


def test_the_form_asks_for_all_of_a_new_project() -> None:
    named = {"first_model": "models", "second_model": "models", "roles": "members", "people": "members"}
    named |= {"lease_minutes": "lease_seconds"}
    assert {named.get(key, key) for key in GIVEN} == set(NewProject.__dataclass_fields__)


def test_the_form_offers_what_fits_the_task_and_the_source(
    studio: Studio, pairs: DatasetVersion, instructions: DatasetVersion
) -> None:
    only_pairs, *_ = annotate_form.fit(studio, task="preference", source="dataset")
    assert [value for _, value in only_pairs["choices"]] == [pairs.reference]
    either, writers, suggestions = annotate_form.fit(studio, task="edit", source="dataset")
    assert {value for _, value in either["choices"]} == {pairs.reference, instructions.reference}
    assert writers["visible"] == "hidden"
    assert suggestions["visible"] is True
    hidden, _, suggestions = annotate_form.fit(studio, task="preference", source="arena")
    assert hidden["visible"] == "hidden"
    assert suggestions["visible"] == "hidden"
    _, writers, _ = annotate_form.fit(studio, task="preference", source="candidates")
    assert writers["visible"] is True


def test_settings_are_filled_once_and_another_visit_leaves_what_is_typed(
    studio: Studio, project: Project
) -> None:
    first = view(studio, settings=project.id)[SETTINGS:]
    assert first[0]["visible"] is True
    assert first[2:5] == ("<first>", "Be **fair**.", 1)
    assert first[-1] == project.id
    again = view(studio, holds=project.id, settings=project.id)[SETTINGS:]
    assert again[2:5] == tuple({"__type__": "update"} for _ in range(3))


def changed(**values: object) -> dict[str, object]:
    given: dict[str, object] = {
        "name": "first",
        "guideline": "Be kind.",
        "overlap": 2,
        "roles": ["researcher"],
    }
    return given | {"people": "", "lease_minutes": 1, "gold_every": 10, "repeat_every": 0} | values


def test_a_lead_changes_a_project_and_a_new_guideline_is_a_new_version(
    studio: Studio, project: Project
) -> None:
    said = annotate_change.save(studio, visiting(settings=project.id), **changed())
    assert "now version 2" in said
    now = studio.annotation.project(LOCAL_ADMIN, project.id)
    assert (now.guideline, now.overlap, now.lease_seconds) == ("Be kind.", 2, 60)
    assert now.members.roles == (Role.RESEARCHER,)
    said = annotate_change.save(studio, visiting(settings=project.id), **changed(overlap=3))
    assert "version" not in said
    assert "td-bad" in annotate_change.save(studio, visiting(settings=project.id), **changed(overlap=99))
    assert "td-bad" in annotate_change.save(studio, visiting(), **changed())


def test_a_project_is_closed_and_opened_again(studio: Studio, project: Project) -> None:
    said, closes, opens = annotate_change.close_project(studio, visiting(settings=project.id))
    assert "nobody can add" in said
    assert (closes["visible"], opens["visible"]) == ("hidden", True)
    assert studio.annotation.project(LOCAL_ADMIN, project.id).state is ProjectState.CLOSED
    assert "closed" in view(studio)[LIST]
    annotate_change.reopen_project(studio, visiting(settings=project.id))
    assert studio.annotation.project(LOCAL_ADMIN, project.id).state is ProjectState.OPEN


def test_who_does_not_lead_changes_nothing(studio: Studio, project: Project) -> None:
    theirs = studio.acting(replace(LABELLER, name="eve"))
    assert "td-bad" in annotate_change.save(theirs, visiting(settings=project.id), **changed())
    assert "td-bad" in annotate_change.close_project(theirs, visiting(settings=project.id))[0]
    assert studio.annotation.project(LOCAL_ADMIN, project.id) == project


def test_names_are_read_with_commas_or_spaces() -> None:
    assert people_of(" ana,ben  cy ,, ana ") == ("ana", "ben", "cy")
