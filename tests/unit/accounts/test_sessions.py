"""Cookies: what they open, for how long, and what ends them."""

from __future__ import annotations

import sqlite3

import pytest
from argon2 import PasswordHasher

from studio.accounts import AccountService, NewAccount
from studio.core import (
    LOCAL_ADMIN,
    Actor,
    Audit,
    Conflict,
    Database,
    Forbidden,
    InvalidInput,
    Role,
    Settings,
    TooManyRequests,
    Unauthenticated,
)
from tests.unit.accounts.conftest import ANN, HERE, PASSWORD, ROOT, Clock, Open

ISSUER = "https://login.example.org"
HOUR = 3600.0


def test_a_session_says_who_it_is_and_survives_a_restart(accounts: AccountService, reopen: Open) -> None:
    cookie = accounts.log_in(" Ann ", PASSWORD, HERE)
    visitor = reopen().session(cookie)
    assert visitor is not None
    assert (visitor.actor, visitor.scopes) == (ANN, None)
    assert accounts.account(ANN, "ann").last_login_at is not None


@pytest.mark.parametrize("cookie", [None, "", "x", "a.b", "ä.ö", "\ud800", "." * 5000])
def test_what_is_no_cookie_opens_nothing(accounts: AccountService, cookie: str | None) -> None:
    assert accounts.session(cookie) is None
    accounts.log_out(cookie)


def test_a_cookie_that_was_changed_opens_nothing(accounts: AccountService) -> None:
    cookie = accounts.log_in("ann", PASSWORD, HERE)
    for place in range(len(cookie)):
        other = "A" if cookie[place] != "A" else "B"
        changed = cookie[:place] + other + cookie[place + 1 :]
        # The last character of base 64 has bits that mean nothing; those spell the same signature.
        if place == len(cookie) - 1:
            continue
        assert accounts.session(changed) is None, place
    assert accounts.session(cookie.rpartition(".")[0]) is None
    assert accounts.session(cookie) is not None


def test_a_cookie_of_another_home_opens_nothing(
    accounts: AccountService, settings: Settings, reopen: Open
) -> None:
    cookie = accounts.log_in("ann", PASSWORD, HERE)
    (settings.home / "secret.key").unlink()
    assert reopen().session(cookie) is None


def test_the_database_alone_makes_no_cookie(accounts: AccountService, database: Database) -> None:
    accounts.log_in("ann", PASSWORD, HERE)
    [row] = database.rows("SELECT digest FROM sessions")
    assert accounts.session(row["digest"]) is None


def test_a_session_that_is_not_used_ends(accounts: AccountService, clock: Clock) -> None:
    cookie = accounts.log_in("ann", PASSWORD, HERE)
    clock.advance(12 * HOUR - 1)
    assert accounts.session(cookie) is not None
    cookie = accounts.log_in("ann", PASSWORD, HERE)
    clock.advance(12 * HOUR)
    assert accounts.session(cookie) is None


def test_a_session_that_is_used_goes_on_for_thirty_days(accounts: AccountService, clock: Clock) -> None:
    cookie = accounts.log_in("ann", PASSWORD, HERE)
    for _ in range(29 * 4):
        clock.advance(6 * HOUR)
        assert accounts.session(cookie) is not None
    clock.advance(11 * HOUR)
    assert accounts.session(cookie) is not None
    clock.advance(11 * HOUR)
    assert accounts.session(cookie) is not None
    clock.advance(3 * HOUR)
    assert accounts.session(cookie) is None


def test_sessions_that_are_over_are_swept_at_the_next_log_in(
    accounts: AccountService, clock: Clock, database: Database
) -> None:
    for _ in range(3):
        accounts.log_in("ann", PASSWORD, HERE)
    clock.advance(13 * HOUR)
    accounts.log_in("sten", PASSWORD, HERE)
    assert len(database.rows("SELECT * FROM sessions")) == 1


def test_reading_a_session_hardly_ever_writes(
    accounts: AccountService, clock: Clock, database: Database
) -> None:
    cookie = accounts.log_in("ann", PASSWORD, HERE)

    def changes() -> int:
        return database.rows("PRAGMA data_version")[0][0]

    other = Database(database.path)
    before = other.rows("PRAGMA data_version")[0][0]
    for _ in range(20):
        clock.advance(10.0)
        assert accounts.session(cookie) is not None
    assert other.rows("PRAGMA data_version")[0][0] == before
    clock.advance(200.0)
    assert accounts.session(cookie) is not None
    assert other.rows("PRAGMA data_version")[0][0] > before
    other.close()


def test_a_busy_database_keeps_nobody_out(
    accounts: AccountService, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = accounts.log_in("ann", PASSWORD, HERE)
    clock.advance(6 * HOUR)

    def locked(*_: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr("studio.accounts.store.AccountStore.extend_session", locked)
    assert accounts.session(cookie) is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.disable(ROOT, "ann"),
        lambda s: s.set_password(ROOT, "ann", "another good password"),
        lambda s: s.set_password(ANN, "ann", "another good password", PASSWORD),
        lambda s: s.change_role(ROOT, "ann", Role.STAKEHOLDER),
        lambda s: s.erase(ROOT, "ann"),
    ],
)
def test_what_ends_every_session_of_a_person_and_of_nobody_else(
    accounts: AccountService, change: object
) -> None:
    cookies = [accounts.log_in("ann", PASSWORD, HERE) for _ in range(3)]
    other = accounts.log_in("sten", PASSWORD, HERE)
    change(accounts)  # type: ignore[operator]
    assert [accounts.session(cookie) for cookie in cookies] == [None, None, None]
    assert accounts.session(other) is not None


def test_logging_out_ends_this_session_only(accounts: AccountService) -> None:
    one, two = (accounts.log_in("ann", PASSWORD, HERE) for _ in range(2))
    accounts.log_out(one)
    accounts.log_out(one)
    assert accounts.session(one) is None
    assert accounts.session(two) is not None


def test_a_disabled_person_is_out_at_once_and_in_again(accounts: AccountService) -> None:
    cookie = accounts.log_in("ann", PASSWORD, HERE)
    accounts.disable(ROOT, "ann")
    assert accounts.session(cookie) is None
    assert accounts.actor("ann") is None
    with pytest.raises(Unauthenticated, match="disabled"):
        accounts.log_in("ann", PASSWORD, HERE)
    with pytest.raises(Unauthenticated, match="wrong"):  # who does not know the password learns nothing
        accounts.log_in("ann", "wrong words here", HERE)
    accounts.enable(ROOT, "ann")
    assert accounts.session(cookie) is None
    assert accounts.session(accounts.log_in("ann", PASSWORD, HERE)) is not None


def test_a_person_shut_out_while_the_password_is_checked_stays_out(
    accounts: AccountService, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.accounts.passwords import Passwords

    check = Passwords.check

    def meanwhile(self: Passwords, kept: str, password: str) -> bool:
        accounts.set_password(ROOT, "ann", "another good password")
        return check(self, kept, password)

    monkeypatch.setattr(Passwords, "check", meanwhile)
    with pytest.raises(Unauthenticated, match="a moment ago"):
        accounts.log_in("ann", PASSWORD, HERE)


def test_a_password_that_an_admin_changes_meanwhile_is_not_overwritten(
    accounts: AccountService, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.accounts.passwords import Passwords

    check = Passwords.check

    def meanwhile(self: Passwords, kept: str, password: str) -> bool:
        accounts.set_password(LOCAL_ADMIN, "ann", "given by an admin")
        return check(self, kept, password)

    with monkeypatch.context() as patched:
        patched.setattr(Passwords, "check", meanwhile)
        with pytest.raises(Conflict, match="a moment ago"):
            accounts.set_password(ANN, "ann", "chosen by a thief", PASSWORD)
    assert accounts.log_in("ann", "given by an admin", HERE)


def test_ones_own_password_needs_the_current_one_also_from_an_admin(accounts: AccountService) -> None:
    for actor in (ANN, ROOT):
        with pytest.raises(Unauthenticated, match="current password"):
            accounts.set_password(actor, actor.name, "another good password", "not the current one")
        with pytest.raises(Unauthenticated):
            accounts.set_password(actor, actor.name, "another good password")
        accounts.set_password(actor, actor.name, "another good password", PASSWORD)
        assert accounts.log_in(actor.name, "another good password", HERE)
        with pytest.raises(Unauthenticated):
            accounts.log_in(actor.name, PASSWORD, HERE)


def test_guessing_the_current_password_is_slowed_and_does_not_bar_the_log_in(
    accounts: AccountService, clock: Clock
) -> None:
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            accounts.set_password(ANN, "ann", "another good password", "a guess")
    with pytest.raises(TooManyRequests):
        accounts.set_password(ANN, "ann", "another good password", PASSWORD)
    assert accounts.log_in("ann", PASSWORD, HERE)


def test_the_same_word_typed_on_another_keyboard_is_the_same_password(accounts: AccountService) -> None:
    accounts.set_password(ROOT, "ann", "caf\u00e9 on the corner")
    assert accounts.log_in("ann", "cafe\u0301 on the corner", HERE)


def test_a_hash_of_other_parameters_is_made_anew(
    accounts: AccountService, database: Database, audit: Audit, settings: Settings
) -> None:
    stronger = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    service = AccountService(database, audit, settings, hasher=stronger)
    cookie = service.log_in("ann", PASSWORD, HERE)
    [row] = database.rows("SELECT password FROM accounts WHERE name = 'ann'")
    assert "m=16,t=2" in row["password"]
    assert service.session(cookie) is not None
    assert service.log_in("ann", PASSWORD, HERE)


def test_the_parameters_are_no_weaker_than_the_library_s() -> None:
    from studio.accounts.passwords import Passwords

    kept = Passwords().hash(PASSWORD)
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_an_external_person_gets_an_account_once_and_never_somebody_s(
    accounts: AccountService, audit: Audit
) -> None:
    first = accounts.session(accounts.log_in_external(ISSUER, "42", "root", "Mallory"))
    again = accounts.session(accounts.log_in_external(ISSUER, "42", "another-name", ""))
    other = accounts.session(accounts.log_in_external("https://elsewhere.example.org", "42", "root", ""))
    assert first is not None
    assert other is not None
    assert first.actor == Actor("root-2", Role.ANNOTATOR)
    assert again == first
    assert other.actor.name == "root-3"
    made = accounts.account(ROOT, "root-2")
    assert (made.external, made.full_name) == (True, "Mallory")
    [added] = audit.search(LOCAL_ADMIN, verb="added", object_id="root-2")
    assert ISSUER in added.detail


def test_an_external_person_has_no_password_to_guess(accounts: AccountService) -> None:
    accounts.log_in_external(ISSUER, "42", "eve", "")
    for guess in ("", "eve", PASSWORD, "nobody has this password"):
        with pytest.raises(Unauthenticated, match="name or the password is wrong"):
            accounts.log_in("eve", guess, HERE)
    with pytest.raises(Unauthenticated):
        accounts.set_password(Actor("eve", Role.ANNOTATOR), "eve", "another good password", "")


def test_an_external_person_who_is_disabled_stays_out(accounts: AccountService) -> None:
    accounts.log_in_external(ISSUER, "42", "eve", "")
    accounts.disable(ROOT, "eve")
    with pytest.raises(Unauthenticated, match="disabled"):
        accounts.log_in_external(ISSUER, "42", "eve", "")


def test_the_first_account_is_not_given_by_a_provider(reopen: Open) -> None:
    service = reopen()
    with pytest.raises(Conflict, match="no accounts yet"):
        service.log_in_external(ISSUER, "42", "eve", "")
    assert not service.exist()


@pytest.mark.parametrize(
    ("issuer", "subject"), [("", "42"), (ISSUER, ""), (ISSUER, "\ud800"), (ISSUER, "a\0")]
)
def test_a_provider_that_does_not_say_who_it_is(accounts: AccountService, issuer: str, subject: str) -> None:
    with pytest.raises(InvalidInput):
        accounts.log_in_external(issuer, subject, "eve", "")


def test_nobody_is_logged_in_by_a_role_that_is_no_account(accounts: AccountService) -> None:
    with pytest.raises(Forbidden):
        accounts.add(Actor("root", Role.ANNOTATOR), NewAccount("x1", Role.ADMIN, PASSWORD))
