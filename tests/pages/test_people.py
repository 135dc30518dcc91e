"""People: accounts and their changes, erasing with its question, and the audit log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pages import people, people_audit, people_change
from pages.components.visible import HIDDEN
from studio.core import LOCAL_ADMIN, Forbidden, InvalidInput, Node, Role, StudioError
from studio.studio import Studio
from tests.pages.conftest import visiting
from tests.pages.people import NAMES, PASSWORD, at_the_desk, settle_in

FORM, SEARCH, ROWS, PANEL, HEAD, CHANGES, ROLE, OUT, SECRET, NAME, SURE, TYPED = range(1, 13)


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people_change, "toast", lambda *_: None)


@pytest.fixture
def admin(studio: Studio) -> Iterator[Studio]:
    settle_in(studio)
    return at_the_desk(studio, Role.ADMIN)


def seen(studio: Studio, **asked: str) -> tuple[object, ...]:
    return people.view(studio, visiting(tab="people", **asked))


def test_without_accounts_it_says_what_the_first_changes(studio: Studio) -> None:
    view = seen(studio, new="person")
    assert "../setup" in view[ROWS]
    assert "Everyone logs in by name" in view[ROWS]
    assert view[FORM]["visible"] == view[PANEL]["visible"] == HIDDEN


def test_the_log_can_be_read_before_there_are_accounts(studio: Studio) -> None:
    studio.audit.record(LOCAL_ADMIN, "registered", Node("model_version", "model_1"))
    assert "model_1" in seen(studio, view="audit")[ROWS]


def test_everyone_is_listed_and_found(admin: Studio) -> None:
    assert all(name in seen(admin)[ROWS] for name in NAMES.values())
    found = seen(admin, q="stakeholder")[ROWS]
    assert "stan" in found
    assert "rae" not in found
    assert "Nobody matches" in seen(admin, q="nobody of that name")[ROWS]


def test_a_person_is_added(admin: Studio) -> None:
    given = {"name": " eve ", "full_name": "<i>Eve</i>", "role": "annotator", "password": PASSWORD}
    said, rows, *fields = people.add(admin, **given)
    assert "td-good" in said
    assert "&lt;i&gt;Eve" in rows
    assert fields == ["", "", ""]
    assert admin.accounts.account(admin.actor, "eve").role is Role.ANNOTATOR


@pytest.mark.parametrize(
    "wrong", [{"name": "ann"}, {"name": "local"}, {"password": "short"}, {"name": "A B"}, {"role": "king"}]
)
def test_a_person_who_cannot_be_is_not_added(admin: Studio, wrong: dict[str, str]) -> None:
    given = {"name": "eve", "full_name": "", "role": "annotator", "password": PASSWORD} | wrong
    assert "td-bad" in people.add(admin, **given)[0]
    assert len(admin.accounts.list(admin.actor)) == len(NAMES)


def test_an_account_is_opened_and_given_another_role(admin: Studio) -> None:
    view = seen(admin, person="ann")
    assert view[PANEL]["visible"] is view[CHANGES]["visible"] is True
    assert (view[ROLE], view[NAME]) == ("annotator", "ann")
    people_change.change_role(admin, name="ann", role="researcher")
    actor = admin.accounts.actor("ann")
    assert actor is not None
    assert actor.role is Role.RESEARCHER


def test_a_reset_password_works_and_ones_own_is_changed_elsewhere(admin: Studio) -> None:
    assert people_change.reset_password(admin, name="ann", password="a new long password") == ""
    assert admin.accounts.log_in("ann", "a new long password", "127.0.0.1")
    assert seen(admin, person="ann")[SECRET]["visible"] is True
    assert seen(admin, person="ada")[SECRET]["visible"] == HIDDEN


def test_a_person_is_kept_out_and_let_in_again(admin: Studio) -> None:
    people_change.disable(admin, name="ann")
    assert admin.accounts.actor("ann") is None
    assert "again" in seen(admin, person="ann")[OUT]["value"]
    people_change.disable(admin, name="ann")
    assert admin.accounts.actor("ann") is not None


def test_the_last_admin_stays(admin: Studio) -> None:
    for change in (
        lambda: people_change.disable(admin, name="ada"),
        lambda: people_change.change_role(admin, name="ada", role="annotator"),
        lambda: people_change.erase(admin, name="ada", typed="ada"),
    ):
        with pytest.raises(StudioError):
            change()
    assert admin.accounts.actor("ada") is not None


@pytest.mark.parametrize("typed", ["", "an", "stan", "ANN"])
def test_erasing_wants_the_name(admin: Studio, typed: str) -> None:
    with pytest.raises(InvalidInput):
        people_change.erase(admin, name="ann", typed=typed)
    assert admin.accounts.actor("ann") is not None


def test_a_person_is_erased(admin: Studio) -> None:
    view = people_change.erase(admin, name="ann", typed=" ann ")
    assert "is erased" in view[HEAD - PANEL]
    assert view[NAME - PANEL] == ""
    assert admin.accounts.actor("ann") is None
    assert ">ann<" not in seen(admin)[ROWS]


def test_an_unknown_person_says_so(admin: Studio) -> None:
    view = seen(admin, person="<b>")
    assert "td-bad" in view[HEAD]
    assert "<b>" not in view[HEAD]
    assert view[CHANGES]["visible"] == HIDDEN


def test_the_log_is_filtered_and_paged(admin: Studio) -> None:
    for number in range(people_audit.PAGE + 5):
        admin.audit.record(LOCAL_ADMIN, "tried", Node("thing", f"thing_{number}"), "<script>")
    first = seen(admin, view="audit", kind="thing")[ROWS]
    assert first.count("<tr aria") == people_audit.PAGE
    assert f"thing_{people_audit.PAGE + 4}<" in first
    assert "<script>" not in first
    [older] = [part.split('"')[0] for part in first.split("before=")[1:]]
    second = seen(admin, view="audit", kind="thing", before=older)[ROWS]
    assert second.count("<tr aria") == 5
    assert "Newest" in second
    assert "Older" not in second
    assert "thing_" not in seen(admin, view="audit", by="ada")[ROWS]
    assert "No entry fits" in seen(admin, view="audit", object="no such thing")[ROWS]


@pytest.mark.parametrize("before", ["x", "-1", "9" * 40, "٣"])
def test_an_odd_page_is_the_first(admin: Studio, before: str) -> None:
    assert "account" in seen(admin, view="audit", before=before)[ROWS]


@pytest.mark.parametrize("role", [Role.RESEARCHER, Role.ANNOTATOR, Role.STAKEHOLDER])
def test_others_see_and_change_nothing(studio: Studio, role: Role) -> None:
    settle_in(studio)
    other = at_the_desk(studio, role)
    given = {"name": "eve", "full_name": "", "role": "admin", "password": PASSWORD}
    for asked in ({}, {"view": "audit"}):
        with pytest.raises(Forbidden):
            seen(other, **asked)
    assert "td-bad" in people.add(other, **given)[0]
    for change in (
        lambda: people_change.change_role(other, name=NAMES[role], role="admin"),
        lambda: people_change.reset_password(other, name="ada", password="a new long password"),
        lambda: people_change.disable(other, name="ada"),
        lambda: people_change.erase(other, name="ada", typed="ada"),
    ):
        with pytest.raises(StudioError):
            change()
    assert len(studio.accounts.list(LOCAL_ADMIN)) == len(NAMES)
    assert studio.accounts.log_in("ada", PASSWORD, "127.0.0.1")
