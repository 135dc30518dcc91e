"""Which requests the guard lets through; the application behind it answers 200 to anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from studio.api import Guard
from studio.api.guard import PLAIN_BODY_BYTES
from studio.core import Settings

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


async def _echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def _socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


def _client(settings: Settings, *, single_user: bool = False) -> TestClient:
    app = Starlette(routes=[Route("/{path:path}", _echo, methods=METHODS), WebSocketRoute("/ws", _socket)])
    return TestClient(Guard(app, settings, lambda: single_user), base_url="http://127.0.0.1:7860")


@pytest.fixture
def client(settings: Settings) -> TestClient:
    return _client(settings.model_copy(update={"max_upload_mb": 1}))


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "0.0.0.0:7860", "", "10.0.0.2", "[::1"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_host_is_refused_for_every_method(client: TestClient, method: str, host: str) -> None:
    assert client.request(method, "/x", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1:1", "[::1]:7860", "LOCALHOST"])
def test_our_own_names_pass(client: TestClient, host: str) -> None:
    assert client.get("/x", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:7861", "http://localhost:7860", "http://["]
)
def test_another_origin_may_not_change_anything(client: TestClient, method: str, origin: str) -> None:
    assert client.request(method, "/x", headers={"origin": origin}).status_code == 403


def test_our_own_origin_and_no_origin_may(client: TestClient) -> None:
    assert client.post("/x", headers={"origin": "http://127.0.0.1:7860"}).status_code == 200
    assert client.post("/x").status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_browser_that_says_cross_site_is_refused_even_without_an_origin(
    client: TestClient, site: str
) -> None:
    assert client.post("/x", headers={"sec-fetch-site": site}).status_code == 403


def test_a_websocket_of_another_origin_is_refused(client: TestClient) -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("ws://127.0.0.1:7860/ws", headers={"origin": "http://evil.example"}),
    ):
        pass


def test_a_body_over_the_limit_is_refused_by_its_declared_length(client: TestClient) -> None:
    assert client.post("/x", content=b"0" * (3 << 20)).status_code == 413


def test_a_body_that_hides_its_length_is_cut_off(client: TestClient) -> None:
    assert client.post("/x", content=_chunks(40 << 17)).status_code == 413


def test_a_body_that_is_no_upload_has_a_smaller_limit(settings: Settings) -> None:
    client = _client(settings)
    big = PLAIN_BODY_BYTES + 1
    assert client.post("/x", headers={"content-length": str(big)}).status_code == 413
    assert client.post("/x", content=_chunks(big)).status_code == 413
    upload = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/x", content=_chunks(big), headers=upload).status_code == 200
    too_big = str((settings.max_upload_mb + 2) << 20)
    assert client.post("/x", headers={**upload, "content-length": too_big}).status_code == 413


@pytest.mark.parametrize("length", ["9" * 30, "9" * 5000])
def test_an_absurd_length_is_too_large_and_no_error(client: TestClient, length: str) -> None:
    assert client.post("/x", headers={"content-length": length}).status_code == 413


@pytest.mark.parametrize("dest", ["empty", "image", "script", "style"])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_embeds_nothing_of_ours(client: TestClient, site: str, dest: str) -> None:
    header = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors", "sec-fetch-dest": dest}
    assert client.get("/studio/gradio_api/heartbeat/x", headers=header).status_code == 403


@pytest.mark.parametrize(("dest", "status"), [("document", 200), ("iframe", 403), ("object", 403)])
def test_a_link_from_another_site_may_be_followed_but_not_framed(
    client: TestClient, dest: str, status: int
) -> None:
    header = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": dest}
    assert client.get("/x", headers=header).status_code == status


class TestPublic:
    """A studio that people reach under a name of its own."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        changed = {"public_url": "https://tandem.example", "trusted_hosts": "other.example"}
        return settings.model_copy(update=changed)

    @pytest.fixture
    def client(self, settings: Settings) -> TestClient:
        return _client(settings)

    @pytest.mark.parametrize(
        "host", ["tandem.example", "other.example:7860", "127.0.0.1:7860", "TANDEM.example"]
    )
    def test_its_names_pass(self, client: TestClient, host: str) -> None:
        assert client.get("/x", headers={"host": host}).status_code == 200

    @pytest.mark.parametrize("host", ["evil.example", "tandem.example.evil.example", "x.tandem.example"])
    def test_no_other_does(self, client: TestClient, host: str) -> None:
        assert client.get("/x", headers={"host": host}).status_code == 421

    def test_its_pages_may_change_things_also_where_the_proxy_rewrites_the_host(
        self, client: TestClient
    ) -> None:
        origin = {"origin": "https://tandem.example"}
        for host in ("tandem.example", "127.0.0.1:7860"):
            assert client.post("/x", headers={"host": host, **origin}).status_code == 200

    @pytest.mark.parametrize(
        "origin", ["http://tandem.example", "https://other.example", "null", "//tandem.example"]
    )
    def test_a_page_without_tls_or_of_another_name_may_not(self, client: TestClient, origin: str) -> None:
        answer = client.post("/x", headers={"host": "tandem.example", "origin": origin})
        assert answer.status_code == 403

    def test_what_a_proxy_claims_goes_no_further(self, settings: Settings) -> None:
        async def told(request: Request) -> PlainTextResponse:
            return PlainTextResponse(f"{request.url} {sorted(request.headers)}")

        app = Starlette(routes=[Route("/{path:path}", told)])
        client = TestClient(Guard(app, settings), base_url="http://tandem.example")
        claims = {
            "x-forwarded-host": "evil.example",
            "x-forwarded-proto": "http",
            "forwarded": "host=evil.example",
            "x-gradio-server": "http://evil.example",
        }
        text = client.get("/x", headers=claims).text
        assert text.startswith("https://tandem.example/x ")
        assert "forwarded" not in text
        assert "gradio" not in text

    @pytest.mark.parametrize("header", ["x-forwarded-for", "x-forwarded-host", "forwarded", "x-real-ip"])
    def test_without_accounts_nothing_comes_in_through_a_proxy(self, settings: Settings, header: str) -> None:
        client = _client(settings, single_user=True)
        assert client.get("/x", headers={"host": "tandem.example"}).status_code == 421
        assert client.get("/x", headers={header: "203.0.113.9"}).status_code == 403
        assert client.get("/x").status_code == 200


class TestInvited:
    """A page of another site that may call REST, with a token."""

    FRIEND = "https://friend.example"

    @pytest.fixture
    def client(self, settings: Settings) -> TestClient:
        return _client(settings.model_copy(update={"cors_origins": self.FRIEND}))

    def test_it_may_ask_and_with_a_token_change(self, client: TestClient) -> None:
        page = {"origin": self.FRIEND, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
        assert client.get("/x", headers=page).status_code == 200
        assert client.options("/x", headers=page).status_code in {200, 405}
        assert client.post("/x", headers={**page, "authorization": "Bearer tdm_x"}).status_code == 200

    def test_it_may_change_nothing_by_a_cookie_and_open_no_socket(self, client: TestClient) -> None:
        page = {"origin": self.FRIEND, "cookie": "tandem_session=x"}
        assert client.post("/x", headers=page).status_code == 403
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("ws://127.0.0.1:7860/ws", headers=page),
        ):
            pass

    def test_its_neighbours_are_not_invited(self, client: TestClient) -> None:
        token = {"authorization": "Bearer tdm_x"}
        for origin in (
            "https://friend.example:444",
            "http://friend.example",
            "https://friend.example.evil.example",
        ):
            assert client.post("/x", headers={"origin": origin, **token}).status_code == 403


def _chunks(size: int) -> Iterator[bytes]:
    for _ in range(0, size, 1 << 17):
        yield b"0" * (1 << 17)
