"""Who has an account, who may change it, and that somebody can always run the studio."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from studio.accounts import AccountService, NewAccount, NewToken, Scope
from studio.accounts.names import check_name, free_name
from studio.core import (
    LOCAL_ADMIN,
    Actor,
    Audit,
    Conflict,
    Database,
    Forbidden,
    InvalidInput,
    NotFound,
    Role,
    Settings,
    StudioError,
    Unauthenticated,
)
from tests.unit.accounts.conftest import ANN, CHEAP, HERE, PASSWORD, RHEA, ROOT, Open


def test_a_new_home_has_no_accounts_and_the_first_is_an_admin(reopen: Open) -> None:
    service = reopen()
    assert not service.exist()
    first = service.create_first("root", PASSWORD)
    assert (first.name, first.role, first.external, first.last_login_at) == ("root", Role.ADMIN, False, None)
    assert service.exist()
    with pytest.raises(Conflict):
        service.create_first("second", PASSWORD)


def test_an_account_that_another_process_adds_is_seen_at_once(reopen: Open, settings: Settings) -> None:
    service = reopen()
    assert not service.exist()
    elsewhere = Database(settings.database_path)
    AccountService(elsewhere, Audit(elsewhere), settings, hasher=CHEAP).create_first("root", PASSWORD)
    elsewhere.close()
    assert service.exist()
    assert service.actor("root") == ROOT


def test_of_many_who_want_to_be_first_one_is(database: Database, settings: Settings) -> None:
    bases = [Database(settings.database_path) for _ in range(8)]
    services = [AccountService(base, Audit(base), settings, hasher=CHEAP) for base in bases]
    start = threading.Barrier(len(services))
    outcomes: list[str] = []

    def try_it(number: int) -> None:
        start.wait()
        try:
            outcomes.append(services[number].create_first(f"root{number}", PASSWORD).name)
        except Conflict:
            outcomes.append("")

    threads = [threading.Thread(target=try_it, args=(number,)) for number in range(len(services))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [name for name in outcomes if name]
    assert len(outcomes) == 8
    assert [account.name for account in services[0].list(LOCAL_ADMIN)] == winners
    for base in bases:
        base.close()


def test_the_first_account_cannot_be_one_that_runs_nothing(reopen: Open) -> None:
    with pytest.raises(Conflict, match="must be an admin"):
        reopen().add(LOCAL_ADMIN, NewAccount("ann", Role.ANNOTATOR, PASSWORD))
    assert not reopen().exist()


def test_a_name_is_taken_once(accounts: AccountService) -> None:
    with pytest.raises(Conflict, match="already"):
        accounts.add(ROOT, NewAccount("ann", Role.RESEARCHER, PASSWORD))
    assert accounts.actor("ann") == ANN


@pytest.mark.parametrize(
    "name", ["", "a", "Ann", "ann lee", "ann@x", "-ann", "a" * 41, "ånn", "ann\n", "ann\0", "an/n", "\ud800n"]
)
def test_a_name_that_cannot_be_one(accounts: AccountService, name: str) -> None:
    with pytest.raises(InvalidInput):
        accounts.add(ROOT, NewAccount(name, Role.ANNOTATOR, PASSWORD))
    assert accounts.actor(name) is None


@pytest.mark.parametrize("name", ["local", "studio", "annotation", "import", "erased-", "erased-12ab34cd"])
def test_a_name_that_means_somebody_else(name: str) -> None:
    with pytest.raises(InvalidInput, match="reserved"):
        check_name(name)


@pytest.mark.parametrize("name", ["a1", "ann.lee", "0-_.", "a" * 40])
def test_names_that_are_fine(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("Ann.Lee@example.org", "ann.lee"),
        ("Ånn Lee", "nn-lee"),
        ("local", "local-2"),
        ("erased-12345678", "person"),
        ("", "person"),
        ("root", "root-3"),
        ("x" * 90, "x" * 35),
    ],
)
def test_a_wished_name_becomes_one_that_is_free(wanted: str, found: str) -> None:
    name = free_name(wanted, {"root", "root-2"}.__contains__)
    assert name == found
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short words", "12 or more"),
        ("elevenchars", "12 or more"),
        ("x" * 257, "may have 256"),
        ("Long.Name.Of.Ann", "is the name"),
        ("Ann Lee of Here", "is the name"),
        ("half \ud800 a surrogate", "not text"),
        ("with a NUL \0 inside", "not text"),
    ],
)
def test_a_password_that_cannot_be_one(accounts: AccountService, password: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        accounts.add(ROOT, NewAccount("long.name.of.ann", Role.ANNOTATOR, password, "Ann Lee of Here"))
    assert accounts.actor("long.name.of.ann") is None


def test_no_password_and_no_token_lies_in_the_home_or_in_a_trace(
    accounts: AccountService, settings: Settings, database: Database
) -> None:
    new = NewAccount("bo", Role.ANNOTATOR, "a secret of four words")
    accounts.add(ROOT, new)
    cookie = accounts.log_in("bo", "a secret of four words", HERE)
    _, secret = accounts.create_token(ANN, NewToken("script", frozenset({Scope.LABEL})))
    with pytest.raises(Unauthenticated):
        accounts.log_in("typed my passphrase here", "x", HERE)
    session = cookie.rpartition(".")[0]
    for path in (p for p in settings.home.rglob("*") if p.is_file()):
        for forbidden in ("a secret of four words", secret, secret[13:], session, "passphrase"):
            assert forbidden.encode() not in path.read_bytes(), path
    assert "secret" not in repr(new)


CHANGES = {
    "add": lambda s, who: s.add(who, NewAccount("new", Role.ADMIN, PASSWORD)),
    "list": lambda s, who: s.list(who),
    "account": lambda s, who: s.account(who, "root"),
    "role": lambda s, who: s.change_role(who, who.name, Role.ADMIN),
    "password": lambda s, who: s.set_password(who, "root", "another good password"),
    "disable": lambda s, who: s.disable(who, "root"),
    "enable": lambda s, who: s.enable(who, "root"),
    "pseudonym": lambda s, who: s.pseudonym(who, "root"),
    "erase": lambda s, who: s.erase(who, who.name),
    "tokens": lambda s, who: s.tokens(who, "root"),
}


@pytest.mark.parametrize("role", [Role.RESEARCHER, Role.ANNOTATOR, Role.STAKEHOLDER])
@pytest.mark.parametrize("change", CHANGES)
def test_only_an_admin_looks_into_and_changes_accounts(
    accounts: AccountService, change: str, role: Role
) -> None:
    name = {Role.RESEARCHER: "rhea", Role.ANNOTATOR: "ann", Role.STAKEHOLDER: "sten"}[role]
    before = accounts.list(ROOT)
    with pytest.raises(Forbidden):
        CHANGES[change](accounts, Actor(name, role))
    assert accounts.list(ROOT) == before


def test_researchers_learn_names_only_and_others_not_even_those(accounts: AccountService) -> None:
    accounts.disable(ROOT, "sten")
    assert accounts.names(RHEA) == ("ann", "rhea", "root")
    with pytest.raises(Forbidden):
        accounts.names(ANN)
    assert accounts.account(ANN, "ann").role is Role.ANNOTATOR


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.change_role(ROOT, "root", Role.RESEARCHER),
        lambda s: s.disable(ROOT, "root"),
        lambda s: s.erase(ROOT, "root"),
        lambda s: s.erase(LOCAL_ADMIN, "root"),
    ],
)
def test_the_last_admin_stays(accounts: AccountService, change: object) -> None:
    with pytest.raises(Conflict, match="last admin"):
        change(accounts)  # type: ignore[operator]
    assert accounts.actor("root") == ROOT
    accounts.add(ROOT, NewAccount("asa", Role.ADMIN, PASSWORD))
    accounts.disable(ROOT, "asa")
    with pytest.raises(Conflict, match="last admin"):  # one who is shut out cannot run anything
        change(accounts)  # type: ignore[operator]
    accounts.enable(ROOT, "asa")
    change(accounts)  # type: ignore[operator]


def test_two_admins_who_shut_each_other_out_leave_one(accounts: AccountService, settings: Settings) -> None:
    accounts.add(ROOT, NewAccount("asa", Role.ADMIN, PASSWORD))
    start = threading.Barrier(2)
    refused: list[StudioError] = []

    def shut_out(actor: Actor, other: str) -> None:
        base = Database(settings.database_path)
        service = AccountService(base, Audit(base), settings, hasher=CHEAP)
        start.wait()
        try:
            service.disable(actor, other)
        except Conflict as error:
            refused.append(error)
        base.close()

    pairs = ((ROOT, "asa"), (Actor("asa", Role.ADMIN), "root"))
    threads = [threading.Thread(target=shut_out, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert sum(not a.disabled for a in accounts.list(LOCAL_ADMIN) if a.role is Role.ADMIN) == 1


def test_every_change_is_written_down_with_who_did_it(accounts: AccountService, audit: Audit) -> None:
    accounts.change_role(ROOT, "ann", Role.RESEARCHER)
    accounts.disable(ROOT, "ann")
    accounts.disable(ROOT, "ann")  # is so already
    accounts.enable(ROOT, "ann")
    accounts.set_password(ROOT, "ann", "another good password")
    accounts.log_out(accounts.log_in("ann", "another good password", HERE))
    token, _ = accounts.create_token(ANN, NewToken("script", frozenset()))
    accounts.revoke_token(ROOT, token.id)
    accounts.revoke_token(ROOT, token.id)  # is so already
    told = [(e.actor, e.verb, e.target.id) for e in reversed(audit.recent(LOCAL_ADMIN, 8))]
    assert told == [
        ("root", "changed the role of", "ann"),
        ("root", "disabled", "ann"),
        ("root", "enabled", "ann"),
        ("root", "changed the password of", "ann"),
        ("ann", "logged in", "ann"),
        ("ann", "logged out", "ann"),
        ("ann", "created", token.id),
        ("root", "revoked", token.id),
    ]


def test_a_change_that_is_refused_leaves_no_trace(accounts: AccountService, audit: Audit) -> None:
    before = audit.recent(LOCAL_ADMIN)
    for change in (
        lambda: accounts.disable(ROOT, "root"),
        lambda: accounts.disable(ROOT, "nobody"),
        lambda: accounts.change_role(ROOT, "nobody", Role.ADMIN),
        lambda: accounts.add(ROOT, NewAccount("ann", Role.ADMIN, PASSWORD)),
        lambda: accounts.log_in_external("", "", "ann", ""),
    ):
        with pytest.raises((Conflict, NotFound, InvalidInput)):
            change()
    assert audit.recent(LOCAL_ADMIN) == before


def test_erasing_leaves_no_name_and_the_pseudonym_is_known_before(
    accounts: AccountService, audit: Audit, database: Database
) -> None:
    accounts.add(ROOT, NewAccount("zoltan", Role.ANNOTATOR, PASSWORD))
    cookie = accounts.log_in("zoltan", PASSWORD, HERE)
    _, secret = accounts.create_token(Actor("zoltan", Role.ANNOTATOR), NewToken("script", frozenset()))
    foreseen = accounts.pseudonym(ROOT, "zoltan")
    assert accounts.pseudonym(ROOT, "zoltan") == foreseen
    pseudonym = accounts.erase(ROOT, "zoltan")
    assert pseudonym == foreseen
    assert pseudonym.startswith("erased-")
    assert len(pseudonym) == len("erased-") + 8
    assert accounts.session(cookie) is None
    assert accounts.by_token(secret) is None
    assert accounts.actor("zoltan") is None
    for table in ("accounts", "sessions", "tokens", "identities", "audit"):
        assert "zoltan" not in str([tuple(row) for row in database.rows(f"SELECT * FROM {table}")])
    assert audit.search(LOCAL_ADMIN, person=pseudonym, verb="logged in")
    with pytest.raises(NotFound):
        accounts.erase(ROOT, "zoltan")
    accounts.add(ROOT, NewAccount("zoltan", Role.ANNOTATOR, PASSWORD))
    assert accounts.pseudonym(ROOT, "zoltan") != pseudonym
    assert accounts.session(cookie) is None


def test_an_admin_who_erases_himself_is_named_by_the_pseudonym(
    accounts: AccountService, audit: Audit
) -> None:
    accounts.add(ROOT, NewAccount("asa", Role.ADMIN, PASSWORD))
    pseudonym = accounts.erase(ROOT, "root")
    newest = audit.recent(LOCAL_ADMIN)[0]
    assert (newest.actor, newest.verb, newest.target.id) == (pseudonym, "erased", pseudonym)
    assert not audit.search(LOCAL_ADMIN, person="root")


def test_the_key_is_made_once_and_for_the_owner_only(
    accounts: AccountService, home: Path, reopen: Open
) -> None:
    key = home / "secret.key"
    content = key.read_bytes()
    assert len(content) == 32
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    reopen()
    assert key.read_bytes() == content
    assert key.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in home.glob(".secret*")] == []


def test_many_processes_that_start_at_once_share_one_key(home: Path) -> None:
    from studio.accounts.signing import Seal

    start = threading.Barrier(8)
    seals: list[Seal] = []

    def make() -> None:
        start.wait()
        seals.append(Seal(home))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({seal.sign("x") for seal in seals}) == 1
    assert len(seals) == 8


def test_a_damaged_key_is_said(home: Path, reopen: Open) -> None:
    (home / "secret.key").write_bytes(b"short")
    with pytest.raises(InvalidInput, match="damaged"):
        reopen()
