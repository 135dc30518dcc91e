"""Who comes in where: by role, session, token and path, for http and websocket alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from studio.api import COOKIE
from studio.api.doors import DOORS, Doors, is_odd, name_at
from studio.core import Role, Settings
from studio.studio import Studio
from tests.unit.api.conftest import ADA, ADDRESS, PASSWORD, PEOPLE, token_of
from tests.unit.api.raw import raw_status, serving

METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
ENTERS = {
    "ada": {"studio", "annotate", "arena"},
    "rosa": {"studio", "annotate", "arena"},
    "ann": {"annotate"},
    "sten": {"arena"},
    "": set(),
}
INSIDE = (
    "",
    "/",
    "/config",
    "/gradio_api/cancel",
    "/gradio_api/heartbeat/abcdef",
    "/gradio_api/reset",
    "/gradio_api/queue/join",
    "/gradio_api/queue/data?session_hash=abcdef",
    "/gradio_api/stream/abcdef",
    "/gradio_api/upload",
    "/gradio_api/file=/tmp/x",
    "/gradio_api/token",
    "/gradio_api/openapi.json",
    "/theme.css",
    "/assets/index.js",
)


async def _who(request: Request) -> PlainTextResponse:
    """Behind the doors everything answers, with the name that Gradio would be given at each mount."""
    visitor = request.state.visitor
    named = "".join(f" {door}:{name_at(door)(request)}" for door in DOORS)
    return PlainTextResponse((visitor.actor.name if visitor else "nobody") + named)


# Only the researchers' door takes and serves files.
FILES = ("/gradio_api/upload", "/gradio_api/file=")


async def _socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


@pytest.fixture
def app(studio: Studio) -> Doors:
    inner = Starlette(
        routes=[
            Route("/{path:path}", _who, methods=METHODS),
            WebSocketRoute("/{path:path}", _socket),
        ]
    )
    return Doors(inner, studio)


def client_of(app: Doors, studio: Studio, name: str) -> TestClient:
    client = TestClient(app, base_url=ADDRESS, follow_redirects=False)
    if name:
        client.cookies.set(COOKIE, studio.accounts.log_in(name, PASSWORD, "127.0.0.1"))
    return client


@pytest.mark.parametrize("name", ENTERS)
def test_a_door_opens_to_its_roles_and_to_no_other(
    app: Doors, studio: Studio, people: None, name: str
) -> None:
    client = client_of(app, studio, name)
    refused = 403 if name else 401
    for door in DOORS:
        for path in INSIDE:
            for method in METHODS:
                answer = client.request(method, f"/{door}{path}")
                within = 404 if door != "studio" and path.startswith(FILES) else 200
                expected = within if door in ENTERS[name] else refused
                assert answer.status_code == expected, (method, door, path)


@pytest.mark.parametrize("name", ENTERS)
def test_a_websocket_meets_the_same_doors(app: Doors, studio: Studio, people: None, name: str) -> None:
    client = client_of(app, studio, name)
    for door in DOORS:
        for path in ("/", "/gradio_api/queue/join", "/anything"):
            if door in ENTERS[name]:
                with client.websocket_connect(f"/{door}{path}"):
                    continue
            with pytest.raises(WebSocketDisconnect), client.websocket_connect(f"/{door}{path}"):
                pass
    if not name:
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ws"):
            pass


@pytest.mark.parametrize("name", PEOPLE)
def test_gradio_is_told_a_name_only_at_a_door_of_the_role(
    app: Doors, studio: Studio, people: None, name: str
) -> None:
    told = client_of(app, studio, name).get("/elsewhere").text.split()
    assert told[0] == name
    expected = {f"{door}:{name if door in ENTERS[name] else None}" for door in DOORS}
    assert set(told[1:]) == expected


@pytest.mark.parametrize(
    "path",
    [
        "//annotate/",
        "/annotate//config",
        "/annotate/../studio/",
        "/annotate/..//studio",
        "/annotate/%2e%2e/studio/",
        "/annotate/%2E%2E%2Fstudio/",
        "/annotate/.%2e/studio/",
        "/annotate/./config",
        "/annotate/%2e",
        "/annotate\\..\\studio",
        "/annotate/%5c..%5cstudio",
        "/annotate%0a/",
        "/annotate/%00",
        "/%2fannotate/",
        "/assets/../studio/config",
        "/assets/%2e%2e/studio/config",
        "/login/../studio/config",
        "http://127.0.0.1:7860//studio/",
    ],
)
def test_a_path_with_two_readings_is_refused_for_everyone(
    app: Doors, studio: Studio, people: None, path: str
) -> None:
    """Sent as it is written here: a client library would tidy it up."""
    assert _statuses(app, studio, path, ("", "ann", "ada")) == [400, 400, 400]


@pytest.mark.parametrize("path", ["/Studio/", "/STUDIO/config", "/studio%252f", "/studioo/", "/xstudio/"])
def test_a_path_that_only_looks_like_a_door_is_none_and_still_needs_a_log_in(
    app: Doors, studio: Studio, people: None, path: str
) -> None:
    assert _statuses(app, studio, path, ("",)) == [401]


@pytest.mark.parametrize("path", ["/%73tudio/", "/s%74udio/config", "/studi%6F"])
def test_an_encoded_letter_does_not_hide_a_door(app: Doors, studio: Studio, people: None, path: str) -> None:
    assert _statuses(app, studio, path, ("ann", "rosa")) == [403, 200]


def test_what_of_gradio_is_not_used_is_shut_to_everyone(app: Doors, studio: Studio, people: None) -> None:
    client = client_of(app, studio, "ada")
    for path in (
        "login",
        "logout",
        "monitoring",
        "gradio_api/proxy=https://a.hf.space/x",
        "gradio_api/vibe-edit",
    ):
        answer = client.get(f"/studio/{path}")
        assert answer.status_code in {400, 404}, path


def test_without_accounts_the_person_at_the_machine_is_the_admin_until_there_is_one(
    app: Doors, studio: Studio
) -> None:
    client = client_of(app, studio, "")
    assert client.get("/studio/").text.startswith("local studio:local")
    studio.accounts.create_first("ada", PASSWORD)
    assert client.get("/studio/").status_code == 401
    assert client.get("/runs").status_code == 401


@pytest.mark.parametrize(
    "path", ["/login", "/logout", "/setup", "/health", "/favicon.ico", "/assets/door.css", "/"]
)
def test_what_must_be_reached_without_a_log_in_can_be(
    app: Doors, studio: Studio, people: None, path: str
) -> None:
    assert client_of(app, studio, "").get(path).status_code == 200


@pytest.mark.parametrize(
    "path", ["/runs", "/docs", "/openapi.json", "/v1/models", "/login/x", "/healthy", "/assets"]
)
def test_everything_else_needs_one(app: Doors, studio: Studio, people: None, path: str) -> None:
    answer = client_of(app, studio, "").get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_browser_is_led_to_the_log_in_and_back(app: Doors, studio: Studio, people: None) -> None:
    asked = client_of(app, studio, "").get("/studio/?tab=runs&run=r1", headers={"accept": "text/html,*/*"})
    assert asked.status_code == 303
    assert asked.headers["location"] == "/login?next=%2Fstudio%2F%3Ftab%3Druns%26run%3Dr1"


def test_a_browser_at_a_wrong_door_is_shown_its_own(app: Doors, studio: Studio, people: None) -> None:
    answer = client_of(app, studio, "ann").get("/studio/", headers={"accept": "text/html"})
    assert answer.status_code == 403
    assert 'href="/annotate/"' in answer.text


def test_a_token_opens_rest_and_no_pages(app: Doors, studio: Studio, people: None) -> None:
    client, token = client_of(app, studio, ""), token_of(studio, "ada")
    assert client.get("/runs", headers=token).text.split()[0] == "ada"
    for door in DOORS:
        assert client.post(f"/{door}/gradio_api/queue/join", headers=token).status_code == 403
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect(f"/{door}/", headers=token),
        ):
            pass


@pytest.mark.parametrize("secret", ["", "x", "tdm_", "tdm_" + "0" * 43, "tdm_" + "é" * 10, "tdm_a b"])
def test_a_token_that_is_none_is_not_made_good_by_a_session(
    app: Doors, studio: Studio, people: None, secret: str
) -> None:
    client = client_of(app, studio, "ada")
    assert client.get("/runs", headers={"authorization": f"Bearer {secret}".encode()}).status_code == 401


@pytest.mark.parametrize("cookie", ["", "x", "x.y", "a" * 5000, "é"])
def test_a_cookie_that_is_none_lets_nobody_in(app: Doors, studio: Studio, people: None, cookie: str) -> None:
    client = client_of(app, studio, "")
    header = {"cookie": f"{COOKIE}={cookie}".encode()}
    assert client.get("/studio/", headers=header).status_code == 401


def test_a_change_of_role_holds_from_the_next_request_on(app: Doors, studio: Studio, people: None) -> None:
    token = token_of(studio, "ann")
    client, by_token = client_of(app, studio, "ann"), client_of(app, studio, "")
    assert client.get("/annotate/").status_code == 200
    studio.accounts.change_role(ADA, "ann", Role.STAKEHOLDER)
    assert client.get("/annotate/").status_code == 401
    assert by_token.get("/runs", headers=token).status_code == 200
    studio.accounts.disable(ADA, "ann")
    assert by_token.get("/runs", headers=token).status_code == 401


def test_a_page_elsewhere_gets_nothing_by_the_cookie(
    settings: Settings, studio: Studio, people: None
) -> None:
    friend = "https://friend.example"
    invited = replace(studio, settings=settings.model_copy(update={"cors_origins": friend}))
    inner = Starlette(routes=[Route("/{path:path}", _who, methods=METHODS)])
    client = client_of(Doors(inner, invited), studio, "ada")
    assert client.get("/runs", headers={"origin": friend}).status_code == 401
    assert client.get("/runs", headers={"origin": friend, **token_of(studio, "ada")}).status_code == 200


def test_odd_is_what_can_be_read_twice() -> None:
    assert not any(
        map(is_odd, ("/", "/studio/", "/datasets/a.b@1/rows", "/studio/gradio_api/file=/tmp/a..b"))
    )
    assert all(map(is_odd, ("", "x", "//", "/a//b", "/..", "/a/.", "/a\\b", "/a\nb", "/\x7f")))


def _statuses(app: Doors, studio: Studio, target: str, names: tuple[str, ...]) -> list[int]:
    """The status for a request line that is sent byte for byte, as each of ``names``."""

    def headers(name: str) -> dict[str, str]:
        return {"cookie": f"{COOKIE}={studio.accounts.log_in(name, PASSWORD, '127.0.0.1')}"} if name else {}

    with serving(app) as port:
        return [raw_status(port, target, headers(name)) for name in names]
