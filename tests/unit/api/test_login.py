"""The log-in pages: the cookie they set, where they lead, and what they refuse."""

from __future__ import annotations

from http.cookies import SimpleCookie

import pytest
from fastapi.testclient import TestClient

from studio.api import COOKIE, create_api
from studio.api.login import safe_target
from studio.core import Settings
from studio.studio import Studio, open_studio
from tests.unit.api.conftest import ADA, ADDRESS, PASSWORD, As, add_people, with_cheap_passwords


def log_in(client: TestClient, name: str = "ann", password: str = PASSWORD, **more: str):
    return client.post("/login", data={"name": name, "password": password, **more})


def cookie_of(answer) -> SimpleCookie:
    return SimpleCookie(answer.headers["set-cookie"])


def test_a_right_password_sets_a_guarded_cookie_and_leads_to_ones_door(
    client: TestClient, people: None
) -> None:
    answer = log_in(client, " Ann ")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    morsel = cookie_of(answer)[COOKIE]
    assert morsel["httponly"]
    assert morsel["samesite"].lower() == "lax"
    assert morsel["path"] == "/"
    assert morsel["domain"] == ""
    assert not morsel["secure"]
    assert client.get("/").headers["location"] == "/annotate/"


@pytest.mark.parametrize(
    ("name", "door"),
    [("ada", "/studio/"), ("rosa", "/studio/"), ("ann", "/annotate/"), ("sten", "/arena/"), ("", "/login")],
)
def test_the_front_page_leads_to_the_door_of_the_role(as_: As, name: str, door: str) -> None:
    answer = as_(name).get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, door)


class TestBehindTls:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"public_url": "https://tandem.example"})

    def test_the_cookie_is_for_tls_only(self, client: TestClient, people: None) -> None:
        answer = log_in(client)
        assert cookie_of(answer)[COOKIE]["secure"]
        assert "max-age" in answer.headers["strict-transport-security"]


@pytest.mark.parametrize(
    ("name", "password"),
    [("ann", "wrong"), ("nobody", PASSWORD), ("", ""), ("ann", ""), ("é\ud83d", "x" * 500)],
)
def test_a_wrong_one_is_refused_in_the_same_words(
    client: TestClient, people: None, name: str, password: str
) -> None:
    body = {"name": name.encode("utf-8", "replace"), "password": password}
    answer = client.post("/login", data=body)
    assert answer.status_code == 401
    assert "The name or the password is wrong." in answer.text
    assert "set-cookie" not in answer.headers


def test_what_was_typed_is_shown_again_as_text_and_the_password_never(
    client: TestClient, people: None
) -> None:
    answer = log_in(client, '"><b>x', "secret-of-mine", next='/runs?"><script>')
    assert "<b>" not in answer.text
    assert "<script>" not in answer.text
    assert "secret-of-mine" not in answer.text


def test_guessing_is_slowed_down_and_says_for_how_long(client: TestClient, people: None) -> None:
    for _ in range(5):
        last = log_in(client, password="wrong")
    assert last.status_code == 401
    answer = log_in(client)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 10
    assert log_in(client, "rosa").status_code == 303


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/%0d%0aSet-Cookie:x",
        "/a/../..//evil.example",
        "javascript:alert(1)",
        "/\tx",
        "\t//evil.example",
        " //evil.example",
        "/\r\nx: y",
        "evil.example",
        "@evil.example",
        "http:evil.example",
        "http:///evil.example",
        "//[",
        "/é",
        "/logout",
        "/login?next=/login",
        "/oidc/login",
        "",
    ],
)
def test_next_leads_nowhere_else(client: TestClient, people: None, target: str) -> None:
    expected = target if target == "/%0d%0aSet-Cookie:x" else "/"  # a path like any other, and quoted
    assert log_in(client, next=target).headers["location"] == expected
    assert client.get("/login", params={"next": target}).headers["location"] == expected


@pytest.mark.parametrize("target", ["/studio/?tab=runs&run=run_1", "/docs", "/datasets/a%20b@1/rows"])
def test_next_leads_back_to_where_one_was_going(client: TestClient, people: None, target: str) -> None:
    assert safe_target(target) == target
    assert log_in(client, next=target).headers["location"] == target


def test_logging_out_ends_the_session_and_not_only_the_cookie(client: TestClient, people: None) -> None:
    cookie = cookie_of(log_in(client))[COOKIE].value
    assert client.get("/accounts/me").status_code == 200
    assert client.get("/logout").status_code == 200
    assert client.get("/accounts/me").status_code == 200, "a link must log nobody out"
    gone = client.post("/logout")
    assert gone.headers["location"] == "/login"
    assert cookie_of(gone)[COOKIE]["max-age"] == "0"
    client.cookies.set(COOKIE, cookie)
    assert client.get("/accounts/me").status_code == 401


def test_logging_in_again_ends_the_session_before(client: TestClient, people: None) -> None:
    first = cookie_of(log_in(client))[COOKIE].value
    second = cookie_of(log_in(client, "rosa"))[COOKIE].value
    client.cookies.clear()
    for cookie, status in ((first, 401), (second, 200)):
        assert client.get("/accounts/me", headers={"cookie": f"{COOKIE}={cookie}"}).status_code == status


def test_a_form_of_another_site_logs_nobody_in_or_out(client: TestClient, people: None) -> None:
    foreign = {"origin": "http://evil.example"}
    for path in ("/login", "/logout", "/setup"):
        answer = client.post(path, data={"name": "ann", "password": PASSWORD}, headers=foreign)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"name": "ann"}', "application/json"),
        (b"name=" + b"x" * 20_000, "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=1" % n for n in range(50)), "application/x-www-form-urlencoded"),
        (b"name=%ff%fe", "application/x-www-form-urlencoded"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
    ],
)
def test_what_is_not_the_form_is_refused(client: TestClient, people: None, content: bytes, kind: str) -> None:
    for path in ("/login", "/setup"):
        assert client.post(path, content=content, headers={"content-type": kind}).status_code == 422


FORM = {"name": "ada", "password": PASSWORD, "again": PASSWORD}


class TestFirstAccount:
    def test_it_is_made_once_and_logged_in(self, client: TestClient) -> None:
        assert client.get("/login").headers["location"] == "/setup"
        assert "first account" in client.get("/setup").text
        answer = client.post("/setup", data=FORM)
        assert answer.status_code == 303
        assert client.get("/accounts/me").json()["role"] == "admin"
        assert client.get("/setup").headers["location"] == "/login"
        client.cookies.clear()
        again = client.post("/setup", data={**FORM, "name": "eve"})
        assert again.status_code == 409
        assert "set-cookie" not in again.headers

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"again": "other"}, "differ"),
            ({"password": "short", "again": "short"}, "12"),
            ({"name": "Ada Lovelace"}, "lower-case"),
            ({"name": "studio"}, "reserved"),
            ({"name": "abcdefghijkl", "password": "abcdefghijkl", "again": "abcdefghijkl"}, "name"),
        ],
    )
    def test_what_cannot_be_used_is_said_and_nothing_is_made(
        self, client: TestClient, studio: Studio, change: dict[str, str], said: str
    ) -> None:
        answer = client.post("/setup", data=FORM | change)
        assert answer.status_code == 422
        assert said in answer.text
        assert not studio.accounts.exist()


class TestPages:
    """They work without a script, and say who the browser belongs to."""

    @pytest.mark.parametrize("path", ["/login", "/logout"])
    def test_they_are_without_scripts_and_kept_by_nobody(self, as_: As, path: str) -> None:
        answer = as_("").get(path)
        assert "<script" not in answer.text
        assert " style=" not in answer.text
        assert answer.headers["cache-control"] == "no-store"
        assert "script-src" not in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]

    def test_whoever_is_logged_in_is_not_asked_again(self, as_: As) -> None:
        assert as_("ann").get("/login").headers["location"] == "/"


def test_a_restart_forgives_no_guesses(settings: Settings) -> None:
    for round_ in range(2):
        studio = with_cheap_passwords(open_studio(settings))
        try:
            if round_ == 0:
                add_people(studio)
            with TestClient(create_api(studio), base_url=ADDRESS, follow_redirects=False) as client:
                statuses = [log_in(client, password="wrong").status_code for _ in range(5)]
        finally:
            studio.close()
    assert statuses[0] == 429


def test_a_changed_password_ends_the_session(client: TestClient, studio: Studio, people: None) -> None:
    log_in(client)
    studio.accounts.set_password(ADA, "ann", "another four words")
    assert client.get("/accounts/me").status_code == 401
