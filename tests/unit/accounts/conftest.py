from __future__ import annotations

from collections.abc import Callable

import pytest
from argon2 import PasswordHasher

from studio.accounts import AccountService, NewAccount
from studio.core import LOCAL_ADMIN, Actor, Audit, Database, Role, Settings

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "four unrelated words"
HERE = "203.0.113.7"

Open = Callable[[], AccountService]


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("service", "sessions", "tokens", "throttle"):
        monkeypatch.setattr(f"studio.accounts.{module}.now", clock)
    return clock


@pytest.fixture
def audit(database: Database) -> Audit:
    return Audit(database)


@pytest.fixture
def reopen(database: Database, audit: Audit, settings: Settings) -> Open:
    """Another service on the same home, as after a restart."""
    return lambda: AccountService(database, audit, settings, hasher=CHEAP)


@pytest.fixture
def accounts(reopen: Open) -> AccountService:
    """A room with the admin ``root`` and one person of each other role, all with the same password."""
    service = reopen()
    service.create_first("root", PASSWORD)
    for name, role in (("rhea", Role.RESEARCHER), ("ann", Role.ANNOTATOR), ("sten", Role.STAKEHOLDER)):
        service.add(LOCAL_ADMIN, NewAccount(name, role, PASSWORD))
    return service


ROOT = Actor("root", Role.ADMIN)
RHEA = Actor("rhea", Role.RESEARCHER)
ANN = Actor("ann", Role.ANNOTATOR)
