"""Logging in through an identity provider, against a real one on loopback that can be made to lie."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.cookies import SimpleCookie

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from studio.api import COOKIE, create_api
from studio.core import Settings
from studio.studio import Studio
from tests.unit.api.conftest import ADDRESS
from tests.unit.api.provider import CLIENT_ID, CLIENT_SECRET, Provider, query_of
from tests.unit.api.raw import serving


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    with serving(made.app) as port:
        made.issuer = f"http://127.0.0.1:{port}"
        yield made


@pytest.fixture
def settings(settings: Settings, provider: Provider) -> Settings:
    changed = {
        "public_url": ADDRESS,
        "oidc_issuer": provider.issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": SecretStr(CLIENT_SECRET),
    }
    return settings.model_copy(update=changed)


def begin(client: TestClient, provider: Provider, target: str = "") -> dict[str, str]:
    """Go to the provider and say yes there; what the browser comes back with."""
    answer = client.get("/oidc/login", params={"next": target})
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith(f"{provider.issuer}/authorize?")
    return provider.approve(answer.headers["location"])


def come_back(client: TestClient, answer: dict[str, str]):
    return client.get(query_of(answer))


def test_a_person_of_the_provider_gets_an_account_and_comes_in(
    client: TestClient, provider: Provider, studio: Studio, people: None
) -> None:
    assert "/oidc/login" in client.get("/login").text
    back = come_back(client, begin(client, provider, "/annotate/?tab=account"))
    assert (back.status_code, back.headers["location"]) == (303, "/annotate/?tab=account")
    me = client.get("/accounts/me").json()
    assert (me["name"], me["role"], me["account"]["external"]) == ("dana.fox", "annotator", True)
    asked = provider.asked[0]
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["state"]) > 30
    assert len(asked["nonce"]) > 30
    assert asked["redirect_uri"] == f"{ADDRESS}/oidc/callback"


def test_the_same_person_comes_back_to_the_same_account(
    client: TestClient, provider: Provider, studio: Studio, people: None
) -> None:
    come_back(client, begin(client, provider))
    provider.person["preferred_username"] = "renamed"
    come_back(client, begin(client, provider))
    assert client.get("/accounts/me").json()["name"] == "dana.fox"


def test_a_name_that_is_taken_opens_nobody_elses_account(
    client: TestClient, provider: Provider, people: None
) -> None:
    provider.person["preferred_username"] = "ada"
    come_back(client, begin(client, provider))
    me = client.get("/accounts/me").json()
    assert me["name"] != "ada"
    assert me["role"] == "annotator"


def test_names_that_the_token_leaves_out_are_asked_for(
    client: TestClient, provider: Provider, people: None
) -> None:
    provider.person = {"sub": "s-2"}
    provider.user_info = {"sub": "s-2", "email": "kim@mail.example", "name": "Kim"}
    come_back(client, begin(client, provider))
    assert client.get("/accounts/me").json()["name"] == "kim"
    provider.person, provider.user_info = {"sub": "s-3"}, {"sub": "s-2", "email": "kim@mail.example"}
    assert come_back(client, begin(client, provider)).status_code == 503


def test_the_cookie_of_an_attempt_is_guarded_and_goes_afterwards(
    client: TestClient, provider: Provider, people: None
) -> None:
    begun = client.get("/oidc/login")
    morsel = SimpleCookie(begun.headers["set-cookie"])["tandem_oidc"]
    assert (bool(morsel["httponly"]), morsel["samesite"], morsel["path"]) == (True, "lax", "/oidc")
    come_back(client, provider.approve(begun.headers["location"]))
    assert "tandem_oidc" not in client.cookies


_PAST = int(time.time()) - 4000


@pytest.mark.parametrize(
    "lie",
    [
        {"iss": "https://elsewhere.example"},
        {"iss": None},
        {"aud": "another-client"},
        {"aud": [CLIENT_ID, "another"]},
        {"azp": "another"},
        {"nonce": "guessed"},
        {"nonce": None},
        {"exp": _PAST},
        {"exp": None},
        {"nbf": int(time.time()) + 4000},
        {"iat": int(time.time()) + 4000},
        {"sub": None},
        {"at_hash": "wrong"},
    ],
    ids=str,
)
def test_a_token_that_does_not_fit_lets_nobody_in(
    client: TestClient, provider: Provider, people: None, lie: dict[str, object]
) -> None:
    provider.claims = lie
    _refused(client, come_back(client, begin(client, provider)), 401)


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_a_token_that_anyone_could_have_signed_lets_nobody_in(
    client: TestClient, provider: Provider, people: None, algorithm: str
) -> None:
    provider.algorithm = algorithm
    _refused(client, come_back(client, begin(client, provider)), 401)


def test_a_token_that_somebody_else_signed_lets_nobody_in(
    client: TestClient, provider: Provider, people: None
) -> None:
    provider.foreign_key = True
    _refused(client, come_back(client, begin(client, provider)), 401)


def test_an_answer_counts_only_in_the_browser_that_asked(
    client: TestClient, provider: Provider, studio: Studio, people: None
) -> None:
    """Else a stranger could send somebody a link that logs them in as the stranger."""
    answer = begin(client, provider)
    with TestClient(create_api(studio), base_url=ADDRESS, follow_redirects=False) as victim:
        _refused(victim, come_back(victim, answer), 401)
        begin(victim, provider)
        _refused(victim, come_back(victim, answer), 401)


@pytest.mark.parametrize(
    "change",
    [
        {"state": "x"},
        {"state": ""},
        {"code": ""},
        {"code": "x"},
        {"error": "access_denied"},
        {"iss": "https://x.example"},
    ],
)
def test_an_answer_that_was_changed_lets_nobody_in(
    client: TestClient, provider: Provider, people: None, change: dict[str, str]
) -> None:
    _refused(client, come_back(client, begin(client, provider) | change), 401)


def test_an_answer_counts_once(client: TestClient, provider: Provider, people: None) -> None:
    answer = begin(client, provider)
    kept = client.cookies.get("tandem_oidc", path="/oidc")
    come_back(client, answer)
    client.cookies.clear()
    client.cookies.set("tandem_oidc", kept or "", path="/oidc")
    _refused(client, come_back(client, answer), 401)


@pytest.mark.parametrize("broken", ["description", "token"])
def test_a_provider_that_fails_is_said_to(
    client: TestClient, provider: Provider, people: None, broken: str
) -> None:
    if broken == "description":
        provider.broken = broken
        _refused(client, client.get("/oidc/login"), 503)
    else:
        answer = begin(client, provider)
        provider.broken = broken
        _refused(client, come_back(client, answer), 503)


@pytest.mark.parametrize(
    "described",
    [
        {"issuer": "https://elsewhere.example"},
        {"token_endpoint": "http://elsewhere.example/token"},
        {"jwks_uri": None},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
    ids=str,
)
def test_a_provider_that_describes_itself_wrongly_is_not_used(
    client: TestClient, provider: Provider, people: None, described: dict[str, object]
) -> None:
    provider.described = described
    _refused(client, client.get("/oidc/login"), 503)


def test_a_disabled_person_stays_out(
    client: TestClient, provider: Provider, studio: Studio, people: None
) -> None:
    from tests.unit.api.conftest import ADA

    come_back(client, begin(client, provider))
    studio.accounts.disable(ADA, "dana.fox")
    client.cookies.clear()
    _refused(client, come_back(client, begin(client, provider)), 401)


def test_nobody_becomes_the_first_account_this_way(client: TestClient, studio: Studio) -> None:
    assert client.get("/oidc/login").status_code == 409
    assert client.get("/oidc/callback").status_code == 409
    assert not studio.accounts.exist()


def _refused(client: TestClient, answer, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert COOKIE not in client.cookies
    assert COOKIE not in answer.headers.get("set-cookie", "")
