"""Every route says whom it serves, and that is whom it serves: by role, and by the scopes of a token."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from studio.accounts import Scope
from studio.api import app as api
from studio.api.context import Allowed, open_to_all
from studio.core import Role
from studio.studio import Studio
from tests.unit.api.conftest import PEOPLE, As, token_of

#: What serves people who are not logged in; a new one is a decision, so it is written down here.
OPEN = {
    ("GET", "/"),
    ("GET", "/health"),
    ("GET", "/favicon.ico"),
    ("GET", "/assets/plotly.min.js"),
    ("GET", "/assets/door.css"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("GET", "/logout"),
    ("POST", "/logout"),
    ("GET", "/setup"),
    ("POST", "/setup"),
    ("GET", "/oidc/login"),
    ("GET", "/oidc/callback"),
}


def routes() -> Iterator[tuple[str, str, list[object]]]:
    """Method, path and what is declared, of every route of every router."""
    for module in api._ROUTERS:
        router: APIRouter = module.router
        for route in router.routes:
            assert isinstance(route, APIRoute)
            declared = [d.dependency for d in (*router.dependencies, *route.dependencies)]
            marks = [d for d in declared if isinstance(d, Allowed) or d is open_to_all]
            for method in route.methods:
                yield method, route.path, marks


ROUTES = sorted({(method, path) for method, path, _ in routes()})
DECLARED = {(method, path): marks for method, path, marks in routes()}


def allowed(route: tuple[str, str]) -> Allowed | None:
    """What a route declares; None for one that is open."""
    mark = DECLARED[route][0]
    return mark if isinstance(mark, Allowed) else None


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_every_route_says_whom_it_serves_and_which_scope_it_needs(route: tuple[str, str]) -> None:
    marks = DECLARED[route]
    assert marks, f"{route} declares nobody: dependencies=[allow(..., scope=...)]"
    assert (open_to_all in marks) == (route in OPEN)
    mark = allowed(route)
    if mark is not None:
        # A GET may ask for more: the next items of a project are lent to whoever asks.
        assert route[0] == "GET" or mark.scope is not Scope.READ, "READ changes nothing"


def test_no_route_stands_outside_the_routers(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    told = {(m.upper(), path) for path, methods in app.openapi()["paths"].items() for m in methods}
    assert told <= set(ROUTES)


@pytest.mark.parametrize("name", ["", *PEOPLE])
def test_each_role_gets_as_far_as_its_routes_and_no_further(as_: As, name: str) -> None:
    client = as_(name)
    for route in ROUTES:
        mark = allowed(route)
        if mark is None or _ends_the_session(route):
            continue
        method, path = route
        answer = client.request(method, _filled(path))
        if not name:
            assert answer.status_code == 401, route
        elif PEOPLE[name] is not Role.ADMIN and PEOPLE[name] not in mark.roles:
            assert answer.status_code == 403, route
        else:
            assert answer.status_code not in {401, 405, 500}, route


@pytest.mark.parametrize("scope", Scope)
def test_a_token_gets_as_far_as_its_scopes(
    client: TestClient, studio: Studio, people: None, scope: Scope
) -> None:
    token = token_of(studio, "ada", scope)
    for route in ROUTES:
        mark = allowed(route)
        if mark is None:
            continue
        answer = client.request(route[0], _filled(route[1]), headers=token)
        if mark.scope is Scope.READ or mark.scope is scope:
            assert answer.status_code not in {401, 403, 500}, route
        else:
            assert answer.status_code == 403, route


def test_a_token_does_no_more_than_its_owner_may(client: TestClient, studio: Studio, people: None) -> None:
    scopes = set(Scope) - {Scope.ADMIN}
    token = token_of(studio, "ann", *scopes)
    assert client.get("/accounts", headers=token).status_code == 403
    assert client.post("/deploy", headers=token, json={}).status_code == 403
    assert client.get("/accounts/me", headers=token).json()["scopes"] == sorted(scopes)


def _filled(path: str) -> str:
    return "/".join("none-such" if part.startswith("{") else part for part in path.split("/"))


def _ends_the_session(route: tuple[str, str]) -> bool:
    return route[1] in {"/login", "/logout"}
