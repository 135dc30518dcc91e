"""What every answer tells the browser."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from studio.api import create_api
from studio.api.headers import FILES, PAGES, PLAIN, SecurityHeaders
from studio.core import Settings
from studio.studio import Studio
from tests.unit.api.conftest import ADDRESS, As, token_of

FRIEND = "https://friend.example"


@pytest.mark.parametrize(
    ("path", "status"), [("/login", 200), ("/runs", 401), ("/none", 401), ("/a//b", 400), ("/assets/x", 404)]
)
def test_every_answer_has_them_also_a_refusal(as_: As, path: str, status: int) -> None:
    answer = as_("").get(path)
    assert answer.status_code == status
    _assert_guarded(answer.headers)


def test_what_the_guard_refuses_has_them_too(client: TestClient) -> None:
    answer = client.get("/", headers={"host": "evil.example"})
    assert answer.status_code == 421
    _assert_guarded(answer.headers)


def test_a_failure_of_the_studio_has_them_too(studio: Studio) -> None:
    app = create_api(studio)

    def broken() -> None:
        raise RuntimeError

    app.add_api_route("/broken", broken)
    with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False) as client:
        answer = client.get("/broken")
    assert answer.status_code == 500
    _assert_guarded(answer.headers)


def test_each_part_has_its_policy(settings: Settings) -> None:
    headers = SecurityHeaders(lambda *_: None, settings, frozenset({"studio"}))
    assert headers._policy("/studio/") == headers._policy("/studio") == PAGES
    assert headers._policy("/studio/gradio_api/file=/tmp/x.html") == FILES
    assert headers._policy("/runs") == headers._policy("/studiox/") == PLAIN
    assert "sandbox" in FILES
    assert "script-src" not in PLAIN
    assert all("frame-ancestors 'none'" in policy for policy in (PAGES, FILES, PLAIN))
    assert not any(
        "http:" in policy or "https:" in policy or "*" in policy for policy in (PAGES, FILES, PLAIN)
    )


def test_scripts_may_be_kept_and_answers_about_people_may_not(as_: As) -> None:
    ada = as_("ada")
    assert "max-age" in ada.get("/assets/plotly.min.js").headers["cache-control"]
    assert ada.get("/accounts").headers["cache-control"] == "no-store"


class TestCors:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"cors_origins": FRIEND})

    def test_an_invited_page_may_read_with_a_token_and_never_with_a_cookie(
        self, client: TestClient, studio: Studio, people: None
    ) -> None:
        answer = client.get("/accounts/me", headers={"origin": FRIEND, **token_of(studio, "ann")})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == FRIEND
        assert "access-control-allow-credentials" not in answer.headers

    def test_its_browser_may_ask_first(self, client: TestClient) -> None:
        asked = {
            "origin": FRIEND,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization",
        }
        answer = client.options("/predict", headers=asked)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == FRIEND

    def test_nobody_else_is_let_in(self, client: TestClient) -> None:
        for origin in ("https://evil.example", "null", f"{FRIEND}.evil.example"):
            answer = client.get("/health", headers={"origin": origin})
            assert "access-control-allow-origin" not in answer.headers


def test_without_invitations_there_is_no_cors_at_all(client: TestClient) -> None:
    answer = client.get("/health", headers={"origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def _assert_guarded(headers) -> None:
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
