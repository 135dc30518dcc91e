from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from studio.annotation import NewLabel, Task, Verdict
from studio.core import LOCAL_ADMIN, Conflict, InvalidInput, Node, NotFound
from studio.datasets import Outcome, SchemaKind
from tests.unit.annotation.conftest import ANA, BEN, LEAD, Desk

COMPARING = (Verdict.A, Verdict.B, Verdict.TIE, Verdict.BOTH_BAD)


def test_a_label_is_kept_as_it_was_given(desk: Desk) -> None:
    project = desk.project()
    item = desk.next(project)
    new = NewLabel(
        project.id,
        item.id,
        "n1",
        Verdict.B,
        strength=2,
        comment="clear",
        better_answer="A better one.",
        shown_at=5.0,
        active_seconds=2.5,
    )
    label = desk.annotation.label(ANA, new)
    assert (label.project_id, label.item_id, label.verdict, label.strength) == (
        project.id,
        item.id,
        Verdict.B,
        2,
    )
    assert (label.comment, label.better_answer, label.annotator) == ("clear", "A better one.", "ana")
    assert (label.shown_at, label.active_seconds, label.labelled_at) == (5.0, 2.5, desk.clock.at)
    assert (label.withdrawn, label.supersedes, label.origin, label.suggested) == (
        False,
        None,
        "studio",
        None,
    )
    assert desk.annotation.own_labels(ANA, project.id) == (label,)
    assert [edge.parent for edge in desk.lineage.parents(Node("label", label.id))] == [
        Node("dataset_version", project.dataset_version_id)
    ]
    entry = desk.audit.recent(LOCAL_ADMIN)[0]
    assert (entry.actor, entry.verb, entry.target) == ("ana", "labelled", Node("label", label.id))


@pytest.mark.parametrize("verdict", [*COMPARING, Verdict.SKIP])
def test_a_judgement_shows_what_was_displayed(desk: Desk, verdict: Verdict) -> None:
    project = desk.project()
    for _ in range(6):
        item = desk.next(project)
        label = desk.label(item, verdict)
        judgement = next(j for j in desk.annotation.judgements(LEAD, project.id) if j.id == label.id)
        assert (judgement.a.messages, judgement.b.messages) == (item.a, item.b)
        assert (judgement.kind, judgement.outcome) == ("label", Outcome(verdict.value))
        assert (judgement.prompt, judgement.blind, judgement.voter) == (item.prompt, True, "ana")


def test_a_retry_is_the_same_label(desk: Desk) -> None:
    project = desk.project()
    item, other = desk.annotation.next_items(ANA, project.id, 2)
    new = NewLabel(project.id, item.id, "n1", Verdict.A, active_seconds=1.0)
    first = desk.annotation.label(ANA, new)
    assert desk.annotation.label(ANA, replace(new, active_seconds=2.0)) == first
    assert sum(entry.verb == "labelled" for entry in desk.audit.recent(LOCAL_ADMIN)) == 1
    changes: tuple[dict[str, Any], ...] = (
        {"verdict": Verdict.B},
        {"comment": "x"},
        {"strength": 1},
        {"item_id": other.id},
    )
    for change in changes:
        with pytest.raises(Conflict):
            desk.annotation.label(ANA, replace(new, **change))
    with pytest.raises(Conflict):
        desk.annotation.label(BEN, new)
    with pytest.raises(Conflict):
        desk.annotation.undo(ANA, project.id, "n1")


def test_fifty_retries_at_once_make_one_label(desk: Desk) -> None:
    project = desk.project()
    new = NewLabel(project.id, desk.next(project).id, "n1", Verdict.A)
    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(lambda _: desk.annotation.label(ANA, new), range(50)))
    assert len({label.id for label in found}) == 1
    assert len(desk.annotation.judgements(LEAD)) == 1
    assert desk.annotation.progress(LEAD, project.id).done == 1


def test_fifty_retries_of_an_undo_take_back_one_label(desk: Desk) -> None:
    project = desk.project()
    for _ in range(3):
        desk.label(desk.next(project))
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda _: desk.annotation.undo(ANA, project.id, "u1"), range(50)))
    assert desk.annotation.progress(ANA, project.id).labelled == 2


def test_ones_own_past_label_can_be_edited(desk: Desk) -> None:
    project = desk.project(2)
    item = desk.next(project)
    first = desk.label(item, Verdict.A)
    desk.label(desk.next(project))
    desk.clock.at += 10_000
    again = desk.annotation.item(ANA, project.id, item.id)
    assert (again.prompt, again.a, again.b, again.leased_until) == (item.prompt, item.a, item.b, None)
    second = desk.label(item, Verdict.TIE)
    assert second.supersedes == first.id
    assert {j.id for j in desk.annotation.judgements(LEAD)} >= {second.id}
    progress = desk.annotation.progress(ANA, project.id)
    assert (progress.labelled, progress.done, progress.left) == (2, 2, 0)
    assert desk.annotation.own_labels(ANA, project.id, 1) == (second,)


def test_a_label_that_becomes_a_skip_frees_its_place(desk: Desk) -> None:
    project = desk.project(1)
    item = desk.next(project)
    desk.label(item)
    assert desk.ids(project, BEN) == []
    desk.label(item, Verdict.SKIP, reason="unsure")
    progress = desk.annotation.progress(ANA, project.id)
    assert (progress.labelled, progress.skipped, progress.done) == (0, 1, 0)
    assert len(desk.ids(project, BEN)) == 1
    with pytest.raises(Conflict, match="went to somebody else"):
        desk.label(item, Verdict.B)


def test_undo_takes_back_the_newest_and_then_the_one_before(desk: Desk) -> None:
    project = desk.project(overlap=2)
    labels = [desk.label(desk.next(project)) for _ in range(3)]
    desk.label(desk.next(project, BEN), actor=BEN)
    for step, nonce in ((2, "u2"), (1, "u1")):
        taken = desk.annotation.undo(ANA, project.id, nonce)
        assert taken is not None
        assert (taken.withdrawn, taken.supersedes) == (True, labels[step].id)
        assert taken.item_id == labels[step].item_id
        assert desk.annotation.item(ANA, project.id, taken.item_id).id == taken.item_id
    again = desk.annotation.undo(ANA, project.id, "u1")
    assert again is not None
    assert again.supersedes == labels[1].id
    assert len(desk.annotation.judgements(LEAD)) == 2
    # What was taken back comes first again.
    assert set(desk.ids(project, count=2)) == {labels[1].item_id, labels[2].item_id}


def test_undo_of_a_correction_brings_back_what_was_corrected(desk: Desk) -> None:
    project = desk.project(2)
    item = desk.next(project)
    first = desk.label(item, Verdict.A, strength=2, comment="first")
    wrong = desk.label(item, Verdict.B)
    back = desk.annotation.undo(ANA, project.id, "u1")
    assert back is not None
    assert (back.withdrawn, back.supersedes, back.restores) == (False, wrong.id, first.id)
    assert (back.verdict, back.strength, back.comment) == (Verdict.A, 2, "first")
    assert desk.annotation.undo(ANA, project.id, "u1") == back
    assert desk.annotation.own_labels(ANA, project.id) == (back,)
    assert [j.id for j in desk.annotation.judgements(LEAD)] == [back.id]
    assert desk.annotation.progress(LEAD, project.id).done == 1
    with pytest.raises(Conflict):
        desk.label(item, Verdict.A, strength=2, comment="first", nonce="u1")
    gone = desk.annotation.undo(ANA, project.id, "u2")
    assert gone is not None
    assert (gone.withdrawn, gone.supersedes) == (True, back.id)
    assert desk.annotation.own_labels(ANA, project.id) == ()
    assert desk.annotation.undo(ANA, project.id, "u3") is None
    assert desk.annotation.progress(LEAD, project.id).done == 0


def test_undo_goes_back_through_corrections_one_by_one(desk: Desk) -> None:
    project = desk.project(1)
    item = desk.next(project)
    for verdict in (Verdict.A, Verdict.B):
        desk.label(item, verdict)
    desk.annotation.undo(ANA, project.id, "u1")
    for verdict in (Verdict.TIE, Verdict.BOTH_BAD):
        desk.label(item, verdict)
    found = [desk.annotation.undo(ANA, project.id, f"v{step}") for step in range(4)]
    seen = [(label.verdict, label.withdrawn) for label in found if label]
    assert seen == [(Verdict.TIE, False), (Verdict.A, False), (Verdict.A, True)]


def test_undo_of_a_skip_brings_a_label_back_only_where_there_is_a_place(desk: Desk) -> None:
    project = desk.project(1)
    item = desk.next(project)
    desk.label(item, Verdict.A)
    desk.label(item, Verdict.SKIP)
    back = desk.annotation.undo(ANA, project.id, "u1")
    assert back is not None
    assert (back.withdrawn, desk.annotation.progress(LEAD, project.id).done) == (False, 1)
    desk.label(item, Verdict.SKIP)
    desk.label(desk.next(project, BEN), actor=BEN)
    gone = desk.annotation.undo(ANA, project.id, "u2")
    assert gone is not None
    assert (gone.withdrawn, desk.annotation.progress(LEAD, project.id).done) == (True, 1)


def test_undo_of_a_skip_and_of_nothing(desk: Desk) -> None:
    project = desk.project(3)
    assert desk.annotation.undo(ANA, project.id, "u0") is None
    item = desk.next(project)
    desk.label(item, Verdict.SKIP)
    assert desk.annotation.undo(ANA, project.id, "u1") is not None
    assert desk.annotation.progress(ANA, project.id).skipped == 0
    assert desk.next(project).id == item.id
    assert desk.annotation.undo(ANA, project.id, "u2") is None


def test_undo_of_a_skip_takes_nobodys_place(desk: Desk) -> None:
    project = desk.project(1)
    item = desk.next(project)
    desk.label(item, Verdict.SKIP)
    desk.label(desk.next(project, BEN), actor=BEN)
    assert desk.annotation.undo(ANA, project.id, "u1") is not None
    assert desk.ids(project) == []
    with pytest.raises(Conflict):
        desk.annotation.item(ANA, project.id, item.id)


def test_a_withdrawn_label_can_be_given_again(desk: Desk) -> None:
    project = desk.project()
    item = desk.next(project)
    desk.label(item, Verdict.A)
    taken = desk.annotation.undo(ANA, project.id, "u1")
    assert taken is not None
    label = desk.label(item, Verdict.B)
    assert label.supersedes == taken.id
    assert [(j.id, j.outcome) for j in desk.annotation.judgements(LEAD)] == [(label.id, Outcome.B)]


def test_history_comes_in_pages_newest_first(desk: Desk) -> None:
    project = desk.project(6)
    labels = [desk.label(desk.next(project)) for _ in range(5)]
    labels.append(desk.label(desk.next(project), Verdict.SKIP, reason="unclear"))
    newest = [label.id for label in reversed(labels)]
    first = desk.annotation.own_labels(ANA, project.id, 4)
    rest = desk.annotation.own_labels(ANA, project.id, 4, first[-1].id)
    assert [label.id for label in (*first, *rest)] == newest
    assert [label.reason for label in desk.annotation.skipped(ANA, project.id)] == ["unclear"]
    assert desk.annotation.own_labels(BEN, project.id) == ()


def test_judgements_of_one_project_or_all(desk: Desk) -> None:
    version = desk.version()
    projects = [desk.project(dataset=version.id, name=name, overlap=2) for name in ("one", "two")]
    labels = [desk.label(desk.next(one, actor), actor=actor) for one in projects for actor in (ANA, BEN)]
    assert [j.id for j in desk.annotation.judgements(LEAD)] == [label.id for label in labels]
    assert [j.voter for j in desk.annotation.judgements(LEAD, projects[1].id)] == ["ana", "ben"]
    with pytest.raises(NotFound):
        desk.annotation.judgements(LEAD, "project_none")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE labels SET verdict = 'b'",
        "UPDATE labels SET annotator = 'ben'",
        "UPDATE labels SET annotator = 'erased-1', verdict = 'b'",
        "UPDATE labels SET annotator = 'erased-1', nonce = nonce || 'x'",
        "DELETE FROM labels",
        "INSERT OR REPLACE INTO labels SELECT * FROM labels",
    ],
)
def test_labels_stay(desk: Desk, statement: str) -> None:
    desk.label(desk.next(desk.project()))
    with pytest.raises(sqlite3.IntegrityError), desk.database.write() as connection:
        connection.execute(statement)


def test_every_column_of_a_label_is_guarded(desk: Desk) -> None:
    desk.label(desk.next(desk.project()))
    (row,) = desk.database.rows("SELECT * FROM labels")
    for column in row.keys():  # noqa: SIM118 - a Row is no dict
        if column == "annotator":
            continue
        value = "other" if isinstance(row[column], str) else 77
        sql = f"UPDATE labels SET annotator = 'erased-1', {column} = ?"
        with pytest.raises(sqlite3.IntegrityError), desk.database.write() as connection:
            connection.execute(sql, (value,))


def test_a_name_can_be_replaced_by_a_pseudonym_once(desk: Desk) -> None:
    project = desk.project()
    label = desk.label(desk.next(project))
    held = desk.next(project)
    assert desk.annotation.store.pseudonymise("ana", "erased-1") == (label.id,)
    (entry,) = desk.annotation.store.standing(project.id)
    assert entry.label == replace(label, annotator="erased-1")
    assert desk.annotation.progress(LEAD, project.id).done == 1
    # The lease went with the person, so its item is free.
    assert held.id in desk.ids(project, BEN)
    with pytest.raises(sqlite3.IntegrityError), desk.database.write() as connection:
        connection.execute("UPDATE labels SET annotator = 'erased-2'")


@pytest.mark.parametrize("item", ["", "item_12", "item_ffffffffffffffff", "5", "it\0em"])
def test_items_that_are_not_there(desk: Desk, item: str) -> None:
    project = desk.project()
    with pytest.raises(NotFound):
        desk.annotation.item(ANA, project.id, item)
    with pytest.raises((NotFound, InvalidInput)):
        desk.annotation.label(ANA, NewLabel(project.id, item, "n", Verdict.A))


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": ""},
        {"nonce": " "},
        {"comment": "\0"},
        {"better_answer": "\ud800"},
        {"item_id": "\ud800"},
        {"shown_at": float("inf")},
        {"active_seconds": -1.0},
        {"comment": "x" * 20_001},
    ],
)
def test_labels_that_cannot_be_stored(desk: Desk, change: dict[str, Any]) -> None:
    project = desk.project()
    new = replace(NewLabel(project.id, desk.next(project).id, "n", Verdict.A), **change)
    with pytest.raises(InvalidInput):
        desk.annotation.label(ANA, new)
    assert desk.annotation.progress(ANA, project.id).labelled == 0


_SAYS: dict[Task, list[dict[str, Any]]] = {
    Task.PREFERENCE: [
        *({"verdict": verdict} for verdict in COMPARING),
        {"verdict": Verdict.A, "strength": 3},
        {"verdict": Verdict.B, "strength": 1, "better_answer": "Mine."},
    ],
    Task.RATING: [
        {"rating_a": 4, "rating_b": 2},
        {"rating_a": 1, "rating_b": 1, "verdict": Verdict.TIE},
    ],
    Task.EDIT: [
        {"verdict": Verdict.EDITED, "better_answer": "Mine."},
        {"verdict": Verdict.ACCEPT},
    ],
    Task.ACCEPT: [{"verdict": Verdict.ACCEPT}, {"verdict": Verdict.REJECT, "comment": "wrong"}],
}
_CANNOT_SAY: dict[Task, list[dict[str, Any]]] = {
    Task.PREFERENCE: [
        {"verdict": None},
        {"verdict": Verdict.ACCEPT},
        {"verdict": Verdict.EDITED, "better_answer": "Mine."},
        {"verdict": Verdict.TIE, "strength": 1},
        {"verdict": Verdict.A, "strength": 4},
        {"verdict": Verdict.A, "strength": 0},
        {"verdict": Verdict.A, "rating_a": 3},
        {"verdict": Verdict.A, "reason": "why"},
    ],
    Task.RATING: [
        {"verdict": None},
        {"rating_a": 3},
        {"rating_a": 6, "rating_b": 1},
        {"rating_a": 0, "rating_b": 1},
        {"rating_a": 3, "rating_b": 3, "strength": 1},
        {"rating_a": 4, "rating_b": 2, "verdict": Verdict.B},
        {"verdict": Verdict.A},
    ],
    Task.EDIT: [
        {"verdict": Verdict.EDITED},
        {"verdict": Verdict.EDITED, "better_answer": "  "},
        {"verdict": Verdict.A},
        {"verdict": Verdict.TIE},
    ],
    Task.ACCEPT: [{"verdict": Verdict.TIE}, {"verdict": Verdict.A}, {"verdict": None}],
}
_SKIPS: list[dict[str, Any]] = [
    {"verdict": Verdict.SKIP, "strength": 1},
    {"verdict": Verdict.SKIP, "rating_a": 1},
]


def _kind(task: Task) -> SchemaKind:
    comparing = task in (Task.PREFERENCE, Task.RATING)
    return SchemaKind.PREFERENCE if comparing else SchemaKind.INSTRUCTION


@pytest.mark.parametrize(("task", "said"), [(task, said) for task, every in _SAYS.items() for said in every])
def test_what_a_task_takes(desk: Desk, task: Task, said: dict[str, Any]) -> None:
    project = desk.project(task=task, dataset=desk.version(kind=_kind(task)).id)
    label = desk.label(desk.next(project), said.pop("verdict", None), **said)
    assert {name: getattr(label, name) for name in said} == said
    skip = desk.label(desk.next(project), Verdict.SKIP, reason="too long")
    assert (skip.verdict, skip.reason) == (Verdict.SKIP, "too long")


@pytest.mark.parametrize(
    ("task", "said"), [(task, said) for task, every in _CANNOT_SAY.items() for said in [*every, *_SKIPS]]
)
def test_what_a_task_refuses(desk: Desk, task: Task, said: dict[str, Any]) -> None:
    project = desk.project(task=task, dataset=desk.version(kind=_kind(task)).id)
    new = replace(NewLabel(project.id, desk.next(project).id, "n"), **said)
    with pytest.raises(InvalidInput):
        desk.annotation.label(ANA, new)
    assert desk.annotation.progress(ANA, project.id).labelled == 0


@pytest.mark.parametrize(
    ("ratings", "verdict"),
    [((5, 1), Verdict.A), ((2, 3), Verdict.B), ((4, 4), Verdict.TIE)],
)
def test_ratings_say_which_is_better(desk: Desk, ratings: tuple[int, int], verdict: Verdict) -> None:
    project = desk.project(task=Task.RATING)
    label = desk.label(desk.next(project), None, rating_a=ratings[0], rating_b=ratings[1])
    assert label.verdict is verdict
    (judgement,) = desk.annotation.judgements(LEAD, project.id)
    assert judgement.outcome is Outcome(verdict.value)


@pytest.mark.parametrize(
    ("rating", "verdict"), [(5, Verdict.ACCEPT), (4, Verdict.ACCEPT), (3, Verdict.TIE), (1, Verdict.REJECT)]
)
def test_one_answer_is_rated_alone(desk: Desk, rating: int, verdict: Verdict) -> None:
    project = desk.project(task=Task.RATING, dataset=desk.version(kind=SchemaKind.INSTRUCTION).id)
    item = desk.next(project)
    assert item.b == ()
    with pytest.raises(InvalidInput):
        desk.label(item, None, rating_a=rating, rating_b=1)
    assert desk.label(item, None, rating_a=rating).verdict is verdict
    assert desk.annotation.judgements(LEAD, project.id) == ()


def test_an_edit_is_a_pair_of_the_new_answer_over_the_old(desk: Desk) -> None:
    project = desk.project(task=Task.EDIT, dataset=desk.version(kind=SchemaKind.INSTRUCTION).id)
    item = desk.next(project)
    desk.label(item, Verdict.EDITED, better_answer="Mine.")
    desk.label(desk.next(project), Verdict.ACCEPT)
    (judgement,) = desk.annotation.judgements(LEAD, project.id)
    assert (judgement.a.messages[0]["content"], judgement.b.messages) == ("Mine.", item.a)
    assert (judgement.outcome, judgement.prompt) == (Outcome.A, item.prompt)


def test_acceptance_is_no_comparison(desk: Desk) -> None:
    project = desk.project(task=Task.ACCEPT, dataset=desk.version(kind=SchemaKind.INSTRUCTION).id)
    desk.label(desk.next(project), Verdict.REJECT)
    assert desk.annotation.judgements(LEAD, project.id) == ()
