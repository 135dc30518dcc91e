from __future__ import annotations

import random
import threading
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest

from studio.annotation import NewLabel, Project, Verdict
from studio.core import Actor, Conflict, Role, new_id
from tests.unit.annotation.conftest import ANA, BEN, CAT, LEAD, Desk, number_of


def test_items_come_in_order_and_those_on_hand_are_not_given_again(desk: Desk) -> None:
    project = desk.project(6)
    first = desk.annotation.next_items(ANA, project.id, 2)
    held = tuple(item.id for item in first)
    more = desk.annotation.next_items(ANA, project.id, 2, held)
    assert [number_of(item) for item in (*first, *more)] == [0, 1, 2, 3]
    assert desk.annotation.next_items(ANA, project.id, 0, held) == ()


def test_who_comes_back_goes_on_where_they_left(desk: Desk) -> None:
    project = desk.project(6)
    before = desk.annotation.next_items(ANA, project.id, 3)
    again = desk.annotation.next_items(ANA, project.id, 3)
    assert [(item.id, item.a, item.b) for item in again] == [(item.id, item.a, item.b) for item in before]
    desk.clock.at += 10_000
    assert {item.id for item in desk.annotation.next_items(ANA, project.id, 3)} == {i.id for i in before}


def test_an_item_holds_its_row_and_the_lease_its_end(desk: Desk) -> None:
    project = desk.project(5, lease_seconds=60)
    for item in desk.annotation.next_items(ANA, project.id, 5):
        number = number_of(item)
        assert item.prompt == ({"role": "user", "content": f"Question {number}?"},)
        answers = {item.a[0]["content"], item.b[0]["content"]}
        assert answers == {f"Good answer {number}.", f"Poor answer {number}."}
        assert item.leased_until == desk.clock.at + 60
        assert item.suggestion is None


def test_no_two_people_have_one_item_unless_the_overlap_asks(desk: Desk) -> None:
    project = desk.project(6)
    ana, ben = (set(desk.ids(project, actor, 3)) for actor in (ANA, BEN))
    assert not ana & ben
    assert desk.ids(project, CAT) == []
    both = desk.project(6, name="two", overlap=2)
    shared = [set(desk.ids(both, actor)) for actor in (ANA, BEN)]
    assert shared[0] == shared[1]
    assert desk.ids(both, CAT) == []


def test_a_closed_laptops_lease_returns(desk: Desk) -> None:
    project = desk.project(4, lease_seconds=60)
    left = desk.ids(project, ANA, 2)
    assert len(desk.ids(project, BEN, 4)) == 2
    desk.clock.at += 59
    assert desk.ids(project, CAT) == []
    desk.clock.at += 1
    # What was left behind comes before anything else.
    assert desk.ids(project, CAT, 2) == left
    assert desk.annotation.renew(ANA, project.id, left) == ()


def test_a_late_label_is_taken_while_its_place_is_free(desk: Desk) -> None:
    project = desk.project(2, lease_seconds=60)
    first, second = desk.annotation.next_items(ANA, project.id, 2)
    desk.clock.at += 61
    assert desk.label(first).item_id == first.id
    taken = desk.next(project, BEN)
    assert taken.id == second.id
    with pytest.raises(Conflict, match="somebody else"):
        desk.label(second)
    desk.label(taken, actor=BEN)
    with pytest.raises(Conflict):
        desk.label(second)


def test_renewing_holds_and_releasing_lets_go(desk: Desk) -> None:
    project = desk.project(2, lease_seconds=60)
    held = desk.ids(project)
    for _ in range(5):
        desk.clock.at += 50
        assert set(desk.annotation.renew(ANA, project.id, held)) == set(held)
    assert desk.ids(project, BEN) == []
    desk.annotation.release(ANA, project.id, held[:1])
    assert desk.ids(project, BEN) == held[:1]
    assert desk.annotation.renew(ANA, project.id, held) == (held[1],)
    desk.annotation.release(ANA, project.id, ["item_none"])


def test_asking_for_more_renews_what_is_on_hand(desk: Desk) -> None:
    project = desk.project(4, lease_seconds=60)
    held = desk.ids(project, count=2)
    desk.clock.at += 50
    desk.annotation.next_items(ANA, project.id, 1, held)
    desk.clock.at += 50
    assert not set(held) & set(desk.ids(project, BEN))


def test_a_label_ends_its_lease_and_fills_its_place(desk: Desk) -> None:
    project = desk.project(3, overlap=2)
    mine = [number_of(item) for item in desk.label_all(project)]
    assert mine == [0, 1, 2]
    desk.clock.at += 100_000
    assert [number_of(item) for item in desk.label_all(project, BEN)] == mine
    assert desk.ids(project, CAT) == []
    assert desk.annotation.progress(CAT, project.id).left == 0


def test_skipped_items_come_back_last(desk: Desk) -> None:
    project = desk.project(4)
    first = desk.next(project)
    desk.label(first, Verdict.SKIP)
    order = []
    for _ in range(4):
        item = desk.next(project)
        order.append(number_of(item))
        desk.label(item, Verdict.SKIP if len(order) == 1 else Verdict.A)
    assert order == [1, 2, 3, 0]
    assert number_of(desk.next(project)) == 1


def test_a_skip_frees_the_place_for_others(desk: Desk) -> None:
    project = desk.project(1)
    item = desk.next(project)
    desk.label(item, Verdict.SKIP)
    again = desk.next(project, BEN)
    assert again.id == item.id
    with pytest.raises(Conflict):
        desk.annotation.item(ANA, project.id, item.id)
    desk.label(again, actor=BEN)
    assert desk.ids(project) == []


def test_a_skipped_item_can_be_taken_up_again(desk: Desk) -> None:
    project = desk.project(3)
    item = desk.next(project)
    desk.label(item, Verdict.SKIP)
    (label,) = desk.annotation.skipped(ANA, project.id)
    back = desk.annotation.item(ANA, project.id, label.item_id)
    assert back.leased_until is not None
    assert item.id not in desk.ids(project, BEN)
    # Naming a skipped item as held does not take its place.
    desk.label(desk.annotation.item(ANA, project.id, item.id), Verdict.SKIP)
    desk.annotation.next_items(ANA, project.id, 1, (item.id,))
    assert item.id in desk.ids(project, CAT)


def test_more_overlap_opens_finished_items_and_less_closes_them(desk: Desk) -> None:
    from studio.annotation import ProjectChange

    project = desk.project(2)
    desk.label_all(project)
    assert desk.ids(project, BEN) == []
    desk.annotation.change(LEAD, project.id, ProjectChange(overlap=2))
    assert len(desk.ids(project, BEN)) == 2
    assert desk.annotation.progress(ANA, project.id).needed == 4
    desk.annotation.change(LEAD, project.id, ProjectChange(overlap=1))
    assert desk.annotation.progress(CAT, project.id).available == 0
    assert desk.ids(project, CAT) == []


def test_what_is_available_counts_what_is_on_hand(desk: Desk) -> None:
    project = desk.project(5)
    desk.ids(project, BEN, 2)
    assert desk.annotation.progress(ANA, project.id).available == 3
    item = desk.next(project)
    assert desk.annotation.progress(ANA, project.id).available == 3
    desk.label(item)
    assert desk.annotation.progress(ANA, project.id).available == 2


def test_eight_people_at_once_never_exceed_the_overlap(desk: Desk) -> None:
    """Each labels, skips, undoes, releases and lets leases run out; every place is checked as it is given."""
    project = desk.project(40, overlap=2, lease_seconds=30)
    people = [Actor(f"person-{n}", Role.ANNOTATOR) for n in range(8)]
    gate = threading.Barrier(len(people))

    def work(actor: Actor) -> None:
        dice = random.Random(actor.name)
        gate.wait()
        while items := desk.annotation.next_items(actor, project.id, 3):
            for item in items:
                _play(desk, project, actor, item.id, dice.random())
            desk.clock.at += dice.random() * 8
            _check_places(desk, project)

    with ThreadPoolExecutor(len(people)) as pool:
        list(pool.map(work, people))
    entries = [e for e in desk.annotation.store.standing(project.id) if e.label.verdict is not Verdict.SKIP]
    by_position = Counter(entry.position for entry in entries)
    assert set(by_position) == set(range(40))
    assert set(by_position.values()) == {2}
    progress = desk.annotation.progress(LEAD, project.id)
    assert (progress.done, progress.left) == (80, 0)


def _play(desk: Desk, project: Project, actor: Actor, item: str, roll: float) -> None:
    try:
        if roll < 0.05:
            desk.annotation.release(actor, project.id, [item])
        elif roll < 0.1:
            return
        else:
            verdict = Verdict.SKIP if roll < 0.15 else Verdict.A
            desk.annotation.label(actor, NewLabel(project.id, item, new_id("nonce"), verdict))
            if roll > 0.95:
                desk.annotation.undo(actor, project.id, new_id("nonce"))
    except Conflict:
        return


def _check_places(desk: Desk, project: Project) -> None:
    # Every lease that ends later than now is live whenever "now" was read, because the clock only grows.
    at = desk.clock.at
    taken: dict[int, set[str]] = defaultdict(set)
    for row in desk.database.rows("SELECT * FROM places WHERE project_id = ?", (project.id,)):
        if row["state"] == 1 or row["until"] > at:
            taken[row["position"]].add(row["annotator"])
    assert max((len(people) for people in taken.values()), default=0) <= project.overlap


def test_prefetching_stays_quick_in_a_large_project(desk: Desk) -> None:
    """The plan of each search is held, not its time: no search walks a table for every item."""
    from studio.annotation import lease_store

    project = desk.project(3)
    values = {"project": project.id, "me": "ana", "at": 0.0, "count": 3, "frontier": 0}
    searches = (lease_store._RETURNED, lease_store._AHEAD, lease_store._BEHIND, lease_store._AVAILABLE)
    for sql in searches:
        plan = [row["detail"] for row in desk.database.rows(f"EXPLAIN QUERY PLAN {sql}", values)]
        assert not any(line in ("SCAN items", "SCAN places") for line in plan), plan
        per_item = [line for line in plan if line.startswith("SEARCH places USING PRIMARY KEY")]
        # The person's own places, read once as a list.
        assert all("annotator=?" in line for line in per_item), plan
