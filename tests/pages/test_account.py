"""Account: who I am, my password, and tokens whose secret is shown once."""

from __future__ import annotations

import re

import pytest

from pages import account, account_tokens
from pages.components.visible import HIDDEN
from studio.accounts import Scope
from studio.core import Forbidden, NotFound, Role, StudioError
from studio.studio import Studio
from tests.pages.conftest import visiting
from tests.pages.people import NAMES, PASSWORD, at_the_desk, settle_in

ABOUT, FORM, KEYS, ROWS, PANEL, OPENED, ENDING, CURRENT, SCOPES = range(9)
NEW = "another long password"


def test_without_accounts_the_page_offers_the_first(studio: Studio) -> None:
    view = account.view(studio, visiting(tab="account"))
    assert "../setup" in view[ABOUT]
    assert view[FORM]["visible"] == view[KEYS]["visible"] == HIDDEN


@pytest.mark.parametrize("role", Role)
def test_everyone_sees_who_they_are(studio: Studio, role: Role) -> None:
    settle_in(studio)
    view = account.view(at_the_desk(studio, role), visiting(tab="account"))
    assert NAMES[role] in view[ABOUT]
    assert role.value in view[ABOUT]
    assert not any(name in view[ABOUT] for other, name in NAMES.items() if other is not role)
    assert view[FORM]["visible"] is view[KEYS]["visible"] is True
    assert (Scope.ADMIN.value in dict(map(reversed, view[SCOPES]["choices"]))) is (role is Role.ADMIN)


def test_a_password_is_changed_and_the_old_one_is_over(studio: Studio) -> None:
    settle_in(studio)
    cookie = studio.accounts.log_in("ann", PASSWORD, "127.0.0.1")
    ann = at_the_desk(studio, Role.ANNOTATOR)
    said, *fields = account.change_password(ann, current=PASSWORD, new=NEW, again=NEW)
    assert "../login" in said
    assert fields == ["", "", ""]
    assert studio.accounts.session(cookie) is None
    with pytest.raises(StudioError):
        studio.accounts.log_in("ann", PASSWORD, "127.0.0.1")
    assert studio.accounts.log_in("ann", NEW, "127.0.0.1")


@pytest.mark.parametrize(
    ("current", "new", "again"),
    [("wrong password", NEW, NEW), (PASSWORD, NEW, NEW + "s"), (PASSWORD, "short", "short"), ("", NEW, NEW)],
)
def test_a_password_that_must_not_be_set_is_not(studio: Studio, current: str, new: str, again: str) -> None:
    settle_in(studio)
    said = account.change_password(
        at_the_desk(studio, Role.ANNOTATOR), current=current, new=new, again=again
    )[0]
    assert "td-bad" in said
    assert studio.accounts.log_in("ann", PASSWORD, "127.0.0.1")


def test_a_secret_is_shown_once_and_opens(studio: Studio) -> None:
    settle_in(studio)
    rae = at_the_desk(studio, Role.RESEARCHER)
    made, rows, label = account_tokens.create(rae, label=" nightly <b> ", scopes=["data"], days=30)
    [secret] = re.findall(r'data-copy="(tdm_[^"]+)"', made)
    assert label == ""
    assert "nightly &lt;b&gt;" in rows
    visitor = studio.accounts.by_token(secret)
    assert visitor is not None
    assert (visitor.actor.name, visitor.scopes) == ("rae", {Scope.READ, Scope.DATA})
    again = account.view(rae, visiting(tab="account"))
    assert secret not in str(again)
    assert secret not in str(account.view(at_the_desk(studio, Role.ADMIN), visiting(tab="account")))


def test_a_token_is_opened_and_revoked(studio: Studio) -> None:
    settle_in(studio)
    ann = at_the_desk(studio, Role.ANNOTATOR)
    made = account_tokens.create(ann, label="phone", scopes=["label"], days=0)[0]
    [secret] = re.findall(r'data-copy="(tdm_[^"]+)"', made)
    [token] = studio.accounts.tokens(ann.actor)
    assert token.expires_at is None
    view = account.view(ann, visiting(tab="account", token=token.id))
    assert view[PANEL]["visible"] is view[ENDING]["visible"] is True
    assert view[CURRENT] == token.id
    after = account_tokens.revoke(ann, token_id=token.id)
    assert "revoked" in after[0]
    assert after[ENDING - ROWS]["visible"] == HIDDEN
    assert studio.accounts.by_token(secret) is None


def test_the_tokens_of_others_are_not_mine(studio: Studio) -> None:
    settle_in(studio)
    rae, ann = at_the_desk(studio, Role.RESEARCHER), at_the_desk(studio, Role.ANNOTATOR)
    account_tokens.create(rae, label="private plans", scopes=[], days=30)
    [token] = studio.accounts.tokens(rae.actor)
    view = account.view(ann, visiting(tab="account", token=token.id))
    assert "private plans" not in str(view)
    assert view[PANEL]["visible"] == HIDDEN
    with pytest.raises((NotFound, Forbidden)):
        account_tokens.revoke(ann, token_id=token.id)


def test_a_scope_that_is_none_is_refused_in_words(studio: Studio) -> None:
    settle_in(studio)
    ann = at_the_desk(studio, Role.ANNOTATOR)
    assert "td-bad" in account_tokens.create(ann, label="x", scopes=["root"], days=30)[0]
    assert studio.accounts.tokens(ann.actor) == ()
