"""A studio with its REST interface, and clients of people in every role."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient

from studio.accounts import AccountService, NewAccount, NewToken, Scope
from studio.api import COOKIE, create_api
from studio.core import Actor, Role, Settings
from studio.studio import Studio, open_studio

ADDRESS = "http://127.0.0.1:7860"
PASSWORD = "four unrelated words"
ADA = Actor("ada", Role.ADMIN)
#: One person of each role, by name.
PEOPLE = {"ada": Role.ADMIN, "rosa": Role.RESEARCHER, "ann": Role.ANNOTATOR, "sten": Role.STAKEHOLDER}

As = Callable[[str], TestClient]


@pytest.fixture
def studio(settings: Settings) -> Iterator[Studio]:
    opened = open_studio(settings)
    yield with_cheap_passwords(opened)
    opened.close()


@pytest.fixture
def client(studio: Studio) -> Iterator[TestClient]:
    """Whoever sits at the machine, or nobody once there are accounts."""
    with TestClient(create_api(studio), base_url=ADDRESS, follow_redirects=False) as opened:
        yield opened


@pytest.fixture
def people(studio: Studio) -> None:
    add_people(studio)


@pytest.fixture
def as_(studio: Studio, people: None) -> Iterator[As]:
    """The client of a person who is logged in, by name; nobody's for an empty name."""
    app = create_api(studio)
    with ExitStack() as open_clients:

        def client_of(name: str) -> TestClient:
            made = TestClient(app, base_url=ADDRESS, follow_redirects=False)
            if name:
                made.cookies.set(COOKIE, studio.accounts.log_in(name, PASSWORD, "127.0.0.1"))
            return open_clients.enter_context(made)

        yield client_of


def with_cheap_passwords(studio: Studio) -> Studio:
    """The studio with password hashes that cost nothing; what they cost is no matter here."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    return replace(
        studio, accounts=AccountService(studio.database, studio.audit, studio.settings, hasher=cheap)
    )


def add_people(studio: Studio) -> None:
    studio.accounts.create_first("ada", PASSWORD)
    for name, role in PEOPLE.items():
        if name != "ada":
            studio.accounts.add(ADA, NewAccount(name, role, PASSWORD))


def token_of(studio: Studio, name: str, *scopes: Scope) -> dict[str, str]:
    """The header of a token of ``name`` with ``scopes`` beside READ."""
    actor = Actor(name, PEOPLE[name])
    _, secret = studio.accounts.create_token(actor, NewToken("test", frozenset({Scope.READ, *scopes})))
    return {"authorization": f"Bearer {secret}"}
