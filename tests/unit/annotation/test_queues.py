from __future__ import annotations

import pytest

from studio.core import LOCAL_ADMIN, Actor, Forbidden, InvalidInput, Node, NotFound, Role
from studio.datasets import NewVersion, Outcome, SchemaKind, Split
from tests.unit.annotation.conftest import ANA, BEN, Desk


def test_a_queue_covers_both_splits_once(desk: Desk) -> None:
    version = desk.version()
    queue = desk.annotation.open_queue(LOCAL_ADMIN, "pairs", guideline="Prefer what is true.")
    assert (queue.dataset_version_id, queue.items, queue.name) == (version.id, 12, version.reference)
    assert (queue.guideline, queue.guideline_version) == ("Prefer what is true.", 1)
    assert desk.annotation.open_queue(LOCAL_ADMIN, version.id) == queue
    assert desk.annotation.queues(ANA) == (queue,)
    assert desk.annotation.queue(ANA, queue.id) == queue
    assert [e.parent for e in desk.lineage.parents(Node("queue", queue.id))] == [
        Node("dataset_version", version.id)
    ]


def test_another_guideline_is_another_version_of_it(desk: Desk) -> None:
    queue = desk.queue()
    first = desk.label(desk.next(queue))
    changed = desk.annotation.open_queue(LOCAL_ADMIN, queue.dataset_version_id, queue.name, "Be strict.")
    assert (changed.id, changed.guideline, changed.guideline_version) == (queue.id, "Be strict.", 2)
    assert desk.annotation.open_queue(LOCAL_ADMIN, queue.dataset_version_id, queue.name) == changed
    assert (first.guideline_version, desk.label(desk.next(queue)).guideline_version) == (1, 2)


def test_only_pairs_can_be_queued(desk: Desk) -> None:
    rows = {Split.TRAIN: [{"text": "words"}], Split.VALIDATION: []}
    corpus = desk.datasets.create(LOCAL_ADMIN, NewVersion("words", SchemaKind.CORPUS, rows, ()))
    with pytest.raises(InvalidInput):
        desk.annotation.open_queue(LOCAL_ADMIN, corpus.id)
    with pytest.raises(NotFound):
        desk.annotation.open_queue(LOCAL_ADMIN, "nothing")
    with pytest.raises(NotFound):
        desk.annotation.next_items(ANA, "queue_none")


def test_items_come_in_order_without_those_on_hand(desk: Desk) -> None:
    queue = desk.queue()
    assert desk.ids(queue) == list(range(12))
    assert desk.ids(queue, 3) == [0, 1, 2]
    assert desk.ids(queue, 3, ("item_000000", "item_000002")) == [1, 3, 4]
    assert desk.ids(queue, 0) == []


def test_an_item_holds_its_row_from_either_split(desk: Desk) -> None:
    queue = desk.queue()
    for item in desk.annotation.next_items(ANA, queue.id, 12):
        assert item.prompt == ({"role": "user", "content": f"Question {item.position}?"},)
        answers = {item.a[0]["content"], item.b[0]["content"]}
        assert answers == {f"Good answer {item.position}.", f"Poor answer {item.position}."}
        assert desk.annotation.item(ANA, queue.id, item.id) == item


def test_sides_stay_for_one_person_and_are_mixed(desk: Desk) -> None:
    queue = desk.queue(60, 4)
    first, again = (desk.annotation.next_items(ANA, queue.id, 64) for _ in range(2))
    assert first == again
    other = desk.annotation.next_items(BEN, queue.id, 64)
    good = [["Good" in item.a[0]["content"] for item in items] for items in (first, other)]
    assert good[0] != good[1]
    # 64 fair coins: outside 12..52 once in a million.
    assert all(12 <= sum(side) <= 52 for side in good)


def test_sides_cannot_be_told_from_ids(desk: Desk) -> None:
    """Two queues with the same items and annotators differ, because each has a secret of its own."""
    version = desk.version(40, 0)
    queues = [desk.annotation.open_queue(LOCAL_ADMIN, version.id, name) for name in ("one", "two")]
    shown = [[item.a for item in desk.annotation.next_items(ANA, queue.id, 40)] for queue in queues]
    assert shown[0] != shown[1]


def test_skipped_items_come_back_at_the_end(desk: Desk) -> None:
    queue = desk.queue(3, 1)
    desk.label(desk.next(queue), Outcome.SKIP)
    assert desk.ids(queue) == [1, 2, 3, 0]
    for _ in range(2):
        desk.label(desk.next(queue), Outcome.SKIP)
    assert desk.ids(queue) == [3, 0, 1, 2]
    desk.label(desk.next(queue))
    desk.label(desk.next(queue), Outcome.TIE)
    assert desk.ids(queue) == [1, 2]


def test_everyone_has_a_queue_to_themselves(desk: Desk) -> None:
    queue = desk.queue()
    desk.label(desk.next(queue))
    assert desk.ids(queue, actor=BEN) == list(range(12))
    assert desk.annotation.progress(BEN, queue.id).labelled == 0


def test_progress(desk: Desk) -> None:
    queue = desk.queue(3, 1)
    desk.label(desk.next(queue))
    desk.label(desk.next(queue), Outcome.SKIP)
    progress = desk.annotation.progress(ANA, queue.id)
    assert (progress.total, progress.labelled, progress.skipped, progress.left) == (4, 1, 1, 2)


def test_a_long_queue_is_read_in_stretches(desk: Desk) -> None:
    queue = desk.queue(450, 50)
    for position in (0, 230, 449, 450, 499):
        desk.label(desk.annotation.item(ANA, queue.id, f"item_{position:06d}"))
    judged = [j.prompt[0]["content"] for j in desk.annotation.judgements(LOCAL_ADMIN)]
    assert judged == [f"Question {n}?" for n in (0, 230, 449, 450, 499)]
    assert desk.ids(queue, 3) == [1, 2, 3]


def test_roles(desk: Desk) -> None:
    queue = desk.queue()
    guest = Actor("guest", Role.STAKEHOLDER)
    for call in (
        lambda: desk.annotation.open_queue(ANA, queue.dataset_version_id),
        lambda: desk.annotation.judgements(ANA),
        lambda: desk.annotation.queues(guest),
        lambda: desk.annotation.next_items(guest, queue.id),
    ):
        with pytest.raises(Forbidden):
            call()
