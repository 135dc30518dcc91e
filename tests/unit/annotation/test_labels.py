from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from studio.annotation import NewLabel
from studio.core import LOCAL_ADMIN, Conflict, InvalidInput, Node, NotFound
from studio.datasets import Outcome
from tests.unit.annotation.conftest import ANA, BEN, Desk


def test_a_label_is_kept_as_it_was_given(desk: Desk) -> None:
    queue = desk.queue()
    item = desk.next(queue)
    new = NewLabel(queue.id, item.id, Outcome.B, "n1", "clear", "A better one.", 5.0, 2.5)
    label = desk.annotation.label(ANA, new)
    assert (label.queue_id, label.item_id, label.outcome) == (queue.id, item.id, Outcome.B)
    assert (label.comment, label.better_answer, label.annotator) == ("clear", "A better one.", "ana")
    assert (label.shown_at, label.active_seconds) == (5.0, 2.5)
    assert (label.withdrawn, label.supersedes) == (False, None)
    assert item.position not in desk.ids(queue)
    assert [e.parent for e in desk.lineage.parents(Node("label", label.id))] == [
        Node("dataset_version", queue.dataset_version_id)
    ]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_judgement_shows_what_was_displayed(desk: Desk, outcome: Outcome) -> None:
    queue = desk.queue()
    for _ in range(6):
        item = desk.next(queue)
        label = desk.label(item, outcome)
        judgement = desk.annotation.judgements(LOCAL_ADMIN, queue.id)[-1]
        assert (judgement.a.messages, judgement.b.messages) == (item.a, item.b)
        assert (judgement.kind, judgement.id, judgement.outcome) == ("label", label.id, outcome)
        assert (judgement.prompt, judgement.blind, judgement.voter) == (item.prompt, True, "ana")
        assert judgement.a.generation_id is None


def test_a_retry_is_the_same_label(desk: Desk) -> None:
    queue = desk.queue()
    new = NewLabel(queue.id, desk.next(queue).id, Outcome.A, "n1", active_seconds=1.0)
    first = desk.annotation.label(ANA, new)
    assert desk.annotation.label(ANA, replace(new, active_seconds=2.0)) == first
    assert sum(entry.verb == "labelled" for entry in desk.audit.recent(LOCAL_ADMIN)) == 1
    for changed in (
        replace(new, outcome=Outcome.B),
        replace(new, comment="x"),
        replace(new, item_id="item_000003"),
    ):
        with pytest.raises(Conflict):
            desk.annotation.label(ANA, changed)
    with pytest.raises(Conflict):
        desk.annotation.label(BEN, new)
    with pytest.raises(Conflict):
        desk.annotation.undo(ANA, queue.id, "n1")


def test_fifty_retries_at_once_make_one_label(desk: Desk) -> None:
    queue = desk.queue()
    new = NewLabel(queue.id, desk.next(queue).id, Outcome.A, "n1")
    with ThreadPoolExecutor(50) as pool:
        assert (
            len({found.id for found in pool.map(lambda _: desk.annotation.label(ANA, new), range(50))}) == 1
        )
    assert len(desk.annotation.judgements(LOCAL_ADMIN)) == 1


def test_fifty_retries_of_an_undo_take_back_one_label(desk: Desk) -> None:
    queue = desk.queue()
    for _ in range(3):
        desk.label(desk.next(queue))
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda _: desk.annotation.undo(ANA, queue.id, "u1"), range(50)))
    assert desk.annotation.progress(ANA, queue.id).labelled == 2


def test_a_correction_supersedes(desk: Desk) -> None:
    queue = desk.queue()
    item = desk.next(queue)
    first = desk.label(item, Outcome.A)
    second = desk.label(item, Outcome.TIE)
    assert second.supersedes == first.id
    assert [j.id for j in desk.annotation.judgements(LOCAL_ADMIN)] == [second.id]
    assert desk.annotation.progress(ANA, queue.id).labelled == 1


def test_undo_takes_back_the_newest_and_then_the_one_before(desk: Desk) -> None:
    queue = desk.queue()
    labels = [desk.label(desk.next(queue)) for _ in range(3)]
    desk.label(desk.next(queue, BEN), actor=BEN)
    for position in (2, 1):
        taken = desk.annotation.undo(ANA, queue.id, f"u{position}")
        assert taken is not None
        assert (taken.withdrawn, taken.supersedes) == (True, labels[position].id)
        assert desk.next(queue).id == taken.item_id == labels[position].item_id
    again = desk.annotation.undo(ANA, queue.id, "u1")
    assert again is not None
    assert again.supersedes == labels[1].id
    assert {(j.voter, j.id) for j in desk.annotation.judgements(LOCAL_ADMIN)} >= {("ana", labels[0].id)}
    assert len(desk.annotation.judgements(LOCAL_ADMIN)) == 2


def test_undo_of_a_skip_and_of_nothing(desk: Desk) -> None:
    queue = desk.queue()
    assert desk.annotation.undo(ANA, queue.id, "u0") is None
    desk.label(desk.next(queue), Outcome.SKIP)
    assert desk.annotation.undo(ANA, queue.id, "u1") is not None
    assert desk.annotation.progress(ANA, queue.id).skipped == 0
    assert desk.ids(queue, 1) == [0]
    assert desk.annotation.undo(ANA, queue.id, "u2") is None


def test_a_withdrawn_label_can_be_given_again(desk: Desk) -> None:
    queue = desk.queue()
    item = desk.next(queue)
    desk.label(item, Outcome.A)
    taken = desk.annotation.undo(ANA, queue.id, "u1")
    assert taken is not None
    label = desk.label(item, Outcome.B)
    assert label.supersedes == taken.id
    assert [(j.id, j.outcome) for j in desk.annotation.judgements(LOCAL_ADMIN)] == [(label.id, Outcome.B)]


def test_judgements_of_one_queue_or_all(desk: Desk) -> None:
    version = desk.version()
    queues = [desk.annotation.open_queue(LOCAL_ADMIN, version.id, name) for name in ("one", "two")]
    labels = [desk.label(desk.next(queue, actor), actor=actor) for queue in queues for actor in (ANA, BEN)]
    assert [j.id for j in desk.annotation.judgements(LOCAL_ADMIN)] == [label.id for label in labels]
    assert [j.voter for j in desk.annotation.judgements(LOCAL_ADMIN, queues[1].id)] == ["ana", "ben"]
    with pytest.raises(NotFound):
        desk.annotation.judgements(LOCAL_ADMIN, "queue_none")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE labels SET outcome = 'b'",
        "DELETE FROM labels",
        "INSERT OR REPLACE INTO labels SELECT * FROM labels",
    ],
)
def test_labels_stay(desk: Desk, statement: str) -> None:
    desk.label(desk.next(desk.queue()))
    with pytest.raises(sqlite3.IntegrityError), desk.database.write() as connection:
        connection.execute(statement)


@pytest.mark.parametrize("item", ["", "item_", "item_12", "item_000012", "item_-00001", "item_00000¹", "5"])
def test_items_that_are_not_there(desk: Desk, item: str) -> None:
    queue = desk.queue()
    with pytest.raises(NotFound):
        desk.annotation.label(ANA, NewLabel(queue.id, item, Outcome.A, "n"))


@pytest.mark.parametrize(
    "change", [{"nonce": ""}, {"comment": "\0"}, {"better_answer": "\ud800"}, {"shown_at": float("inf")}]
)
def test_labels_that_cannot_be_stored(desk: Desk, change: dict[str, object]) -> None:
    queue = desk.queue()
    new = replace(NewLabel(queue.id, "item_000000", Outcome.A, "n"), **change)
    with pytest.raises(InvalidInput):
        desk.annotation.label(ANA, new)
