"""Which requests the guard lets through; the application behind it answers 200 to anything."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from studio.api import Guard
from studio.core import Settings

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


async def _echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def _socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


@pytest.fixture
def client(settings: Settings) -> TestClient:
    app = Starlette(routes=[Route("/{path:path}", _echo, methods=METHODS), WebSocketRoute("/ws", _socket)])
    small = settings.model_copy(update={"max_upload_mb": 1})
    return TestClient(Guard(app, small), base_url="http://127.0.0.1:7860")


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
    from starlette.requests import ClientDisconnect

    def chunks() -> object:
        for _ in range(40):
            yield b"0" * (1 << 17)

    with pytest.raises(ClientDisconnect):
        client.post("/x", content=chunks())
