"""``python -m studio users``: accounts from a terminal, also while the studio runs.

Whoever may run this already holds the home directory, so it acts as the local admin. A password is asked for
or read from standard input, never taken as an argument: arguments are seen by everyone on the machine.
"""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from collections.abc import Callable

from studio.accounts import Account, AccountService, NewAccount, NewToken, Scope
from studio.core import LOCAL_ADMIN, InvalidInput, NotFound, Role
from studio.studio import Studio

Command = Callable[[AccountService, argparse.Namespace], None]


def add_users_parser(parser: argparse.ArgumentParser) -> None:
    """Describe the commands below ``users``."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, "list", "every account", _list)
    add = _named(commands, "add", "add an account; the first is an admin's", _add)
    add.add_argument("--role", choices=tuple(Role), default=Role.ANNOTATOR.value, help="what it is for")
    add.add_argument("--full-name", default="", help="what the person is called")
    _reads_password(add)
    role = _named(commands, "role", "give a person another role", _role)
    role.add_argument("role", choices=tuple(Role))
    _reads_password(_named(commands, "password", "give a person a new password", _password))
    _named(commands, "disable", "keep a person out, at once", _disable)
    _named(commands, "enable", "let a person in again", _enable)
    erase = commands.add_parser("erase", help="delete a person's account and name for ever")
    erase.add_argument("name", help="the name the person logs in with")
    erase.add_argument("--yes", action="store_true", help="do not ask")
    erase.set_defaults(run=_erase)
    token = _named(commands, "token", "make a token for a person's programs", _token)
    token.add_argument("--label", required=True, help="which program it is for")
    token.add_argument(
        "--scope",
        choices=tuple(Scope),
        action="append",
        default=[],
        help="what it may change; may be repeated; reading is always among it",
    )
    token.add_argument("--days", type=int, default=90, help="how long it is valid; 0 is for ever")


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, meaning: str, command: Command
) -> argparse.ArgumentParser:
    def run(studio: Studio, chosen: argparse.Namespace) -> int:
        command(studio.accounts, chosen)
        return 0

    parser = commands.add_parser(name, help=meaning)
    parser.set_defaults(run=run)
    return parser


def _named(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, meaning: str, command: Command
) -> argparse.ArgumentParser:
    parser = _command(commands, name, meaning, command)
    parser.add_argument("name", help="the name the person logs in with")
    return parser


def _reads_password(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input, one line"
    )


def _list(accounts: AccountService, _: argparse.Namespace) -> None:
    found = accounts.list(LOCAL_ADMIN)
    if not found:
        print("There are no accounts. Add the first: python -m studio users add NAME --role admin")
    for account in found:
        print(_line(account))


def _add(accounts: AccountService, chosen: argparse.Namespace) -> None:
    password = _new_password(chosen)
    new = NewAccount(chosen.name, Role(chosen.role), password, chosen.full_name)
    print(_line(accounts.add(LOCAL_ADMIN, new)))


def _role(accounts: AccountService, chosen: argparse.Namespace) -> None:
    print(_line(accounts.change_role(LOCAL_ADMIN, chosen.name, Role(chosen.role))))


def _password(accounts: AccountService, chosen: argparse.Namespace) -> None:
    accounts.account(LOCAL_ADMIN, chosen.name)  # before anybody types anything
    accounts.set_password(LOCAL_ADMIN, chosen.name, _new_password(chosen))
    print(f"{chosen.name} has a new password and is logged out everywhere.")


def _disable(accounts: AccountService, chosen: argparse.Namespace) -> None:
    print(_line(accounts.disable(LOCAL_ADMIN, chosen.name)))


def _enable(accounts: AccountService, chosen: argparse.Namespace) -> None:
    print(_line(accounts.enable(LOCAL_ADMIN, chosen.name)))


def _erase(studio: Studio, chosen: argparse.Namespace) -> int:
    if not chosen.yes:
        print(
            f"This deletes the account {chosen.name} for ever, or the name where only imported labels have "
            "it. Labels and votes stay, under a name that means nothing, and the datasets and runs that used "
            "them are marked."
        )
        sys.stdout.write(f"Type {chosen.name} to go on: ")
        sys.stdout.flush()
        if sys.stdin.readline().strip() != chosen.name:
            print("Nothing was changed.")
            return 1
    print(f"{chosen.name} is erased and is called {studio.erase(LOCAL_ADMIN, chosen.name)} from now on.")
    return 0


def _token(accounts: AccountService, chosen: argparse.Namespace) -> None:
    owner = accounts.actor(chosen.name)
    if owner is None:
        raise NotFound(f"Nobody called {chosen.name} can log in.", "See `python -m studio users list`.")
    scopes = frozenset(Scope(scope) for scope in chosen.scope)
    token, secret = accounts.create_token(owner, NewToken(chosen.label, scopes, chosen.days or None))
    until = "for ever" if token.expires_at is None else f"until {_day(token.expires_at)}"
    sys.stderr.write(f"Valid {until}. It is shown this once:\n")
    print(secret)


def _new_password(chosen: argparse.Namespace) -> str:
    if chosen.password_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    try:
        password = getpass.getpass("Password (12 characters or more): ")
        again = getpass.getpass("Once more: ")
    except EOFError:
        raise InvalidInput("There is nobody to ask for the password.", "Use --password-stdin.") from None
    if password != again:
        raise InvalidInput("The two differ.", "Try again.")
    return password


def _line(account: Account) -> str:
    seen = "never logged in" if account.last_login_at is None else f"last here {_day(account.last_login_at)}"
    state = "disabled" if account.disabled else "active"
    way = "identity provider" if account.external else "password"
    return f"{account.name:<20} {account.role:<12} {state:<9} {way:<18} {seen}  {account.full_name}".rstrip()


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
