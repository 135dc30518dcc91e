"""The three mounts as they are served: each endpoint of Gradio answers its own roles and nobody else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from studio.api import COOKIE
from studio.api.doors import DOORS
from studio.core import Role
from studio.studio import Studio
from tests.unit.api.conftest import ADA, ADDRESS, PASSWORD, token_of
from tests.unit.api.raw import serving

ENTERS = {"ada": set(DOORS), "rosa": set(DOORS), "ann": {"annotate"}, "sten": {"arena"}, "": set()}


@pytest.fixture(scope="module")
def cookies(studio: Studio) -> dict[str, dict[str, str]]:
    """The Cookie header of each person."""
    made = {name: studio.accounts.log_in(name, PASSWORD, "127.0.0.1") for name in ENTERS if name}
    return {"": {}, **{name: {"cookie": f"{COOKIE}={value}"} for name, value in made.items()}}


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url=ADDRESS, follow_redirects=False, raise_server_exceptions=False) as opened:
        yield opened


def mounts(app: FastAPI) -> dict[str, FastAPI]:
    """Door to the Gradio application behind it."""
    found = {route.path.strip("/"): route.app for route in app.routes if isinstance(route, Mount)}
    return {door: found[door] for door in DOORS}


def endpoints(router: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every method and path that Gradio answers, with something for each parameter."""
    for route in router.routes:
        if isinstance(route, WebSocketRoute):
            yield "WEBSOCKET", _filled(prefix + route.path)
        elif isinstance(route, Route):
            for method in route.methods or ():
                yield method, _filled(prefix + route.path)
        elif hasattr(route, "original_router"):
            yield from endpoints(route.original_router, prefix + route.include_context.prefix)


def test_each_mount_checks_files_and_knows_its_people(app: FastAPI) -> None:
    for gradio in mounts(app).values():
        assert gradio.get_blocks().has_launched
        assert gradio.auth_dependency is not None


@pytest.mark.parametrize("name", ["", "ann", "sten"])
def test_no_endpoint_of_a_wrong_door_answers(
    app: FastAPI, client: TestClient, cookies: dict[str, dict[str, str]], name: str
) -> None:
    seen = 0
    for door, gradio in mounts(app).items():
        if door in ENTERS[name]:
            continue
        for method, path in endpoints(gradio):
            seen += 1
            if method == "WEBSOCKET":
                with pytest.raises(WebSocketDisconnect), client.websocket_connect(f"/{door}{path}"):
                    pass
                continue
            answer = client.request(method, f"/{door}{path}", headers=cookies[name])
            assert answer.status_code in ({403} if name else {401}), (method, door, path)
    assert seen > 100, "Gradio's routes were not found"


def test_a_token_reaches_none_of_them(app: FastAPI, client: TestClient, studio: Studio) -> None:
    token = token_of(studio, "ada")
    for door, gradio in mounts(app).items():
        for method, path in endpoints(gradio):
            if method != "WEBSOCKET":
                answer = client.request(method, f"/{door}{path}", headers=token)
                assert answer.status_code == 403, (method, door, path)


@pytest.mark.parametrize("name", ["ada", "rosa", "ann", "sten"])
def test_the_right_door_opens_and_gradio_knows_who_it_is(
    client: TestClient, cookies: dict[str, dict[str, str]], name: str
) -> None:
    for door in ENTERS[name]:
        assert client.get(f"/{door}/", headers=cookies[name]).status_code == 200
        assert client.get(f"/{door}/config", headers=cookies[name]).json()["username"] == name


def test_a_multipart_upload_needs_the_door_and_its_own_origin(
    client: TestClient, cookies: dict[str, dict[str, str]]
) -> None:
    file = {"files": ("a.txt", b"x", "text/plain")}
    path = "/studio/gradio_api/upload"
    assert client.post(path, files=file).status_code == 401
    assert client.post(path, files=file, headers=cookies["ann"]).status_code == 403
    foreign = {**cookies["rosa"], "origin": "http://evil.example"}
    assert client.post(path, files=file, headers=foreign).status_code == 403
    stored = client.post(path, files=file, headers={**cookies["rosa"], "origin": ADDRESS})
    assert stored.status_code == 200
    [place] = stored.json()
    assert client.get(f"/studio/gradio_api/file={place}", headers=cookies["rosa"]).status_code == 200


@pytest.mark.parametrize(("door", "name"), [("annotate", "ann"), ("arena", "sten")])
def test_the_other_doors_take_and_serve_no_files(
    client: TestClient, cookies: dict[str, dict[str, str]], door: str, name: str
) -> None:
    file = {"files": ("a.txt", b"x", "text/plain")}
    mine = {**cookies[name], "origin": ADDRESS}
    assert client.post(f"/{door}/gradio_api/upload", files=file, headers=mine).status_code == 404
    [place] = client.post(
        "/studio/gradio_api/upload", files=file, headers={**cookies["rosa"], "origin": ADDRESS}
    ).json()
    assert client.get(f"/{door}/gradio_api/file={place}", headers=mine).status_code == 404


def test_cancel_and_reset_of_another_site_change_nothing(
    client: TestClient, cookies: dict[str, dict[str, str]]
) -> None:
    for path in ("cancel", "reset", "queue/join", "run/annotate", "stream/abc"):
        foreign = {**cookies["ann"], "origin": "http://evil.example"}
        assert client.post(f"/annotate/gradio_api/{path}", json={}, headers=foreign).status_code == 403


def test_gradio_offers_no_cors_of_its_own(client: TestClient, cookies: dict[str, dict[str, str]]) -> None:
    asked = {**cookies["ada"], "origin": "https://evil.example"}
    for answer in (
        client.get("/studio/config", headers=asked),
        client.options("/studio/config", headers={**asked, "access-control-request-method": "GET"}),
    ):
        assert "access-control-allow-origin" not in answer.headers
        assert "access-control-allow-credentials" not in answer.headers


def test_links_of_gradio_follow_no_forwarded_host(
    client: TestClient, cookies: dict[str, dict[str, str]]
) -> None:
    claims = {**cookies["ada"], "x-forwarded-host": "evil.example", "x-gradio-server": "http://evil.example"}
    assert "evil.example" not in client.get("/studio/config", headers=claims).text


def test_files_of_the_machine_are_served_at_no_door(
    client: TestClient, cookies: dict[str, dict[str, str]], studio: Studio, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("nobody may see this")
    for door in DOORS:
        for path in (
            "/etc/passwd",
            str(secret),
            str(studio.settings.database_path),
            str(studio.settings.home / "secret.key"),
        ):
            answer = client.get(f"/{door}/gradio_api/file={path}", headers=cookies["ada"])
            assert answer.status_code in {403, 404}, (door, path)


def test_the_policy_stands_on_the_pages(client: TestClient, cookies: dict[str, dict[str, str]]) -> None:
    for door in DOORS:
        policy = client.get(f"/{door}/", headers=cookies["ada"]).headers["content-security-policy"]
        assert "connect-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy


def test_an_event_of_one_who_is_shut_out_is_refused_at_once(app: FastAPI, studio: Studio) -> None:
    """Over real HTTP: the stream is open while the account is disabled, and the next event is refused."""
    studio.accounts.enable(ADA, "ann")
    cookie = {"cookie": f"{COOKIE}={studio.accounts.log_in('ann', PASSWORD, '127.0.0.2')}"}
    with serving(app) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=cookie) as client:
        [brand] = [
            d for d in client.get("/annotate/config").json()["dependencies"] if d["api_name"] == "brand"
        ]
        body = {"data": [], "fn_index": brand["id"], "session_hash": "doorstest1", "trigger_id": None}
        assert client.post("/annotate/gradio_api/queue/join", json=body).status_code == 200
        assert _outcome(client, "doorstest1")["success"]
        studio.accounts.disable(ADA, "ann")
        for method, path in (
            ("POST", "/annotate/gradio_api/queue/join"),
            ("GET", "/annotate/gradio_api/queue/data?session_hash=doorstest1"),
            ("GET", "/annotate/gradio_api/heartbeat/doorstest1"),
            ("POST", "/annotate/gradio_api/cancel"),
        ):
            assert client.request(method, path, json=body).status_code == 401, path
    studio.accounts.enable(ADA, "ann")


def test_somebody_who_changes_roles_meets_the_other_door(
    client: TestClient, studio: Studio, cookies: dict[str, dict[str, str]]
) -> None:
    from studio.accounts import NewAccount

    studio.accounts.add(ADA, NewAccount("mia", Role.ANNOTATOR, PASSWORD))
    studio.accounts.change_role(ADA, "mia", Role.STAKEHOLDER)
    cookie = {"cookie": f"{COOKIE}={studio.accounts.log_in('mia', PASSWORD, '127.0.0.3')}"}
    assert client.get("/annotate/config", headers=cookie).status_code == 403
    assert client.get("/arena/config", headers=cookie).status_code == 200


def test_many_people_at_once_are_each_themselves(app: FastAPI, cookies: dict[str, dict[str, str]]) -> None:
    """Who asks belongs to the request and to nothing that requests share."""
    wrong: list[str] = []
    with serving(app) as port:

        def ask(name: str) -> None:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=cookies[name]) as client:
                for _ in range(20):
                    told = client.get("/accounts/me").json().get("name")
                    if told != name:
                        wrong.append(f"{name} was {told}")

        threads = [threading.Thread(target=ask, args=(name,)) for name in ("ada", "rosa", "sten", "ada")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def _outcome(client: httpx.Client, session: str) -> dict[str, object]:
    with client.stream("GET", "/annotate/gradio_api/queue/data", params={"session_hash": session}) as answer:
        for line in answer.iter_lines():
            if line.startswith("data:"):
                message: dict[str, object] = json.loads(line[5:])
                if message["msg"] == "process_completed":
                    return message
    raise AssertionError("the stream ended without an outcome")


def _filled(path: str) -> str:
    parts = (f"/{path.strip('/')}" + ("/" if path.endswith("/") and path != "/" else "")).split("/")
    return "/".join("x" if part.startswith("{") else part.partition("{")[0] or part for part in parts)
