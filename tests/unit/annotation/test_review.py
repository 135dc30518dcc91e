"""The review service with everything real behind it."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from studio.annotation import Members, Project, ProjectChange, ProjectState, Standing, Task, Verdict
from studio.annotation.review_records import NewAdjudication
from studio.core import Actor, Conflict, Database, Forbidden, InvalidInput, Node, NotFound, Role, Settings
from studio.core.access import Access, SharingChange, Visibility
from tests.unit.annotation.review_parts import ANA, BEN, CAT, GUEST, LEAD, OTHER, Office, open_office

FIRST, SECOND, TIE, SKIP = Standing.FIRST, Standing.SECOND, Standing.TIE, Standing.SKIP


@pytest.fixture
def office(database: Database, home: Path, settings: Settings) -> Office:
    return open_office(database, home, settings)


def disputed(office: Office, **given) -> Project:
    """Six items: two agreed, three disputed (one as a tie), one with a single label."""
    project = office.open(**given)
    office.labels(ANA, project, {0: FIRST, 1: SECOND, 2: FIRST, 3: FIRST, 4: TIE, 5: FIRST})
    office.labels(BEN, project, {0: FIRST, 1: SECOND, 2: SECOND, 3: SECOND, 4: FIRST})
    return project


def decide(shown, verdict: Verdict | None = Verdict.A, nonce: str = "n1", **given) -> NewAdjudication:
    return NewAdjudication(shown.project_id, shown.item_id, nonce, verdict, **given)


def test_the_dashboard_of_real_labels(office: Office) -> None:
    project = disputed(office)
    office.labels(CAT, project, {5: SKIP}, reason="unclear")
    found = office.review.dashboard(LEAD, project.id)
    assert (found.labels, found.needed, found.finished, found.divided) == (11, 12, 5, 3)
    assert (found.skips, found.adjudicated) == (1, 0)
    assert [one.name for one in found.people] == ["ana", "ben", "cat"]
    assert found.alpha.count == 5
    # By hand: 3 of 5 items differ; of ten values 5 are first, 4 second, 1 a tie.
    assert found.alpha.value == pytest.approx(1 - (3 / 5) / (58 / 90))
    assert [(one.first, one.second, one.kappa.count) for one in found.kappas] == [("ana", "ben", 5)]


def test_only_leads_see_numbers_about_people(office: Office) -> None:
    project = disputed(office, members=Members(people=("ana", "ben", "cat")))
    boss = Actor("boss", Role.ADMIN)
    for actor in (LEAD, OTHER, boss, Actor("lea", Role.ANNOTATOR)):
        assert office.review.dashboard(actor, project.id).labels == 11
    for actor in (ANA, GUEST):
        for call in (office.review.dashboard, office.review.consensus, office.review.adjudications):
            with pytest.raises(Forbidden):
                call(actor, project.id)
    with pytest.raises(Forbidden):
        office.review.inbox(GUEST, project.id)
    with pytest.raises(NotFound):
        office.review.dashboard(LEAD, "project_none")


def test_the_inbox_holds_disputed_items_alone(office: Office) -> None:
    project = disputed(office)
    found = office.review.inbox(LEAD, project.id)
    assert {one.prompt[0]["content"] for one in found} == {f"Question {n}?" for n in (2, 3, 4)}
    assert [one.probability for one in found] == sorted(one.probability for one in found)
    assert len(office.review.inbox(LEAD, project.id, limit=2)) == 2
    for one in found:
        first = one.a if one.first_side == "a" else one.b
        assert first[0]["content"].startswith("First")
        said = {voice.person: voice.verdict for voice in one.voices}
        assert set(said) == {"ana", "ben"}
        if "4" not in one.prompt[0]["content"]:
            assert said["ana"].value == one.first_side
            assert said["ben"].value != one.first_side


def test_sides_of_the_inbox_are_mixed(office: Office) -> None:
    project = office.open(items=40)
    office.labels(ANA, project, dict.fromkeys(range(40), FIRST))
    office.labels(BEN, project, dict.fromkeys(range(40), SECOND))
    sides = [one.first_side for one in office.review.inbox(LEAD, project.id)]
    assert 8 <= sides.count("a") <= 32  # 40 fair coins: outside once in ten thousand
    assert sides == [one.first_side for one in office.review.inbox(LEAD, project.id)]


def test_a_decision_counts_over_the_labels(office: Office) -> None:
    project = disputed(office)
    shown = office.review.inbox(LEAD, project.id)[0]
    made = office.review.adjudicate(
        LEAD, decide(shown, Verdict.B, comment="B is right", better_answer="Best.")
    )
    assert (made.adjudicator, made.own_label, made.supersedes) == ("lea", False, None)
    assert made.standing is (SECOND if shown.first_side == "a" else FIRST)
    assert shown.item_id not in [one.item_id for one in office.review.inbox(LEAD, project.id)]
    agreed = next(one for one in office.review.consensus(LEAD, project.id) if one.item_id == shown.item_id)
    assert (agreed.standing, agreed.probability, agreed.adjudication_id) == (made.standing, 1.0, made.id)
    judged = [one for one in office.annotation.judgements(LEAD, project.id) if one.kind == "adjudication"]
    assert [(one.id, one.outcome.value, one.b.messages) for one in judged] == [(made.id, "b", shown.b)]
    parents = {edge.parent.id for edge in office.lineage.parents(Node("adjudication", made.id))}
    assert len(parents) == 2
    with office.database.write() as connection:
        noted = connection.execute("SELECT * FROM audit WHERE verb = 'adjudicated'").fetchall()
    assert [(row["actor"], row["object_id"]) for row in noted] == [("lea", made.id)]


def test_a_retry_is_the_same_decision_and_a_change_of_mind_a_newer_one(office: Office) -> None:
    project = disputed(office)
    shown = office.review.inbox(LEAD, project.id)[0]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: office.review.adjudicate(LEAD, decide(shown)), range(16)))
    assert len({one.id for one in made}) == 1
    with pytest.raises(Conflict):
        office.review.adjudicate(LEAD, decide(shown, Verdict.TIE))
    newer = office.review.adjudicate(LEAD, decide(shown, Verdict.TIE, "n2"))
    assert newer.supersedes == made[0].id
    assert office.review.adjudications(LEAD, project.id) == (newer,)


def test_who_labelled_an_item_does_not_decide_it(office: Office) -> None:
    project = disputed(office, overlap=3, members=Members((Role.RESEARCHER, Role.ANNOTATOR), ("local",)))
    office.labels(OTHER, project, dict.fromkeys(range(5), FIRST))
    shown = office.review.inbox(OTHER, project.id)
    assert len(shown) == 4
    assert all(one.own_label and "lea can decide it" in one.refusal for one in shown)
    with pytest.raises(Forbidden, match="lea can"):
        office.review.adjudicate(OTHER, decide(shown[0]))
    assert not office.review.adjudicate(LEAD, decide(shown[0])).own_label


def test_who_is_not_named_decides_nothing(office: Office) -> None:
    project = disputed(office)
    shown = office.review.inbox(LEAD, project.id)[0]
    for actor in (CAT, GUEST):
        with pytest.raises(Forbidden):
            office.review.adjudicate(actor, decide(shown))


def test_where_nobody_else_can_the_record_says_so(office: Office) -> None:
    project = office.open(members=Members(roles=(Role.RESEARCHER,)))
    office.labels(LEAD, project, {0: FIRST})
    office.labels(OTHER, project, {0: SECOND})
    seen = {name.name: office.review.inbox(name, project.id)[0] for name in (LEAD, OTHER)}
    assert all(one.own_label and not one.refusal for one in seen.values())
    assert office.review.adjudicate(LEAD, decide(seen["lea"])).own_label


def test_who_cannot_log_in_keeps_nobody_from_deciding(office: Office) -> None:
    """A typo or a disabled account decides nothing, so nobody waits for it."""
    project = office.open(members=Members(roles=(Role.RESEARCHER, Role.ANNOTATOR), people=("anna",)))
    office.labels(OTHER, project, {0: FIRST})
    office.labels(ANA, project, {0: SECOND})
    office.deciders.clear()
    office.deciders.add(OTHER.name)
    shown = office.review.inbox(OTHER, project.id)[0]
    assert (shown.own_label, shown.refusal) == (True, "")
    assert office.review.adjudicate(OTHER, decide(shown)).own_label


def test_a_researcher_who_labelled_is_sent_to_the_lead(office: Office) -> None:
    project = office.open(members=Members(roles=(Role.RESEARCHER, Role.ANNOTATOR)))
    office.labels(OTHER, project, {0: FIRST})
    office.labels(ANA, project, {0: SECOND})
    shown = office.review.inbox(OTHER, project.id)[0]
    assert "lea can decide it" in shown.refusal
    with pytest.raises(Forbidden):
        office.review.adjudicate(OTHER, decide(shown))


def test_an_unfinished_item_is_not_decided(office: Office) -> None:
    project = office.open(overlap=3)
    office.labels(ANA, project, {0: FIRST})
    office.labels(BEN, project, {0: SECOND})
    item = office.annotation.store.items(project.id, [0])[0]
    assert office.review.inbox(LEAD, project.id) == ()
    with pytest.raises(Conflict):
        office.review.adjudicate(LEAD, NewAdjudication(project.id, item.id, "n1", Verdict.A))
    office.annotation.change(LEAD, project.id, ProjectChange(state=ProjectState.CLOSED))
    assert len(office.review.inbox(LEAD, project.id)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": Verdict.SKIP},
        {"verdict": Verdict.ACCEPT},
        {"verdict": None},
        {"rating_a": 3},
        {"nonce": " "},
        {"comment": "\0"},
        {"better_answer": "\ud800"},
    ],
)
def test_decisions_that_say_nothing_usable(office: Office, change: dict[str, object]) -> None:
    project = disputed(office)
    shown = office.review.inbox(LEAD, project.id)[0]
    with pytest.raises(InvalidInput):
        office.review.adjudicate(LEAD, replace(decide(shown), **change))
    assert office.review.adjudications(LEAD, project.id) == ()


def test_ratings_are_decided_by_ratings(office: Office) -> None:
    project = office.open(task=Task.RATING)
    office.labels(ANA, project, {0: (5, 1)})
    office.labels(BEN, project, {0: (1, 5)})
    shown = office.review.inbox(LEAD, project.id)[0]
    first = {voice.person: (voice.rating_a, voice.rating_b) for voice in shown.voices}
    assert first["ana"] == ((5, 1) if shown.first_side == "a" else (1, 5))
    for wrong in ({"rating_a": 3}, {"rating_a": 6, "rating_b": 1}, {}):
        with pytest.raises(InvalidInput):
            office.review.adjudicate(LEAD, decide(shown, None, **wrong))
    made = office.review.adjudicate(LEAD, decide(shown, None, rating_a=4, rating_b=2))
    assert made.verdict is Verdict.A
    agreed = office.review.consensus(LEAD, project.id)[0]
    ratings = (agreed.rating_first, agreed.rating_second)
    assert ratings == ((4, 2) if shown.first_side == "a" else (2, 4))


def test_items_that_are_not_there(office: Office) -> None:
    project = disputed(office)
    for item in ("", "item_none", "' OR 1=1"):
        with pytest.raises(NotFound):
            office.review.adjudicate(LEAD, NewAdjudication(project.id, item, "n1", Verdict.A))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE adjudications SET verdict = 'b'",
        "UPDATE adjudications SET comment = 'x'",
        "UPDATE adjudications SET adjudicator = 'eve'",
        "DELETE FROM adjudications",
        "INSERT OR REPLACE INTO adjudications SELECT * FROM adjudications",
    ],
)
def test_decisions_stay(office: Office, statement: str) -> None:
    project = disputed(office)
    office.review.adjudicate(LEAD, decide(office.review.inbox(LEAD, project.id)[0]))
    with pytest.raises(sqlite3.IntegrityError), office.database.write() as connection:
        connection.execute(statement)


def test_an_erased_person_keeps_their_decisions_under_a_pseudonym(office: Office) -> None:
    from studio.annotation.review_store import ReviewStore

    project = disputed(office)
    made = office.review.adjudicate(OTHER, decide(office.review.inbox(OTHER, project.id)[0]))
    assert ReviewStore(office.database).pseudonymise("rob", "erased-00000000") == (made.id,)
    office.annotation.store.pseudonymise("ana", "erased-11111111")
    assert office.review.adjudications(LEAD, project.id)[0].adjudicator == "erased-00000000"
    people = office.review.dashboard(LEAD, project.id).people
    assert [(one.name, one.erased) for one in people] == [("ben", False), ("erased-11111111", True)]


def test_a_private_dataset_keeps_its_projects_from_other_researchers(office: Office, tmp_path: Path) -> None:
    project = disputed(office)
    version = office.datasets.version(LEAD, project.dataset_version_id)
    access = Access(office.database, office.audit)
    access.share(LEAD, Node("dataset", version.dataset_id), SharingChange(visibility=Visibility.PRIVATE))
    assert office.review.dashboard(LEAD, project.id).labels == 11
    with pytest.raises(NotFound):
        office.review.dashboard(OTHER, project.id)
    with pytest.raises(NotFound):
        office.review.consensus(OTHER, project.id)
    for what in ("labels", "consensus", "preferences"):
        with pytest.raises(NotFound):
            office.exchange.export(OTHER, project.id, what, "jsonl", tmp_path)
    with pytest.raises(NotFound):
        office.review.inbox(OTHER, project.id)
