"""The records of the accounts room: people, what they log in with, and what their programs may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from studio.core import Actor, Role


class Scope(StrEnum):
    """What a token may do: READ is every question, each other one adds the changes of its kind."""

    READ = "read"
    LABEL = "label"
    CHAT = "chat"
    DATA = "data"
    TRAIN = "train"
    DEPLOY = "deploy"
    ADMIN = "admin"


@dataclass(frozen=True)
class Account:
    """A person who may come in; times are seconds since the epoch.

    ``external`` says that the person logs in through the identity provider.
    """

    id: str
    name: str
    role: Role
    full_name: str
    disabled: bool
    created_at: float
    last_login_at: float | None
    external: bool

    @property
    def actor(self) -> Actor:
        """The person as services know them."""
        return Actor(self.name, self.role)


@dataclass(frozen=True)
class NewAccount:
    """An account to add; its password never shows in logs or traces."""

    name: str
    role: Role
    password: str = field(repr=False)
    full_name: str = ""


@dataclass(frozen=True)
class Token:
    """A key for programs, without its secret; times are seconds since the epoch."""

    id: str
    label: str
    owner: str
    scopes: frozenset[Scope]
    created_at: float
    expires_at: float | None
    last_used_at: float | None
    revoked_at: float | None


@dataclass(frozen=True)
class NewToken:
    """A token to make; READ is always among what it may do. ``expires_days`` None is never."""

    label: str
    scopes: frozenset[Scope]
    expires_days: int | None = 90


@dataclass(frozen=True)
class Visitor:
    """Who stands at the door; ``scopes`` None is a session, which may do whatever the role may."""

    actor: Actor
    scopes: frozenset[Scope] | None
