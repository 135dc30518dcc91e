"""Who may use what: the first claim, private and team, changes, and what comes of what is private."""

from __future__ import annotations

import threading

import pytest

from studio.core import (
    SYSTEM,
    Access,
    Actor,
    Audit,
    Conflict,
    Database,
    Forbidden,
    InvalidInput,
    Node,
    NotFound,
    Role,
    SharingChange,
    Visibility,
)

OWNER = Actor("olga", Role.RESEARCHER)
OTHER = Actor("rex", Role.RESEARCHER)
LABELLER = Actor("ann", Role.ANNOTATOR)
ADMIN = Actor("ada", Role.ADMIN)
THING = Node("dataset", "ds_1")
PRIVATE = SharingChange(Visibility.PRIVATE)


@pytest.fixture
def access(database: Database) -> Access:
    made = Access(database, Audit(database))
    made.claim(OWNER, THING)
    return made


def test_what_nobody_claimed_is_the_teams(access: Access) -> None:
    old = Node("dataset", "ds_0")
    assert access.allows(LABELLER, old)
    assert access.sharing(OTHER, old).owner == ""
    with pytest.raises(Forbidden):
        access.share(OTHER, old, PRIVATE)
    assert access.share(ADMIN, old, PRIVATE).visibility is Visibility.PRIVATE


def test_the_first_claim_wins(access: Access) -> None:
    assert access.claim(OTHER, THING).owner == "olga"
    owners = set()
    barrier = threading.Barrier(4)

    def claim(name: str) -> None:
        barrier.wait()
        owners.add(access.claim(Actor(name, Role.RESEARCHER), Node("dataset", "raced")).owner)

    threads = [threading.Thread(target=claim, args=(f"p{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(owners) == 1


@pytest.mark.parametrize(
    ("change", "let_in"),
    [
        (PRIVATE, set()),
        (SharingChange(Visibility.PRIVATE, people=("rex",)), {OTHER}),
        (SharingChange(Visibility.PRIVATE, roles=(Role.ANNOTATOR,)), {LABELLER}),
        (SharingChange(Visibility.TEAM), {OTHER, LABELLER}),
    ],
)
def test_private_lets_in_whom_it_names(access: Access, change: SharingChange, let_in: set[Actor]) -> None:
    access.share(OWNER, THING, change)
    assert {who for who in (OTHER, LABELLER) if access.allows(who, THING)} == let_in
    assert {who for who in (OTHER, LABELLER) if THING.id not in access.hidden(who, "dataset")} == let_in
    assert all(access.allows(who, THING) for who in (OWNER, ADMIN, SYSTEM))
    assert access.hidden(OTHER, "model") == frozenset()


def test_a_part_that_is_not_named_stays(access: Access) -> None:
    access.share(OWNER, THING, SharingChange(Visibility.PRIVATE, (Role.STAKEHOLDER,), ("rex", "rex")))
    after = access.share(OWNER, THING, SharingChange(owner="rex"))
    assert (after.owner, after.people, after.roles) == ("rex", ("rex",), (Role.STAKEHOLDER,))
    with pytest.raises(NotFound):
        access.share(OWNER, THING, PRIVATE)  # it is not olga's any more


def test_only_the_owner_and_admins_share(access: Access) -> None:
    with pytest.raises(Forbidden):
        access.share(OTHER, THING, PRIVATE)
    with pytest.raises(Forbidden):
        access.share(LABELLER, THING, PRIVATE)
    access.share(ADMIN, THING, PRIVATE)
    with pytest.raises(NotFound):
        access.share(OTHER, THING, SharingChange(Visibility.TEAM))
    with pytest.raises(NotFound):
        access.sharing(OTHER, THING)


@pytest.mark.parametrize("people", [("",), ("a\0b",), ("\ud800",), tuple(f"p{n}" for n in range(201))])
def test_names_that_cannot_be_names_are_refused(access: Access, people: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput):
        access.share(OWNER, THING, SharingChange(people=people))


def test_what_comes_of_something_private_is_private(access: Access) -> None:
    access.share(OWNER, THING, SharingChange(Visibility.PRIVATE, people=("rex",)))
    made = Node("dataset", "ds_2")
    assert access.claim(OTHER, made, (THING,)).visibility is Visibility.PRIVATE
    assert not access.allows(OWNER, made)
    shared = Node("dataset", "ds_3")
    access.claim(OTHER, shared)
    access.admit(OTHER, shared, "shared")
    with pytest.raises(Conflict, match="shared with the team"):
        access.admit(OTHER, shared, "shared", (THING,))
    with pytest.raises(Conflict, match="taken"):
        access.admit(LABELLER, made, "made")


def test_a_persons_name_can_be_taken_out(access: Access) -> None:
    access.share(OWNER, THING, SharingChange(Visibility.PRIVATE, people=("rex", "pia")))
    for _ in range(2):
        access.pseudonymise(ADMIN, "rex", "erased-1")
        access.pseudonymise(ADMIN, "olga", "erased-2")
    after = access.sharing(ADMIN, THING)
    assert (after.owner, after.people) == ("erased-2", ("pia",))
    with pytest.raises(Forbidden):
        access.pseudonymise(OWNER, "pia", "erased-3")
