"""Accounts, tokens and the audit log over HTTP."""

from __future__ import annotations

from fastapi.testclient import TestClient

from studio.studio import Studio
from tests.unit.api.conftest import PASSWORD, As, token_of

NEW = {"name": "bea", "role": "annotator", "password": PASSWORD, "full_name": "Bea <b>"}


def test_an_admin_adds_changes_and_erases_and_each_is_in_the_log(as_: As) -> None:
    ada = as_("ada")
    assert ada.post("/accounts", json=NEW).status_code == 201
    assert "password" not in ada.get("/accounts/bea").text
    assert ada.post("/accounts", json=NEW).status_code == 409
    assert ada.post("/accounts/bea/role", json={"role": "researcher"}).json()["role"] == "researcher"
    assert ada.post("/accounts/bea/disable").json()["disabled"]
    assert not ada.post("/accounts/bea/enable").json()["disabled"]
    assert ada.post("/accounts/bea/password", json={"password": "another four words"}).status_code == 204
    pseudonym = ada.delete("/accounts/bea").json()["pseudonym"]
    assert pseudonym.startswith("erased-")
    assert ada.get("/accounts/bea").status_code == 404
    told = ada.get("/audit", params={"kind": "account", "object_id": pseudonym}).json()
    verbs = [entry["verb"] for entry in told]
    assert (verbs[0], verbs[-1]) == ("erased", "added")
    assert {"changed the role of", "disabled", "enabled", "changed the password of"} <= set(verbs)
    assert "bea" not in ada.get("/audit").text


def test_the_log_is_read_page_by_page(as_: As) -> None:
    ada = as_("ada")
    first = ada.get("/audit", params={"limit": 2}).json()
    second = ada.get("/audit", params={"limit": 2, "before": first[-1]["id"]}).json()
    assert [entry["id"] for entry in (*first, *second)] == sorted(
        (entry["id"] for entry in (*first, *second)), reverse=True
    )
    assert len({entry["id"] for entry in (*first, *second)}) == 4


def test_the_last_admin_stays(as_: As) -> None:
    ada = as_("ada")
    assert ada.post("/accounts/ada/disable").status_code == 409
    assert ada.delete("/accounts/ada").status_code == 409


def test_everybody_knows_themselves_and_nobody_else(as_: As) -> None:
    ann = as_("ann")
    assert ann.get("/accounts/me").json()["account"]["role"] == "annotator"
    assert ann.get("/accounts/ann").status_code == 200
    assert ann.get("/accounts/rosa").status_code == 403
    assert ann.get("/tokens", params={"owner": "rosa"}).status_code == 403


def test_ones_own_password_needs_the_current_one_and_ends_the_session(as_: As) -> None:
    ann = as_("ann")
    new = {"password": "another four words"}
    assert ann.post("/accounts/rosa/password", json=new).status_code == 403
    assert ann.post("/accounts/ann/password", json=new).status_code == 401
    assert ann.post("/accounts/ann/password", json={**new, "current": PASSWORD}).status_code == 204
    assert ann.get("/accounts/me").status_code == 401


def test_a_token_is_shown_once_works_and_ends(as_: As) -> None:
    ann, nobody = as_("ann"), as_("")
    made = ann.post("/tokens", json={"label": "script", "scopes": ["label"], "expires_days": 7}).json()
    header = {"authorization": f"Bearer {made['secret']}"}
    assert made["token"]["scopes"] == ["label", "read"]
    assert nobody.get("/accounts/me", headers=header).json()["name"] == "ann"
    assert made["secret"] not in ann.get("/tokens").text
    assert ann.delete(f"/tokens/{made['token']['id']}").json()["revoked_at"]
    assert nobody.get("/accounts/me", headers=header).status_code == 401


def test_a_token_makes_no_token_and_sets_no_password(
    client: TestClient, studio: Studio, people: None
) -> None:
    from studio.accounts import Scope

    token = token_of(studio, "ada", *Scope)
    assert client.post("/tokens", json={"label": "x"}, headers=token).status_code == 403
    answer = client.post("/accounts/ann/password", json={"password": "another four words"}, headers=token)
    assert answer.status_code == 403


def test_somebody_elses_token_is_not_there(as_: As) -> None:
    made = as_("rosa").post("/tokens", json={"label": "script"}).json()["token"]
    assert as_("ann").delete(f"/tokens/{made['id']}").status_code == 404
    assert as_("ada").delete(f"/tokens/{made['id']}").status_code == 200


def test_while_there_are_no_accounts_one_is_the_local_admin(client: TestClient) -> None:
    assert client.get("/accounts/me").json() == {
        "name": "local",
        "role": "admin",
        "scopes": None,
        "account": None,
    }
    assert client.post("/accounts", json=NEW).status_code == 409
    assert client.post("/tokens", json={"label": "x"}).status_code == 409
    assert client.get("/accounts").json() == []


def test_health_tells_strangers_no_more_than_that_it_is_up(as_: As) -> None:
    assert as_("").get("/health").json() == as_("ann").get("/health").json()
    assert as_("").get("/health").json()["status"] == "ok"
