"""Marks go with what an object is made of, whatever was there first."""

from __future__ import annotations

import pytest

from studio.core import Database, Edge, Lineage, Node

VOTE, DATA, RUN, MODEL = (
    Node(kind, f"{kind}_1") for kind in ("vote", "dataset_version", "run", "model_version")
)
OTHER = Node("run", "run_2")


@pytest.fixture
def lineage(database: Database) -> Lineage:
    made = Lineage(database)
    made.link([Edge(DATA, VOTE, "judged_by"), Edge(RUN, DATA, "trained_on"), Edge(MODEL, RUN, "made_by")])
    made.link([Edge(OTHER, Node("dataset_version", "dsv_2"), "trained_on")])
    return made


def marked(lineage: Lineage, *nodes: Node) -> set[Node]:
    return set(lineage.marks(nodes or (VOTE, DATA, RUN, MODEL, OTHER)))


def test_everything_that_came_of_it_is_marked_and_nothing_else(lineage: Lineage) -> None:
    lineage.mark([VOTE], "erased", "erased-1")
    assert marked(lineage) == {VOTE, DATA, RUN, MODEL}
    [mark] = lineage.marks([MODEL])[MODEL]
    assert (mark.what, mark.detail) == ("erased", "erased-1")


def test_what_comes_of_it_later_is_marked_too(lineage: Lineage) -> None:
    lineage.mark([VOTE], "erased", "erased-1")
    later = [Node("run", "run_3"), Node("model_version", "model_3"), Node("deployment", "dep_3")]
    # The end of the chain is linked before its beginning, as after a crash.
    lineage.link([Edge(later[2], later[1], "serves"), Edge(later[1], later[0], "made_by")])
    assert marked(lineage, *later) == set()
    lineage.link([Edge(later[0], MODEL, "warm_start")])
    assert marked(lineage, *later) == set(later)


def test_marking_again_changes_nothing_and_two_people_are_two_marks(lineage: Lineage) -> None:
    lineage.mark([VOTE], "erased", "erased-1")
    before = lineage.marks([RUN])
    lineage.mark([VOTE], "erased", "erased-1")
    assert lineage.marks([RUN]) == before
    lineage.mark([DATA], "erased", "erased-2")
    assert [mark.detail for mark in lineage.marks([RUN])[RUN]] == ["erased-1", "erased-2"]
    assert [mark.detail for mark in lineage.marks([VOTE])[VOTE]] == ["erased-1"]


def test_a_circle_ends(lineage: Lineage) -> None:
    lineage.link([Edge(VOTE, MODEL, "judged")])
    lineage.mark([RUN], "erased", "erased-1")
    assert marked(lineage) == {VOTE, DATA, RUN, MODEL}


def test_thousands_of_verdicts_are_one_walk(lineage: Lineage) -> None:
    votes = [Node("vote", f"v{number}") for number in range(5000)]
    lineage.link(Edge(DATA, vote, "judged_by") for vote in votes)
    lineage.mark(votes, "erased", "erased-1")
    assert marked(lineage) == {DATA, RUN, MODEL}
