"""Everything that can be called, called as everybody: each event of each door and each REST route.

An event is called in both ways that Gradio offers: by its name over plain HTTP, and by its number through
the queue, as a browser does. Bodies are empty, so that what is let in changes nothing: a handler that is
reached fails at its missing inputs, and one that is refused says which role it needs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Mount

from pages.app import DOORS
from pages.roles import ROLES
from studio.api import COOKIE
from studio.api import app as api
from studio.api.context import Allowed, open_to_all
from studio.api.doors import DOORS as ENTRANCES
from studio.core import LOCAL_ADMIN, Role
from studio.studio import Studio
from tests.unit.api.conftest import ADDRESS, PASSWORD, PEOPLE

REFUSED = "this needs"
DOOR_NAMES = [door.name for door in DOORS]
#: These end the session of whoever calls them, or begin one; ``tests/unit/api/test_login.py`` is about them.
AT_THE_DOOR = {"/login", "/logout", "/setup", "/oidc/login", "/oidc/callback"}


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url=ADDRESS, follow_redirects=False, raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def keys(studio: Studio) -> dict[str, dict[str, str]]:
    """The Cookie header of each person; empty for nobody."""
    made = {name: studio.accounts.log_in(name, PASSWORD, "127.0.0.1") for name in PEOPLE}
    return {"": {}} | {name: {"cookie": f"{COOKIE}={value}"} for name, value in made.items()}


@pytest.fixture(scope="module")
def events(client: TestClient, keys: dict[str, dict[str, str]]) -> dict[str, list[dict[str, Any]]]:
    """What each door tells the browser about its events."""
    found = {}
    for name in DOOR_NAMES:
        config = client.get(f"/{name}/config", headers=keys["ada"]).json()
        fields = {one["id"]: _nothing(one) for one in config["components"]}
        found[name] = [event | {"empty": _emptied(event, fields)} for event in config["dependencies"]]
    return found


@pytest.fixture(autouse=True)
def untouched(studio: Studio) -> Iterator[None]:
    """Whatever was called, nothing has changed afterwards."""
    before = _state(studio)
    yield
    assert _state(studio) == before


def _state(studio: Studio) -> list[object]:
    people = [(one.name, one.role, one.disabled) for one in studio.accounts.list(LOCAL_ADMIN)]
    tokens = [studio.accounts.tokens(LOCAL_ADMIN, owner=name) for name in PEOPLE]
    rooms = [
        studio.jobs.list(LOCAL_ADMIN),
        studio.datasets.list(LOCAL_ADMIN),
        studio.registry.list(LOCAL_ADMIN),
        studio.training.list(LOCAL_ADMIN),
        studio.serving.deployments(LOCAL_ADMIN),
        studio.annotation.projects(LOCAL_ADMIN),
    ]
    return [people, tokens, *rooms]


def may_enter(name: str, door: str) -> bool:
    return bool(name) and (PEOPLE[name] is Role.ADMIN or PEOPLE[name] in ENTRANCES[door])


def may_call(name: str, event: str) -> bool:
    return PEOPLE[name] is Role.ADMIN or PEOPLE[name] in ROLES[event]


@pytest.mark.parametrize("door", DOOR_NAMES)
def test_every_event_declares_its_roles(events: dict[str, list[dict[str, Any]]], door: str) -> None:
    names = [event["api_name"] for event in events[door]]
    assert len(names) > 5
    assert set(names) <= set(ROLES)
    assert len(set(names)) == len(names), "two events of one name: only the first could be called by it"


@pytest.mark.parametrize("name", ["", *PEOPLE])
@pytest.mark.parametrize("door", DOOR_NAMES)
def test_an_event_called_by_name_answers_its_roles(
    client: TestClient,
    keys: dict[str, dict[str, str]],
    events: dict[str, list[dict[str, Any]]],
    door: str,
    name: str,
) -> None:
    for event in _callable(events[door]):
        body = {"data": event["empty"], "session_hash": f"walk{name}"}
        path = f"/{door}/gradio_api/api/{event['api_name']}"
        answer = client.post(path, json=body, headers=keys[name])
        if not may_enter(name, door):
            assert answer.status_code == (403 if name else 401), event["api_name"]
        else:
            assert answer.status_code in {200, 500}, (event["api_name"], answer.text)
            assert (REFUSED in answer.text) is not may_call(name, event["api_name"]), event["api_name"]


@pytest.mark.parametrize("name", ["", *PEOPLE])
@pytest.mark.parametrize("door", DOOR_NAMES)
def test_an_event_called_by_number_answers_its_roles(
    client: TestClient,
    keys: dict[str, dict[str, str]],
    events: dict[str, list[dict[str, Any]]],
    door: str,
    name: str,
) -> None:
    session = f"walk{door}{name}"
    asked = {}
    for event in _callable(events[door]):
        body = {
            "data": event["empty"],
            "fn_index": event["id"],
            "session_hash": session,
            "trigger_id": None,
        }
        answer = client.post(f"/{door}/gradio_api/queue/join", json=body, headers=keys[name])
        if may_enter(name, door):
            assert answer.status_code == 200, answer.text
            asked[answer.json()["event_id"]] = event["api_name"]
        else:
            assert answer.status_code == (403 if name else 401), event["api_name"]
    if asked:
        said = _answers(client, door, session, keys[name])
        assert set(said) == set(asked)
        for event_id, event_name in asked.items():
            assert (REFUSED in said[event_id]) is not may_call(name, event_name), event_name


def test_a_session_of_one_person_does_not_carry_the_events_of_another(
    client: TestClient, keys: dict[str, dict[str, str]], events: dict[str, list[dict[str, Any]]]
) -> None:
    """Gradio's ``session_hash`` is no identity: the role is that of the cookie of each request."""
    [event] = [one for one in events["studio"] if one["api_name"] == "people"]
    body = {"data": [], "session_hash": "shared"}
    path = f"/studio/gradio_api/api/{event['api_name']}"
    assert REFUSED not in client.post(path, json=body, headers=keys["ada"]).text
    assert REFUSED in client.post(path, json=body, headers=keys["rosa"]).text


def _callable(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those with a handler on the server; the others only open and shut something in the browser."""
    return [event for event in events if event["backend_fn"]]


def _nothing(component: dict[str, Any]) -> list[str] | None:
    """What stands in a field that nobody filled, as Gradio takes it."""
    many = component["type"] == "checkboxgroup" or component["props"].get("multiselect")
    return [] if many else None


def _emptied(event: dict[str, Any], fields: dict[int, list[str] | None]) -> list[list[str] | None]:
    return [fields[number] for number in event["inputs"]]


def _answers(client: TestClient, door: str, session: str, key: dict[str, str]) -> dict[str, str]:
    """What the queue said at the end of each event."""
    path = f"/{door}/gradio_api/queue/data"
    stream = client.get(path, params={"session_hash": session}, headers=key).text
    messages = [json.loads(line[5:]) for line in stream.splitlines() if line.startswith("data:")]
    return {m["event_id"]: json.dumps(m["output"]) for m in messages if m["msg"] == "process_completed"}


def routes() -> Iterator[tuple[str, str, list[Any]]]:
    """Method, path and what is declared, of every REST route."""
    for module in api._ROUTERS:
        for route in module.router.routes:
            assert isinstance(route, APIRoute)
            declared = [d.dependency for d in (*module.router.dependencies, *route.dependencies)]
            marks = [mark for mark in declared if isinstance(mark, Allowed) or mark is open_to_all]
            yield from ((method, route.path, list(dict.fromkeys(marks))) for method in route.methods)


#: What no router of ``studio.api`` brings: the description of the REST interface, and what is mounted whole.
DESCRIPTION = {"/openapi.json", "/docs", "/docs/oauth2-redirect"}
MOUNTED = {"/static-offline-docs", *(door.path for door in DOORS)}


def strays(app: FastAPI) -> set[str]:
    """What the application answers that the walk above does not know, also where no description names it."""
    walked = {id(module.router) for module in api._ROUTERS}
    found = set()
    for route in app.routes:
        if id(getattr(route, "original_router", None)) in walked:
            continue
        path = getattr(route, "path", repr(route))
        if path not in (MOUNTED if isinstance(route, Mount) else DESCRIPTION):
            found.add(path)
    return found


def test_nothing_is_answered_that_nobody_walks(app: FastAPI) -> None:
    assert strays(app) == set()


def test_a_route_that_no_description_names_is_seen() -> None:
    side = FastAPI(openapi_url=None)
    side.add_api_route("/hidden", lambda: "", include_in_schema=False)
    side.mount("/aside", FastAPI())
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/within", lambda: "")
    side.include_router(router)
    assert strays(side) >= {"/hidden", "/aside"}
    assert len(strays(side)) == 3


def test_every_route_declares_its_roles(app: FastAPI) -> None:
    declared = {(method, path): marks for method, path, marks in routes()}
    assert all(len(marks) == 1 for marks in declared.values())
    told = {(m.upper(), path) for path, methods in app.openapi()["paths"].items() for m in methods}
    assert told <= set(declared)


@pytest.mark.parametrize("name", ["", *PEOPLE])
def test_a_route_answers_its_roles(client: TestClient, keys: dict[str, dict[str, str]], name: str) -> None:
    for method, path, [mark] in routes():
        if path in AT_THE_DOOR:
            continue
        filled = "/".join("none-such" if part.startswith("{") else part for part in path.split("/"))
        answer = client.request(method, filled, headers=keys[name], json=None if method == "GET" else {})
        if mark is open_to_all:
            assert answer.status_code < 400, path
        elif not name:
            assert answer.status_code == 401, (method, path)
        elif PEOPLE[name] is Role.ADMIN or PEOPLE[name] in mark.roles:
            assert answer.status_code not in {401, 405, 500}, (method, path, answer.text)
            assert REFUSED not in answer.text, (method, path)
        else:
            assert answer.status_code == 403, (method, path)
            # What stands under a door of the browser's is shut by the door already, in its own words.
            assert path.startswith("/studio/") or REFUSED in answer.text, (method, path)


def test_what_explains_the_rest_interface_is_for_those_who_are_logged_in(
    client: TestClient, keys: dict[str, dict[str, str]]
) -> None:
    for path in ("/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=keys["ann"]).status_code == 200


def test_the_walk_knows_the_way_in() -> None:
    """A door that nobody walks would be one that nobody checks."""
    assert set(DOOR_NAMES) == set(ENTRANCES)
    assert {door.path for door in DOORS} == {f"/{name}" for name in ENTRANCES}
