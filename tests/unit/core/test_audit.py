"""The log: in what order it is read, how it is searched, who may, and what an erasure changes."""

from __future__ import annotations

import pytest

from studio.core import LOCAL_ADMIN, Actor, Audit, AuditEntry, Database, Forbidden, Node, Role

ANN = Actor("ann", Role.ANNOTATOR)
RHEA = Actor("rhea", Role.RESEARCHER)


@pytest.fixture
def audit(database: Database) -> Audit:
    log = Audit(database)
    log.record(RHEA, "imported", Node("dataset_version", "d1"), "12 rows")
    log.record(ANN, "labelled", Node("item", "i1"))
    log.record(ANN, "labelled", Node("item", "i2"))
    log.record(RHEA, "started", Node("run", "r1"))
    log.record(RHEA, "stopped", Node("run", "r1"))
    log.record(LOCAL_ADMIN, "disabled", Node("account", "ann"))
    return log


def _told(entries: tuple[AuditEntry, ...]) -> list[str]:
    return [f"{entry.actor} {entry.verb} {entry.target.id}" for entry in entries]


def test_the_newest_come_first(audit: Audit) -> None:
    assert _told(audit.recent(LOCAL_ADMIN, 2)) == ["local disabled ann", "rhea stopped r1"]
    [oldest] = audit.search(LOCAL_ADMIN, verb="imported")
    assert (oldest.role, oldest.target, oldest.detail) == (
        "researcher",
        Node("dataset_version", "d1"),
        "12 rows",
    )


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"person": "ann"}, ["ann labelled i2", "ann labelled i1"]),
        ({"kind": "run"}, ["rhea stopped r1", "rhea started r1"]),
        ({"kind": "run", "object_id": "r1", "verb": "started"}, ["rhea started r1"]),
        ({"person": "ann", "kind": "run"}, []),
        ({"person": "ann' OR 1=1 --"}, []),
        ({"person": "half \ud800"}, []),
        ({"person": "Ann"}, []),
    ],
)
def test_everything_that_is_given_must_fit(audit: Audit, given: dict[str, str], found: list[str]) -> None:
    assert _told(audit.search(LOCAL_ADMIN, **given)) == found


def test_pages_follow_each_other_without_gap_or_repeat(audit: Audit) -> None:
    read: list[AuditEntry] = []
    page = audit.search(LOCAL_ADMIN, limit=2)
    while page:
        read.extend(page)
        audit.record(ANN, "labelled", Node("item", f"late{len(read)}"))  # what comes meanwhile moves nothing
        page = audit.search(LOCAL_ADMIN, before=read[-1].id, limit=2)
    assert tuple(read) == audit.search(LOCAL_ADMIN, before=read[0].id + 1)
    assert len(read) == 6


def test_a_page_has_at_least_one_line_and_at_most_ten_thousand(audit: Audit, database: Database) -> None:
    assert len(audit.search(LOCAL_ADMIN, limit=0)) == 1
    assert len(audit.search(LOCAL_ADMIN, limit=-1)) == 1
    with database.write() as connection:
        for number in range(10_010):
            audit.record_on(connection, ANN, "labelled", Node("item", str(number)))
    assert len(audit.search(LOCAL_ADMIN, limit=10**9)) == 10_000


def test_the_words_to_choose_from(audit: Audit) -> None:
    assert audit.verbs(LOCAL_ADMIN) == ("disabled", "imported", "labelled", "started", "stopped")
    assert audit.kinds(LOCAL_ADMIN) == ("account", "dataset_version", "item", "run")


@pytest.mark.parametrize("actor", [ANN, RHEA])
def test_only_admins_read_it(audit: Audit, actor: Actor) -> None:
    for read in (audit.recent, audit.search, audit.verbs, audit.kinds):
        with pytest.raises(Forbidden):
            read(actor)


def test_a_transaction_that_fails_takes_its_entry_with_it(audit: Audit, database: Database) -> None:
    before = audit.recent(LOCAL_ADMIN)
    with pytest.raises(RuntimeError), database.write() as connection:
        audit.record_on(connection, ANN, "labelled", Node("item", "i3"))
        raise RuntimeError
    assert audit.recent(LOCAL_ADMIN) == before


def test_a_pseudonym_takes_the_place_of_a_name_and_of_nothing_else(audit: Audit, database: Database) -> None:
    audit.record(RHEA, "opened", Node("project", "ann"))  # a project that happens to be called so
    before = audit.recent(LOCAL_ADMIN)
    with database.write() as connection:
        audit.rename_on(connection, "ann", "erased-1")
    assert _told(audit.search(LOCAL_ADMIN, person="erased-1")) == [
        "erased-1 labelled i2",
        "erased-1 labelled i1",
    ]
    assert _told(audit.search(LOCAL_ADMIN, kind="account")) == ["local disabled erased-1"]
    assert _told(audit.search(LOCAL_ADMIN, kind="project")) == ["rhea opened ann"]
    assert len(audit.recent(LOCAL_ADMIN)) == len(before)
