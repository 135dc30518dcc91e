"""``python -m studio users`` as a person types it, on a real home."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from studio.__main__ import main
from studio.accounts import AccountService, Scope
from studio.core import LOCAL_ADMIN, Actor, Audit, Database, Role, Settings
from tests.unit.accounts.conftest import CHEAP, HERE, PASSWORD

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.parent)  # no .env of the developer's
    monkeypatch.setenv("STUDIO_HOME", str(home))


def _users(monkeypatch: pytest.MonkeyPatch, *arguments: str, typed: str = "") -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    return main(["users", *arguments])


def _add(monkeypatch: pytest.MonkeyPatch, name: str, role: str) -> int:
    return _users(monkeypatch, "add", name, "--role", role, "--password-stdin", typed=PASSWORD + "\n")


@pytest.fixture
def accounts(database: Database, settings: Settings) -> AccountService:
    """A server that runs on the same home."""
    return AccountService(database, Audit(database), settings, hasher=CHEAP)


def test_accounts_from_the_terminal_while_a_server_runs(
    accounts: AccountService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _users(monkeypatch, "list") == 0
    assert "There are no accounts" in capsys.readouterr().out
    assert _add(monkeypatch, "root", "admin") == 0
    assert accounts.exist()
    assert _add(monkeypatch, "ann", "annotator") == 0
    cookie = accounts.log_in("ann", PASSWORD, HERE)
    assert _users(monkeypatch, "role", "ann", "researcher") == 0
    assert accounts.actor("ann") == Actor("ann", Role.RESEARCHER)
    assert accounts.session(cookie) is None
    assert _users(monkeypatch, "password", "ann", "--password-stdin", typed="another good password\n") == 0
    cookie = accounts.log_in("ann", "another good password", HERE)
    assert _users(monkeypatch, "disable", "ann") == 0
    assert accounts.session(cookie) is None
    assert _users(monkeypatch, "enable", "ann") == 0
    assert accounts.log_in("ann", "another good password", HERE)
    capsys.readouterr()
    assert _users(monkeypatch, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["ann", "researcher", "active"],
        ["root", "admin", "active"],
    ]


def test_the_first_account_is_an_admin_s(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _add(monkeypatch, "ann", "annotator") == 1
    assert "must be an admin" in capsys.readouterr().err


def test_the_last_admin_stays(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _add(monkeypatch, "root", "admin")
    for arguments in (("disable", "root"), ("role", "root", "annotator"), ("erase", "root", "--yes")):
        assert _users(monkeypatch, *arguments) == 1
        assert "last admin" in capsys.readouterr().err


def test_a_token_for_a_person_is_all_that_is_printed(
    accounts: AccountService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _add(monkeypatch, "root", "admin")
    capsys.readouterr()
    chosen = ("--label", "nightly", "--scope", "data", "--scope", "train", "--days", "0")
    assert _users(monkeypatch, "token", "root", *chosen) == 0
    told = capsys.readouterr()
    visitor = accounts.by_token(told.out.strip())
    assert visitor is not None
    assert visitor.scopes == {Scope.READ, Scope.DATA, Scope.TRAIN}
    assert "for ever" in told.err
    assert accounts.tokens(LOCAL_ADMIN, "root")[0].expires_at is None
    assert _users(monkeypatch, "token", "nobody", "--label", "x") == 1
    assert "Nobody called nobody" in capsys.readouterr().err


def test_erasing_asks_for_the_name_first(
    accounts: AccountService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _add(monkeypatch, "root", "admin")
    _add(monkeypatch, "ann", "annotator")
    assert _users(monkeypatch, "erase", "ann", typed="yes\n") == 1
    assert accounts.actor("ann") is not None
    assert _users(monkeypatch, "erase", "ann", typed="ann\n") == 0
    assert accounts.actor("ann") is None
    assert "erased-" in capsys.readouterr().out
    assert _users(monkeypatch, "erase", "ann", "--yes") == 1


@pytest.mark.parametrize("given", ["", "short\n"])
def test_a_password_that_cannot_be_one_is_said(
    accounts: AccountService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    assert _users(monkeypatch, "add", "root", "--role", "admin", "--password-stdin", typed=given) == 1
    assert "needs 12" in capsys.readouterr().err
    assert not accounts.exist()


def test_two_different_passwords_at_the_prompt(
    accounts: AccountService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = iter([PASSWORD, "another good password"])
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    assert _users(monkeypatch, "add", "root", "--role", "admin") == 1
    assert "differ" in capsys.readouterr().err
    assert not accounts.exist()


@pytest.mark.parametrize(
    "arguments", [("add", "root", "--password", PASSWORD), ("password", "root", PASSWORD)]
)
def test_a_password_is_never_an_argument(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit):
        _users(monkeypatch, *arguments)
    assert "unrecognized arguments" in capsys.readouterr().err


def test_it_runs_as_a_command(home: Path) -> None:
    command = [sys.executable, "-m", "studio", "users", "add", "root", "--role", "admin", "--password-stdin"]
    done = subprocess.run(
        command,
        cwd=home.parent,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        input=PASSWORD + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[:2] == ["root", "admin"]
    assert PASSWORD not in done.stdout
