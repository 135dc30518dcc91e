"""What people could gain by looking, undoing and hoarding, and that they do not."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest

from studio.annotation import ItemKind, Members, NewLabel, Project, ProjectChange, ProjectState, Task, Verdict
from studio.annotation.review_records import NewAdjudication
from studio.annotation.review_service import ReviewService
from studio.core import Actor, Conflict, Forbidden, Role
from studio.datasets import SchemaKind
from tests.unit.annotation.conftest import ANA, BEN, CAT, LEAD, Desk

FIT = SchemaKind.INSTRUCTION
EVERYBODY = Members((Role.ANNOTATOR, Role.RESEARCHER))


def checked(desk: Desk, items: int = 30, **asked: object) -> Project:
    """A project with gold that says accept, reject, accept and so on."""
    gold = desk.version(4, name="known", kind=SchemaKind.UNPAIRED)
    rows = desk.version(items, name="told", kind=FIT)
    asked = {"gold_every": 5, **asked}
    return desk.project(task=Task.ACCEPT, dataset=rows.id, gold=gold.id, **asked)


def report(desk: Desk, project: Project, name: str = "ana"):
    review = ReviewService(desk.database, desk.annotation.store, desk.datasets, desk.audit)
    return next(one for one in review.dashboard(LEAD, project.id).people if one.name == name)


def gold_items(desk: Desk, project: Project) -> list[str]:
    standing = desk.annotation.store.standing(project.id, "ana")
    return [entry.label.item_id for entry in standing if entry.kind is ItemKind.GOLD]


def test_gold_is_scored_by_the_first_answer(desk: Desk) -> None:
    project = checked(desk)
    desk.label_all(project, verdict=Verdict.REJECT)
    before = report(desk, project).gold
    assert (before.value, before.count) == (0.5, 4)
    for item in gold_items(desk, project):
        for verdict in (Verdict.ACCEPT, Verdict.SKIP):
            desk.annotation.label(ANA, NewLabel(project.id, item, f"{item}{verdict}", verdict))
    assert report(desk, project).gold == before
    # A label on gold that was taken back still counts.
    for number in range(12):
        desk.annotation.undo(ANA, project.id, f"undo {number}")
    assert report(desk, project).gold == before


def test_a_skip_does_not_hide_the_answer_that_comes_after(desk: Desk) -> None:
    project = checked(desk)
    for item in desk.ids(project):
        for verdict in (Verdict.SKIP, Verdict.REJECT, Verdict.ACCEPT):
            desk.annotation.label(ANA, NewLabel(project.id, item, f"{item}{verdict}", verdict))
    gold = report(desk, project).gold
    assert (gold.value, gold.count) == (0.5, 4)


def test_repeats_are_compared_as_they_were_first_answered(desk: Desk) -> None:
    project = desk.project(30, repeat_every=3, task=Task.ACCEPT, dataset=desk.version(30, kind=FIT).id)
    verdicts = (Verdict.ACCEPT, Verdict.REJECT)
    number = 0
    while found := desk.annotation.next_items(ANA, project.id, 1):
        # The first ten say accept and all the others reject: every repeat of an early one differs.
        desk.label(found[0], verdicts[number >= 10])
        number += 1
    before = report(desk, project).consistency
    assert before.count > 3
    assert before.value < 1
    for entry in desk.annotation.store.standing(project.id):
        new = NewLabel(project.id, entry.label.item_id, f"again {entry.label.id}", Verdict.REJECT)
        desk.annotation.label(ANA, new)
    assert report(desk, project).consistency == before


def test_first_entries_hold_what_people_are_scored_by_and_no_more(desk: Desk) -> None:
    project = checked(desk, repeat_every=4)
    desk.label_all(project, verdict=Verdict.ACCEPT)
    firsts = desk.annotation.store.first_entries(project.id)
    assert all(entry.label.supersedes is None for entry in firsts)
    places = [(entry.label.annotator, entry.label.item_id) for entry in firsts]
    assert len(places) == len(set(places))
    repeated = {entry.position for entry in firsts if entry.kind is ItemKind.REPEAT}
    assert repeated
    assert {entry.position for entry in firsts if entry.kind is ItemKind.DATA} == repeated
    assert sum(entry.kind is ItemKind.GOLD for entry in firsts) == 4


def test_progress_does_not_tell_which_label_counted(desk: Desk) -> None:
    """Gold and data labels move the same numbers by the same, but where a step is reached."""
    project = checked(desk)
    moves: dict[ItemKind, set[tuple[int, int, int]]] = {ItemKind.DATA: set(), ItemKind.GOLD: set()}
    kinds = {item.id: item.kind for item in desk.stored(project)}
    before = desk.annotation.progress(ANA, project.id)
    done = []
    while found := desk.annotation.next_items(ANA, project.id, 1):
        desk.label(found[0], Verdict.ACCEPT)
        after = desk.annotation.progress(ANA, project.id)
        move = (
            after.labelled - before.labelled,
            after.available - before.available,
            after.done - before.done,
        )
        moves[kinds[found[0].id]].add(move)
        done.append(after.done)
        before = after
    assert moves[ItemKind.GOLD] == {(1, -1, 0)}
    assert moves[ItemKind.DATA] == {(1, -1, 0), (1, -1, 10)}
    assert sorted(set(done)) == [0, 10, 20, 30]
    assert (before.labelled, before.available, before.done, before.left) == (34, 0, 30, 0)


def test_a_lead_sees_the_exact_count(desk: Desk) -> None:
    project = desk.project(8)
    desk.label(desk.next(project))
    assert desk.annotation.progress(LEAD, project.id).done == 1
    assert desk.annotation.progress(ANA, project.id).done == 0
    large = desk.project(1200, name="large", dataset=desk.version(1200, name="many").id)
    for item in desk.annotation.next_items(ANA, large.id, 50):
        desk.label(item)
    assert desk.annotation.progress(ANA, large.id).done == 48  # a fiftieth is 24


def finished(desk: Desk, **asked: object) -> tuple[Project, str]:
    """A project of two items with two labels each, and the id of one."""
    project = desk.project(2, overlap=2, **asked)
    for actor in (ANA, BEN):
        desk.label_all(project, actor)
    return project, desk.annotation.own_labels(ANA, project.id, 1)[0].item_id


def test_who_has_seen_the_others_keeps_their_label(desk: Desk) -> None:
    project, item = finished(desk)
    own = desk.annotation.own_labels(ANA, project.id)
    new = NewLabel(project.id, item, "change", Verdict.TIE)
    desk.annotation.label(ANA, new)  # before looking it is theirs to change
    own = desk.annotation.own_labels(ANA, project.id)
    for _ in range(2):
        assert len(desk.annotation.others(ANA, project.id, item)) == 1
    with pytest.raises(Conflict, match="stays as you gave it"):
        desk.annotation.label(ANA, replace(new, nonce="again", verdict=Verdict.B))
    with pytest.raises(Conflict, match="stays as you gave it"):
        desk.annotation.undo(ANA, project.id, "undo")
    assert desk.annotation.own_labels(ANA, project.id) == own
    # A retry of what was stored before is no change, and another item is free.
    assert desk.annotation.label(ANA, new).id == own[0].id
    desk.annotation.label(ANA, NewLabel(project.id, own[1].item_id, "other", Verdict.B))
    assert desk.annotation.undo(ANA, project.id, "undo other") is not None
    # Nor does it come back when the project asks for more people.
    desk.annotation.change(LEAD, project.id, ProjectChange(overlap=3))
    with pytest.raises(Conflict, match="stays as you gave it"):
        desk.annotation.label(ANA, replace(new, nonce="more", verdict=Verdict.B))


def test_who_has_not_looked_or_leads_may_change(desk: Desk) -> None:
    project, item = finished(desk)
    desk.annotation.others(ANA, project.id, item)
    desk.annotation.label(BEN, NewLabel(project.id, item, "ben", Verdict.TIE))
    own = desk.project(1, name="own", overlap=2, members=EVERYBODY)
    for actor in (ANA, LEAD):
        desk.label(desk.next(own, actor), actor=actor)
    place = desk.annotation.own_labels(LEAD, own.id)[0].item_id
    assert desk.annotation.others(LEAD, own.id, place)
    assert desk.annotation.label(LEAD, NewLabel(own.id, place, "lead", Verdict.TIE)).supersedes


def test_nobody_sees_more_others_than_the_overlap_has(desk: Desk) -> None:
    project = desk.project(1, overlap=4)
    dan = Actor("dan", Role.ANNOTATOR)
    for actor in (ANA, BEN, CAT, dan):
        desk.label(desk.next(project, actor), actor=actor)
    item = desk.annotation.own_labels(ANA, project.id)[0].item_id
    desk.annotation.change(LEAD, project.id, ProjectChange(overlap=2))
    assert len(desk.annotation.others(ANA, project.id, item)) == 1
    desk.annotation.change(LEAD, project.id, ProjectChange(overlap=1))
    assert desk.annotation.others(ANA, project.id, item) == ()


def test_of_gold_and_repeats_no_others_are_shown(desk: Desk) -> None:
    project = checked(desk, 20, overlap=2, repeat_every=4)
    for actor in (ANA, BEN):
        assert desk.label_all(project, actor, Verdict.ACCEPT)
    words = set()
    for entry in desk.annotation.store.standing(project.id, "ana"):
        if entry.kind is ItemKind.DATA:
            continue
        with pytest.raises(Forbidden) as refused:
            desk.annotation.others(ANA, project.id, entry.label.item_id)
        words.add(str(refused.value))
    other = desk.project(2, name="unfinished", overlap=2)
    item = desk.next(other)
    desk.label(item)
    with pytest.raises(Forbidden) as refused:
        desk.annotation.others(ANA, other.id, item.id)
    # The same words as of an item that still lacks labels.
    assert words == {str(refused.value)}


def test_what_was_looked_at_is_not_shown_again_as_a_repeat(desk: Desk) -> None:
    project = desk.project(30, repeat_every=2, task=Task.ACCEPT, dataset=desk.version(30, kind=FIT).id)
    looked = set()
    while found := desk.annotation.next_items(ANA, project.id, 1):
        desk.label(found[0], Verdict.ACCEPT)
        if desk.annotation.store.standing(project.id)[-1].kind is ItemKind.DATA:
            desk.annotation.others(ANA, project.id, found[0].id)
            looked.add(found[0].id)
    assert len(looked) == 30
    kinds = [entry.kind for entry in desk.annotation.store.standing(project.id)]
    assert ItemKind.REPEAT not in kinds


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM looks",
        "UPDATE looks SET item_id = 'x'",
        "UPDATE looks SET annotator = 'ben'",
        "INSERT OR REPLACE INTO looks SELECT * FROM looks",
    ],
)
def test_looks_stay(desk: Desk, statement: str) -> None:
    project, item = finished(desk)
    desk.annotation.others(ANA, project.id, item)
    with pytest.raises(sqlite3.IntegrityError), desk.database.write() as connection:
        connection.execute(statement)
    desk.annotation.store.pseudonymise("ana", "erased-1")
    assert [row["annotator"] for row in desk.database.rows("SELECT * FROM looks")] == ["erased-1"]


def live(desk: Desk, project: Project, name: str = "ana") -> int:
    sql = "SELECT count(*) FROM places WHERE project_id = ? AND annotator = ? AND until > ?"
    return int(desk.database.rows(sql, (project.id, name, desk.clock.at))[0][0])


def test_nobody_holds_more_than_fifty_items(desk: Desk) -> None:
    project = desk.project(120, overlap=1, lease_seconds=60)
    held = desk.ids(project, count=30)
    more = desk.annotation.next_items(ANA, project.id, 50, held)
    assert (len(more), live(desk, project)) == (20, 50)
    everything = (*held, *(item.id for item in more))
    assert desk.annotation.next_items(ANA, project.id, 50, everything) == ()
    stored = [item.id for item in desk.stored(project)]
    free = [item for item in stored if item not in everything]
    with pytest.raises(Conflict, match="50 items on hand"):
        desk.annotation.item(ANA, project.id, free[0])
    # One's own come back, another person has their own fifty, and a label makes room.
    assert desk.annotation.item(ANA, project.id, held[0]).id == held[0]
    assert len(desk.ids(project, BEN)) == 50
    desk.label(more[0])
    assert len(desk.annotation.next_items(ANA, project.id, 50, everything)) == 1
    # An undo gives the item back without its lease where there is no room.
    assert desk.annotation.undo(ANA, project.id, "u") is not None
    assert live(desk, project) == 50


def test_leases_that_ran_out_are_not_renewed_beyond_fifty(desk: Desk) -> None:
    project = desk.project(120, overlap=1, lease_seconds=60)
    old = desk.ids(project)
    desk.clock.at += 61
    held = [item.id for item in desk.annotation.next_items(ANA, project.id, 50, ())]
    assert set(held) == set(old)
    desk.clock.at += 61
    fresh = [item.id for item in desk.stored(project) if item.id not in old]
    for item in fresh[:30]:
        desk.annotation.item(ANA, project.id, item)
    assert len(desk.annotation.renew(ANA, project.id, old)) == 20
    assert live(desk, project) == 50


def test_only_a_lead_is_told_what_went_wrong(desk: Desk) -> None:
    project = desk.project(2, members=EVERYBODY)
    desk.annotation.store.set_state(project.id, ProjectState.FAILED, "The model at /secret broke.")
    assert desk.annotation.project(LEAD, project.id).problem == "The model at /secret broke."
    assert desk.annotation.projects(LEAD)[0].problem == "The model at /secret broke."
    assert desk.annotation.project(ANA, project.id).problem == "Its lead has been told."
    assert desk.annotation.projects(ANA)[0].problem == "Its lead has been told."
    with pytest.raises(Conflict) as refused:
        desk.annotation.next_items(ANA, project.id)
    assert "secret" not in str(refused.value) + refused.value.todo
    assert refused.value.todo == "Its lead has been told."
    with pytest.raises(Conflict) as refused:
        desk.annotation.next_items(LEAD, project.id)
    assert "secret" in refused.value.todo


def test_to_be_named_makes_nobody_an_adjudicator(desk: Desk) -> None:
    members = Members((), ("ana", "ben", "cat"))
    project = desk.project(2, overlap=2, members=members)
    for actor, verdict in ((ANA, Verdict.TIE), (BEN, Verdict.BOTH_BAD)):
        desk.label_all(project, actor, verdict)
    review = ReviewService(desk.database, desk.annotation.store, desk.datasets, desk.audit)
    (shown, _) = review.inbox(LEAD, project.id)
    for actor in (ANA, CAT):
        with pytest.raises(Forbidden, match="does not lead"):
            review.inbox(actor, project.id)
        with pytest.raises(Forbidden, match="does not lead"):
            review.adjudicate(actor, NewAdjudication(project.id, shown.item_id, "n", Verdict.A))
    assert review.adjudicate(LEAD, NewAdjudication(project.id, shown.item_id, "n", Verdict.A)).id
