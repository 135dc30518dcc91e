"""Tokens: what they open, and that they end when they should."""

from __future__ import annotations

import pytest

from studio.accounts import AccountService, NewToken, Scope
from studio.core import (
    LOCAL_ADMIN,
    Actor,
    Conflict,
    Database,
    InvalidInput,
    NotFound,
    Role,
)
from tests.unit.accounts.conftest import ANN, RHEA, ROOT, Clock, Open

DAY = 24 * 3600.0


def _make(accounts: AccountService, actor: Actor = ANN, days: int | None = 90) -> tuple[str, str]:
    token, secret = accounts.create_token(actor, NewToken("script", frozenset({Scope.LABEL}), days))
    return token.id, secret


def test_a_token_is_its_owner_with_its_scopes_and_may_always_read(
    accounts: AccountService, reopen: Open
) -> None:
    token, secret = accounts.create_token(ANN, NewToken(" nightly import ", frozenset({Scope.LABEL})))
    visitor = reopen().by_token(secret)
    assert visitor is not None
    assert visitor.actor == ANN
    assert visitor.scopes == {Scope.READ, Scope.LABEL}
    assert (token.label, token.owner, token.revoked_at) == ("nightly import", "ann", None)
    assert secret.startswith("tdm_")


@pytest.mark.parametrize("length", [0, 1, 4, 12, 13, 14, 55])
def test_a_part_of_a_token_opens_nothing(accounts: AccountService, length: int) -> None:
    _, secret = _make(accounts)
    assert accounts.by_token(secret[:length]) is None


def test_a_token_that_was_changed_opens_nothing(accounts: AccountService) -> None:
    _, secret = _make(accounts)
    for place in range(len(secret)):
        other = "a" if secret[place] != "a" else "b"
        assert accounts.by_token(secret[:place] + other + secret[place + 1 :]) is None
    assert accounts.by_token(secret + "\n") is None
    assert accounts.by_token("tdm_\ud800") is None
    assert accounts.by_token(secret) is not None


def test_the_prefix_of_one_with_the_secret_of_another_opens_nothing(accounts: AccountService) -> None:
    (_, one), (_, two) = _make(accounts), _make(accounts, RHEA)
    assert accounts.by_token(one[:13] + two[13:]) is None


def test_a_revoked_token_opens_nothing_at_once(accounts: AccountService, reopen: Open) -> None:
    token_id, secret = _make(accounts)
    other = reopen()
    assert other.by_token(secret) is not None
    revoked = accounts.revoke_token(ANN, token_id)
    assert revoked.revoked_at is not None
    assert other.by_token(secret) is None
    assert accounts.revoke_token(ANN, token_id) == revoked
    assert [token.id for token in accounts.tokens(ANN)] == [token_id]


def test_a_token_ends_on_its_day(accounts: AccountService, clock: Clock) -> None:
    _, secret = _make(accounts, days=7)
    _, for_ever = _make(accounts, days=None)
    clock.advance(7 * DAY - 1)
    assert accounts.by_token(secret) is not None
    clock.advance(1)
    assert accounts.by_token(secret) is None
    clock.advance(3650 * DAY)
    assert accounts.by_token(for_ever) is not None


def test_a_token_has_the_role_of_the_moment(accounts: AccountService) -> None:
    _, secret = _make(accounts)
    accounts.change_role(ROOT, "ann", Role.STAKEHOLDER)
    visitor = accounts.by_token(secret)
    assert visitor is not None
    assert visitor.actor.role is Role.STAKEHOLDER


def test_a_disabled_person_s_token_rests(accounts: AccountService) -> None:
    _, secret = _make(accounts)
    accounts.disable(ROOT, "ann")
    assert accounts.by_token(secret) is None
    accounts.enable(ROOT, "ann")
    assert accounts.by_token(secret) is not None


def test_tokens_are_seen_and_ended_by_their_owner_and_by_admins(accounts: AccountService) -> None:
    token_id, secret = _make(accounts)
    assert accounts.tokens(RHEA) == ()
    with pytest.raises(NotFound):
        accounts.revoke_token(RHEA, token_id)
    with pytest.raises(NotFound):
        accounts.revoke_token(ANN, "token_nothere")
    with pytest.raises(NotFound):
        accounts.revoke_token(ANN, "\ud800")
    assert accounts.by_token(secret) is not None
    assert [token.id for token in accounts.tokens(ROOT, "ann")] == [token_id]
    accounts.revoke_token(ROOT, token_id)
    assert accounts.by_token(secret) is None


def test_the_newest_token_is_listed_first_and_no_secret_with_it(accounts: AccountService) -> None:
    ids = [_make(accounts)[0] for _ in range(3)]
    assert [token.id for token in accounts.tokens(ANN)] == ids[::-1]
    assert "tdm_" not in repr(accounts.tokens(ANN))


@pytest.mark.parametrize(
    "new",
    [
        NewToken("", frozenset()),
        NewToken("  ", frozenset()),
        NewToken("two\nlines", frozenset()),
        NewToken("x" * 81, frozenset()),
        NewToken("ok", frozenset(), 0),
        NewToken("ok", frozenset(), 3651),
        NewToken("ok", frozenset({Scope.ADMIN})),
    ],
)
def test_a_token_that_cannot_be_made(accounts: AccountService, new: NewToken) -> None:
    with pytest.raises(InvalidInput):
        accounts.create_token(ANN, new)
    assert accounts.tokens(ANN) == ()


def test_an_admin_s_token_may_have_the_scope_admin(accounts: AccountService) -> None:
    _, secret = accounts.create_token(ROOT, NewToken("backup", frozenset({Scope.ADMIN})))
    visitor = accounts.by_token(secret)
    assert visitor is not None
    assert visitor.scopes == {Scope.READ, Scope.ADMIN}


def test_whoever_has_no_account_has_no_token(accounts: AccountService) -> None:
    with pytest.raises(Conflict, match="belongs to an account"):
        accounts.create_token(LOCAL_ADMIN, NewToken("script", frozenset()))


def test_a_person_has_fifty_tokens_at_most(accounts: AccountService) -> None:
    ids = [_make(accounts)[0] for _ in range(50)]
    with pytest.raises(Conflict, match="50 tokens"):
        _make(accounts)
    accounts.revoke_token(ANN, ids[0])
    _make(accounts)


def test_the_last_use_is_noted_and_not_at_every_use(
    accounts: AccountService, clock: Clock, database: Database
) -> None:
    _, secret = _make(accounts)
    assert accounts.tokens(ANN)[0].last_used_at is None
    accounts.by_token(secret)
    first = accounts.tokens(ANN)[0].last_used_at
    assert first == clock.at
    clock.advance(30)
    accounts.by_token(secret)
    assert accounts.tokens(ANN)[0].last_used_at == first
    clock.advance(30)
    accounts.by_token(secret)
    assert accounts.tokens(ANN)[0].last_used_at == clock.at
