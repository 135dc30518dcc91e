"""The pure computations behind the dashboard and the consensus."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import DawidSkene as Oracle
from sklearn.metrics import cohen_kappa_score

from studio.annotation.consensus import consensus
from studio.annotation.records import Entry, ItemKind, Project, ProjectState, Standing, Task, Verdict
from studio.annotation.review_dashboard import dashboard
from studio.annotation.review_records import Adjudication, Dashboard
from tests.unit.annotation.review_parts import project, says

FIRST, SECOND, TIE, SKIP = Standing.FIRST, Standing.SECOND, Standing.TIE, Standing.SKIP


def board(entries: list[Entry], of: Project | None = None, **given) -> Dashboard:
    firsts = given.get("firsts", entries)
    decisions, truths = given.get("decisions", ()), given.get("truths", {})
    return dashboard(of or project(), entries, firsts, decisions, truths, 5000.0)


def person(found: Dashboard, name: str):
    return next(one for one in found.people if one.name == name)


def decision(position: int, verdict: Verdict = Verdict.A) -> Adjudication:
    return Adjudication(
        id=f"adjudication_{position}",
        project_id="project_1",
        item_id=f"item_{position}",
        position=position,
        verdict=verdict,
        first_side="a",
        rating_a=None,
        rating_b=None,
        comment="",
        better_answer="",
        adjudicator="lea",
        own_label=False,
        supersedes=None,
        at=1.0,
    )


def team(items: int, people: int, right: list[float], seed: int = 0, each: int = 2) -> list[Entry]:
    """Labels by people who say the truth with their own probability and else guess among two."""
    rng = np.random.default_rng(seed)
    found = []
    for position in range(items):
        truth = int(rng.integers(2))
        for who in rng.permutation(people)[:each]:
            value = truth if rng.random() < right[who] else int(rng.integers(2))
            side = "ab"[rng.integers(2)]
            at = 1000.0 + 600.0 * position
            found.append(says(f"p{who:02}", position, (FIRST, SECOND)[value], side=side, at=at, seconds=8.0))
    return found


def test_an_empty_project_says_why_there_is_nothing() -> None:
    found = board([])
    assert (found.labels, found.needed, found.finished, found.people) == (0, 20, 0, ())
    assert (found.alpha.value, found.alpha.interval) == (None, None)
    assert "two people" in found.alpha.why
    assert (found.days, found.kappas, found.alpha_over_time) == ((), (), ())
    assert consensus(Task.PREFERENCE, []) == ()


def test_one_annotator_alone() -> None:
    entries = [says("ana", n, seconds=2.0) for n in range(5)]
    found = board(entries)
    assert found.alpha.value is None
    assert person(found, "ana").agreement.why == "Nobody else has labelled the same items."
    assert all(one.probability is None for one in consensus(Task.PREFERENCE, entries))


def test_the_same_verdict_from_everyone_leaves_alpha_undefined() -> None:
    entries = [says(name, n) for name in ("ana", "ben") for n in range(30)]
    found = board(entries, project(items=30))
    assert (found.alpha.value, found.alpha.interval, found.alpha.count) == (None, None, 30)
    assert "chance" in found.alpha.why
    assert found.kappas[0].kappa.value is None
    assert [point.alpha.value for point in found.alpha_over_time] == [None]
    assert person(found, "ana").agreement.value == 1.0
    assert person(found, "ana").agreement.interval.low < 0.95


def test_no_number_on_the_board_is_nan() -> None:
    for entries in ([], [says("ana", 0)], team(40, 3, [0.9, 0.5, 0.2]), team(3, 2, [1.0, 1.0])):
        found = board(entries)
        estimates = [found.alpha, *(p.alpha for p in found.alpha_over_time), *(k.kappa for k in found.kappas)]
        for one in found.people:
            estimates += [one.gold, one.position, one.consistency, one.agreement]
        for estimate in estimates:
            assert (estimate.value is None) == bool(estimate.why)
            assert estimate.value is None or math.isfinite(estimate.value)
            if estimate.interval is not None:
                assert estimate.interval.low <= estimate.value <= estimate.interval.high


def test_what_counts() -> None:
    entries = [
        says("ana", 0),
        says("ben", 0, SECOND),
        says("ana", 1),
        says("ben", 1, SKIP),
        says("ana", 2),
        says("ben", 2),
        says("ana", 0, kind=ItemKind.REPEAT),
        says("ana", 3, kind=ItemKind.GOLD),
    ]
    found = board(entries)
    assert (found.labels, found.skips, found.finished, found.divided) == (5, 1, 2, 1)
    assert {one.standing: one.labels for one in found.standings} == {FIRST: 4, SECOND: 1, SKIP: 1}
    assert person(found, "ben").skipped == 1
    assert board(entries, decisions=[decision(0)]).divided == 0
    assert board(entries, decisions=[decision(0)]).adjudicated == 1


def test_an_unfinished_item_is_divided_only_once_the_project_is_closed() -> None:
    entries = [says("ana", 0), says("ben", 0, SECOND)]
    of_three = project(overlap=3)
    assert board(entries, of_three).divided == 0
    assert board(entries, replace(of_three, state=ProjectState.CLOSED)).divided == 1


def test_sides_do_not_matter_for_agreement() -> None:
    entries = [
        says(name, n, side="ab"[(n + k) % 2]) for k, name in enumerate(("ana", "ben")) for n in range(8)
    ]
    assert person(board(entries), "ana").agreement.value == 1.0


def test_gold_repeats_and_position() -> None:
    truths = dict.fromkeys(range(20, 24), FIRST)
    entries = [says("ana", n, side="a", kind=ItemKind.GOLD) for n in range(20, 23)]
    entries.append(says("ana", 23, SECOND, side="a", kind=ItemKind.GOLD))
    entries += [says("ana", n, side="b") for n in range(4)]
    entries += [says("ana", 0, side="a", kind=ItemKind.REPEAT), says("ana", 1, TIE, kind=ItemKind.REPEAT)]
    ana = person(board(entries, truths=truths), "ana")
    assert (ana.gold.value, ana.gold.count) == (0.75, 4)
    assert (round(ana.gold.interval.low, 3), round(ana.gold.interval.high, 3)) == (0.301, 0.954)
    assert (ana.consistency.value, ana.consistency.count) == (0.5, 2)
    assert (ana.position.value, ana.position.count) == (4 / 9, 9)
    imported = [says("ben", n, origin="import") for n in range(9)]
    assert person(board(imported), "ben").position.value is None


def test_kappa_and_agreement_are_those_of_another_library() -> None:
    entries = team(60, 3, [0.9, 0.8, 0.3])
    found = board(entries)
    said = {(e.label.annotator, e.position): e.standing for e in entries}
    for pair in found.kappas:
        common = [n for n in range(60) if (pair.first, n) in said and (pair.second, n) in said]
        one, two = ([said[name, n].value for n in common] for name in (pair.first, pair.second))
        assert pair.kappa.value == pytest.approx(cohen_kappa_score(one, two))
        assert pair.kappa.count == len(common)
    assert [(p.first, p.second) for p in found.kappas] == [("p00", "p01"), ("p00", "p02"), ("p01", "p02")]


def test_agreement_over_time_sees_a_change() -> None:
    early = team(100, 2, [0.2, 0.2], seed=1)
    late = [
        says(e.label.annotator, e.position + 100, e.standing, at=e.label.labelled_at + 1e6)
        for e in team(100, 2, [0.98, 0.98], seed=2)
    ]
    points = board(early + late, project(items=200)).alpha_over_time
    assert sum(point.items for point in points) == 200
    assert len(points) == 10
    assert all(one.end <= two.start for one, two in itertools.pairwise(points))
    assert max(p.alpha.value for p in points[:5]) < min(p.alpha.value for p in points[5:])


def test_days_add_up() -> None:
    entries = [says("ana", n, at=86_400.0 * day + 5) for n, day in enumerate((3, 3, 5, 1))]
    assert [(d.start / 86_400, d.labels, d.total) for d in board(entries).days] == [
        (1, 1, 1),
        (3, 2, 3),
        (5, 1, 4),
    ]


def test_flags_name_who_stands_out_and_nobody_else() -> None:
    entries = team(300, 5, [0.95, 0.95, 0.95, 0.95, 0.0], each=3)
    golds = [
        says(f"p{n:02}", 400 + k, FIRST if n < 4 or k < 3 else SECOND, side="ab"[k % 2], kind=ItemKind.GOLD)
        for n in range(5)
        for k in range(12)
    ]
    found = board(entries + golds, project(items=300), truths={400 + k: FIRST for k in range(12)})
    assert [len(one.flags) for one in found.people[:4]] == [0, 0, 0, 0]
    flags = " ".join(person(found, "p04").flags)
    assert "Gold: 25% of 12 right." in flags
    assert "Agrees with others" in flags


def test_flags_of_habit() -> None:
    def habit(name: str, side: str, seconds: float, skips: int = 0) -> list[Entry]:
        shown = [("ab"[n % 2] if side == "" else side) for n in range(40)]
        given = [says(name, n, side=s, seconds=seconds) for n, s in enumerate(shown)]
        return given + [says(name, 50 + n, SKIP) for n in range(skips)]

    entries = [
        *habit("ana", "", 9.0),
        *habit("ben", "", 8.0),
        *habit("cat", "", 2.0),
        *habit("dan", "a", 10.0),
        *habit("eve", "", 40.0, skips=30),
    ]
    found = {one.name: one.flags for one in board(entries, project(items=100)).people}
    assert (found["ana"], found["ben"]) == ((), ())
    assert found["cat"] == ("Very fast: 2.0 s a label, where the team's median is 9.0 s.",)
    assert found["dan"] == ("Prefers side A: 100% of 40 choices, where sides are drawn by lot.",)
    assert found["eve"][0].startswith("Slow: 40.0 s")
    assert found["eve"][1] == "Skipped 30 of 70 items."


def test_a_team_of_ordinary_people_is_rarely_flagged() -> None:
    flagged = sum(
        bool(one.flags)
        for seed in range(20)
        for one in board(team(120, 6, [0.8] * 6, seed=seed), project(items=120)).people
    )
    assert flagged <= 8  # of 120 people; each team has two tests at 5 %


def test_who_was_erased_is_counted_but_not_flagged() -> None:
    entries = [says("erased-0a1b2c3d", n, side="a", seconds=0.1) for n in range(60)]
    found = board(entries + [says("ana", n, SECOND, side="ab"[n % 2]) for n in range(60)], project(items=60))
    gone = person(found, "erased-0a1b2c3d")
    assert (gone.erased, gone.flags, gone.labels) == (True, (), 60)
    assert found.labels == 120


@pytest.mark.filterwarnings("ignore")
def test_consensus_is_the_model_of_another_library() -> None:
    entries = team(200, 6, [0.95, 0.9, 0.8, 0.7, 0.6, 0.3], each=3)
    found = consensus(Task.PREFERENCE, entries)
    frame = pd.DataFrame(
        {
            "task": [e.position for e in entries],
            "worker": [e.label.annotator for e in entries],
            "label": [e.standing.value for e in entries],
        }
    )
    theirs = Oracle(n_iter=100).fit_predict(frame)
    same = sum(theirs[one.position] == one.standing.value for one in found)
    # Ours is smoothed, so an item on the edge may fall to the other side.
    assert same >= 190
    assert all(0.25 <= one.probability <= 1 for one in found)


def test_an_adjudicator_has_the_last_word() -> None:
    entries = [says("ana", 0), says("ben", 0), says("ana", 1), says("ben", 1, SECOND)]
    found = consensus(Task.PREFERENCE, entries, [decision(0, Verdict.B)])
    assert (found[0].standing, found[0].probability, found[0].agreement) == (SECOND, 1.0, 0.0)
    assert (found[0].adjudication_id, found[0].people) == ("adjudication_0", 2)
    assert found[1].adjudication_id == ""
    alone = consensus(Task.PREFERENCE, [], [decision(4)])
    assert [(one.position, one.people, one.label_ids) for one in alone] == [(4, 0, ())]


def test_gold_tells_whom_to_believe() -> None:
    """Two people who always differ: the one who is right about gold is believed."""
    entries = [says("ana", n, (FIRST, SECOND)[n % 2]) for n in range(20)]
    entries += [says("ben", n, (SECOND, FIRST)[n % 2]) for n in range(20)]
    golds = [says("ana", 50 + n, (FIRST, SECOND)[n % 2], kind=ItemKind.GOLD) for n in range(10)]
    golds += [says("ben", 50 + n, (SECOND, FIRST)[n % 2], kind=ItemKind.GOLD) for n in range(10)]
    truths = {50 + n: (FIRST, SECOND)[n % 2] for n in range(10)}
    found = consensus(Task.PREFERENCE, entries + golds, (), truths)
    assert [one.standing for one in found] == [(FIRST, SECOND)[n % 2] for n in range(20)]
    assert min(one.probability for one in found) > 0.8


def test_ratings_are_ordinal_and_averaged() -> None:
    rating = project(Task.RATING)
    entries = [
        says("ana", 0, FIRST, ratings=(5, 2)),
        says("ben", 0, FIRST, side="b", ratings=(4, 2)),
        says("ana", 1, TIE, ratings=(3, 3)),
        says("ben", 1, SECOND, ratings=(1, 5)),
    ]
    found = board(entries, rating)
    assert (found.scale, found.alpha.count, found.divided) == ("ordinal", 2, 1)
    assert found.kappas[0].kappa.count == 2
    agreed = consensus(Task.RATING, entries)[0]
    assert (agreed.rating_first, agreed.rating_second) == (4.5, 2.0)


def test_one_rated_answer() -> None:
    entries = [
        says("ana", 0, Standing.TIE, ratings=(3, None)),
        says("ben", 0, Standing.ACCEPT, ratings=(4, None)),
    ]
    found = board(entries, project(Task.RATING))
    assert found.divided == 1
    only = consensus(Task.RATING, entries)[0]
    assert (only.rating_first, only.rating_second) == (3.5, None)


def test_writing_has_no_agreement() -> None:
    entries = [says(name, 0, Standing.EDITED, better="x") for name in ("ana", "ben")]
    found = board(entries, project(Task.EDIT))
    assert (found.alpha.value, found.divided, found.kappas) == (None, 0, ())
    assert "write" in found.alpha.why
    assert consensus(Task.EDIT, entries)[0].probability is None


def test_ten_thousand_labels_of_twenty_people() -> None:
    """No benchmark: it fails where somebody loops over labels times people, or bootstraps labels."""
    entries = team(5000, 20, [0.8] * 20)
    started = time.process_time()
    board(entries, project(items=5000))
    consensus(Task.PREFERENCE, entries)
    assert time.process_time() - started < 5


def test_a_small_project_is_not_explained_away() -> None:
    """Five items and two people: what both say stays, and where they differ nobody is believed more."""
    said = [(FIRST, FIRST), (SECOND, SECOND), (FIRST, SECOND), (TIE, TIE), (Standing.BOTH_BAD,) * 2]
    entries = [
        says(name, position, standings[k])
        for position, standings in enumerate(said)
        for k, name in enumerate(("ana", "ben"))
    ]
    found = consensus(Task.PREFERENCE, entries)
    assert [one.standing for one in found[:2] + found[3:]] == [FIRST, SECOND, TIE, Standing.BOTH_BAD]
    assert min(one.probability for one in found[:2] + found[3:]) > 0.9
    assert found[2].probability == pytest.approx(0.5, abs=0.1)


def test_consensus_does_not_know_which_answer_a_dataset_calls_the_first() -> None:
    other = {FIRST: SECOND, SECOND: FIRST}
    entries = team(60, 5, [0.9, 0.9, 0.7, 0.5, 0.5], each=3)
    turned = [
        says(e.label.annotator, e.position, other[e.standing] if e.position % 3 else e.standing)
        for e in entries
    ]
    for one, two in zip(consensus(Task.PREFERENCE, entries), consensus(Task.PREFERENCE, turned), strict=True):
        assert one.probability == pytest.approx(two.probability, abs=1e-9)
        assert two.standing is (other[one.standing] if one.position % 3 else one.standing)


def test_between_equals_nobody_is_believed() -> None:
    """One always prefers what the dataset calls the first; that alone makes it no more probable."""
    entries = [says("ana", n) for n in range(4)] + [says("ben", n, (FIRST, SECOND)[n > 1]) for n in range(4)]
    found = consensus(Task.PREFERENCE, entries)
    assert [one.probability for one in found[2:]] == pytest.approx([0.5, 0.5])
    turned = consensus(Task.PREFERENCE, list(reversed(entries)))
    assert {found[2].standing, turned[2].standing} == {FIRST, SECOND}
