"""Accounts over HTTP: who may come in, and in which role.

Passwords are set only by people who logged in, never by a token, so that a token that leaks cannot be
turned into an account.
"""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from studio.accounts import Account, NewAccount
from studio.api.context import Scope, TheActor, TheStudio, TheVisitor, allow
from studio.core import EVERYONE, LOCAL_ADMIN, Role

router = APIRouter(prefix="/accounts", tags=["accounts"])

_LONGEST_PASSWORD = 1024


class AccountView(BaseModel):
    """An account; ``external`` says that the person logs in through the identity provider."""

    id: str
    name: str
    role: Role
    full_name: str
    disabled: bool
    external: bool
    created_at: float
    last_login_at: float | None


class AccountRequest(BaseModel):
    """An account to add."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=40)
    role: Role
    password: SecretStr = Field(min_length=1, max_length=_LONGEST_PASSWORD)
    full_name: str = Field("", max_length=80)


class RoleRequest(BaseModel):
    """The role a person is to have from now on."""

    model_config = ConfigDict(extra="forbid")

    role: Role


class PasswordRequest(BaseModel):
    """A new password; ``current`` is needed for one's own."""

    model_config = ConfigDict(extra="forbid")

    password: SecretStr = Field(min_length=1, max_length=_LONGEST_PASSWORD)
    current: SecretStr = Field(SecretStr(""), max_length=_LONGEST_PASSWORD)


class MeView(BaseModel):
    """Who asks; ``scopes`` is null for a person who logged in, and ``account`` while there are none."""

    name: str
    role: Role
    scopes: list[Scope] | None
    account: AccountView | None


class ErasedView(BaseModel):
    """What stands where the name stood."""

    pseudonym: str


def _view(account: Account) -> AccountView:
    return AccountView(
        id=account.id,
        name=account.name,
        role=account.role,
        full_name=account.full_name,
        disabled=account.disabled,
        external=account.external,
        created_at=account.created_at,
        last_login_at=account.last_login_at,
    )


@router.get("", dependencies=[allow(scope=Scope.READ)])
def accounts(studio: TheStudio, actor: TheActor) -> list[AccountView]:
    """Every account by name."""
    return [_view(account) for account in studio.accounts.list(actor)]


# A password or an admin's role outlives the token that gave it, so these need a person who logged in.
@router.post("", status_code=201, dependencies=[allow(scope=None)])
def add(request: AccountRequest, studio: TheStudio, actor: TheActor) -> AccountView:
    """Add an account; the first one must be an admin's."""
    password = request.password.get_secret_value()
    return _view(
        studio.accounts.add(actor, NewAccount(request.name, request.role, password, request.full_name))
    )


@router.get("/me", dependencies=[allow(*EVERYONE, scope=Scope.READ)])
def me(studio: TheStudio, actor: TheActor, visitor: TheVisitor) -> MeView:
    """Who asks, and what the token may do."""
    scopes = sorted(visitor.scopes) if visitor is not None and visitor.scopes is not None else None
    known = None if actor == LOCAL_ADMIN else _view(studio.accounts.account(actor, actor.name))
    return MeView(name=actor.name, role=actor.role, scopes=scopes, account=known)


@router.get("/{name}", dependencies=[allow(*EVERYONE, scope=Scope.READ)])
def account(name: str, studio: TheStudio, actor: TheActor) -> AccountView:
    """One's own account, or any for an admin."""
    return _view(studio.accounts.account(actor, name))


@router.post("/{name}/role", dependencies=[allow(scope=None)])
def change_role(name: str, request: RoleRequest, studio: TheStudio, actor: TheActor) -> AccountView:
    """Give a person another role; it holds from the next request on."""
    return _view(studio.accounts.change_role(actor, name, request.role))


@router.post("/{name}/password", status_code=204, dependencies=[allow(*EVERYONE, scope=None)])
def set_password(name: str, request: PasswordRequest, studio: TheStudio, actor: TheActor) -> None:
    """Change one's own password, or give a person a new one as an admin; ends that person's sessions."""
    new, current = request.password.get_secret_value(), request.current.get_secret_value()
    studio.accounts.set_password(actor, name, new, current)


@router.post("/{name}/disable", dependencies=[allow(scope=Scope.ADMIN)])
def disable(name: str, studio: TheStudio, actor: TheActor) -> AccountView:
    """Keep a person out, at once."""
    return _view(studio.accounts.disable(actor, name))


@router.post("/{name}/enable", dependencies=[allow(scope=Scope.ADMIN)])
def enable(name: str, studio: TheStudio, actor: TheActor) -> AccountView:
    """Let a person in again."""
    return _view(studio.accounts.enable(actor, name))


@router.delete("/{name}", dependencies=[allow(scope=Scope.ADMIN)])
def erase(name: str, studio: TheStudio, actor: TheActor) -> ErasedView:
    """Delete an account; a pseudonym stands where the name stood."""
    return ErasedView(pseudonym=studio.erase(actor, name))
