"""The annotation routes, as people of every role and by tokens."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from studio.accounts import Scope
from studio.annotation import ProjectState
from studio.core import LOCAL_ADMIN, Actor, Role
from studio.datasets import NewVersion, SchemaKind, Split
from studio.studio import Studio
from tests.unit.api.conftest import As, token_of

ROSA = Actor("rosa", Role.RESEARCHER)


@pytest.fixture
def pairs(studio: Studio) -> str:
    rows = [
        {
            "prompt": [{"role": "user", "content": f"Question {n}?"}],
            "chosen": [{"role": "assistant", "content": f"First {n}."}],
            "rejected": [{"role": "assistant", "content": f"Second {n}."}],
        }
        for n in range(4)
    ]
    sides = {Split.TRAIN: rows, Split.VALIDATION: []}
    return studio.datasets.create(ROSA, NewVersion("pairs", SchemaKind.PREFERENCE, sides, ())).id


def _gold(studio: Studio) -> str:
    rows = [
        {
            "prompt": [{"role": "user", "content": f"Known {n}?"}],
            "chosen": [{"role": "assistant", "content": "Right."}],
            "rejected": [{"role": "assistant", "content": "Wrong."}],
        }
        for n in range(4)
    ]
    new = NewVersion("known", SchemaKind.PREFERENCE, {Split.VALIDATION: rows}, ())
    return studio.datasets.create(ROSA, new).id


def _open(client: TestClient, dataset: str, **asked: Any) -> str:
    answer = client.post("/annotation", json={"dataset": dataset, "name": "Round", **asked})
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["id"]
    return found


def test_a_project_is_labelled_from_end_to_end(as_: As, pairs: str) -> None:
    rosa, ann = as_("rosa"), as_("ann")
    key = _open(rosa, pairs, guideline="Prefer what is true.")
    base = f"/annotation/{key}"
    assert [one["id"] for one in ann.get("/annotation").json()] == [key]
    items = ann.get(f"{base}/next", params={"count": 2}).json()
    held = [item["id"] for item in items]
    more = ann.get(f"{base}/next", params={"count": 2, "held": held})
    assert more.headers["cache-control"] == "no-store"
    assert not {item["id"] for item in more.json()} & set(held)
    assert items[0]["leased_until"] > 0
    stored = ann.post(f"{base}/labels", json={"item_id": held[0], "nonce": "n1", "verdict": "a"}).json()
    assert (stored["label"]["verdict"], stored["progress"]["labelled"]) == ("a", 1)
    # Whether it counted is not told to who gave it, but to the lead.
    assert (stored["progress"]["done"], stored["progress"]["left"]) == (0, 4)
    assert rosa.get(f"{base}/progress").json()["left"] == 3
    skip = {"item_id": held[1], "nonce": "n2", "verdict": "skip", "reason": "unsure"}
    assert ann.post(f"{base}/labels", json=skip).status_code == 201
    assert [one["reason"] for one in ann.get(f"{base}/skipped").json()] == ["unsure"]
    assert [one["verdict"] for one in ann.get(f"{base}/labels").json()] == ["skip", "a"]
    taken = ann.post(f"{base}/undo", json={"nonce": "u1"}).json()
    assert (taken["label"]["item_id"], taken["label"]["withdrawn"]) == (held[1], True)
    assert ann.get(f"{base}/items/{held[1]}").json()["id"] == held[1]
    assert ann.post(f"{base}/renew", json={"items": held}).json() == [held[1]]
    assert ann.post(f"{base}/release", json={"items": held}).status_code == 204
    assert ann.get(f"{base}/progress").json()["available"] == 3
    assert ann.get(f"{base}/items/{held[0]}/others").json() == []
    assert ann.get(f"{base}/guidelines/1").json() == {"version": 1, "text": "Prefer what is true."}


def test_annotators_are_not_told_how_they_are_checked(as_: As, pairs: str, studio: Studio) -> None:
    rosa, ann = as_("rosa"), as_("ann")
    key = _open(rosa, pairs, gold=_gold(studio), gold_every=3)
    assert rosa.get(f"/annotation/{key}").json()["quality"]["gold_every"] == 3
    assert ann.get(f"/annotation/{key}").json()["quality"] is None
    for item in ann.get(f"/annotation/{key}/next", params={"count": 50}).json():
        assert set(item) == {"id", "prompt", "a", "b", "leased_until", "suggestion"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "script"},
    ],
)
def test_no_link_or_image_takes_a_lease(as_: As, pairs: str, headers: dict[str, str], studio: Studio) -> None:
    key = _open(as_("rosa"), pairs)
    ann = as_("ann")
    item = studio.annotation.store.items(key)[0].id
    for path in ("next", f"items/{item}", f"items/{item}/others"):
        refused = ann.get(f"/annotation/{key}/{path}", headers=headers)
        assert refused.status_code == 403, path
        assert "Question" not in refused.text
    assert studio.database.rows("SELECT * FROM places") == []
    script = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
    assert len(ann.get(f"/annotation/{key}/next", headers=script).json()) == 3
    assert ann.get(f"/annotation/{key}/items/{item}").status_code == 200


def test_what_went_wrong_is_told_to_leads(as_: As, pairs: str, studio: Studio) -> None:
    rosa, ann = as_("rosa"), as_("ann")
    key = _open(rosa, pairs)
    studio.annotation.store.set_state(key, ProjectState.FAILED, "Broken at /secret.")
    assert rosa.get(f"/annotation/{key}").json()["problem"] == "Broken at /secret."
    for answer in (ann.get("/annotation"), ann.get(f"/annotation/{key}"), ann.get(f"/annotation/{key}/next")):
        assert "secret" not in answer.text
        assert "Its lead has been told." in answer.text


def test_a_lead_changes_a_project_and_nobody_else(as_: As, pairs: str) -> None:
    rosa, ann = as_("rosa"), as_("ann")
    key = _open(rosa, pairs)
    change = {"name": "Second", "overlap": 3, "people": ["ann"], "roles": []}
    assert ann.patch(f"/annotation/{key}", json=change).status_code == 403
    changed = rosa.patch(f"/annotation/{key}", json=change).json()
    assert (changed["name"], changed["overlap"], changed["quality"]["people"]) == ("Second", 3, ["ann"])
    assert ann.get(f"/annotation/{key}/next").status_code == 200
    assert rosa.get(f"/annotation/{key}/next").status_code == 403
    rosa.patch(f"/annotation/{key}", json={"state": "closed"})
    assert ann.get(f"/annotation/{key}/next").status_code == 409
    assert rosa.patch(f"/annotation/{key}", json={"target": 3}).status_code == 422


def test_who_may_not(as_: As, pairs: str) -> None:
    key = _open(as_("rosa"), pairs)
    sten, ann = as_("sten"), as_("ann")
    for path in ("", f"/{key}", f"/{key}/next", f"/{key}/progress", f"/{key}/labels", f"/{key}/skipped"):
        assert sten.get(f"/annotation{path}").status_code == 403, path
    assert ann.post("/annotation", json={"dataset": pairs}).status_code == 403
    assert as_("").get("/annotation").status_code == 401


def test_a_token_needs_its_scope(client: TestClient, studio: Studio, as_: As, pairs: str) -> None:
    key = _open(as_("rosa"), pairs)
    reads, labels = token_of(studio, "ann"), token_of(studio, "ann", Scope.LABEL)
    assert client.get(f"/annotation/{key}", headers=reads).status_code == 200
    # Asking for items leases them, so reading alone is not enough.
    assert client.get(f"/annotation/{key}/next", headers=reads).status_code == 403
    item = client.get(f"/annotation/{key}/next", headers=labels).json()[0]["id"]
    body = {"item_id": item, "nonce": "n", "verdict": "tie"}
    assert client.post(f"/annotation/{key}/labels", json=body, headers=reads).status_code == 403
    assert client.post(f"/annotation/{key}/labels", json=body, headers=labels).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        {"nonce": "n", "verdict": "a"},
        {"item_id": "item_x", "verdict": "a"},
        {"item_id": "item_x", "nonce": "n", "verdict": "better"},
        {"item_id": "item_x", "nonce": "n", "verdict": "a", "active_seconds": -1},
        {"item_id": "item_x", "nonce": "n", "verdict": "a", "extra": 1},
        {"item_id": "\ud800", "nonce": "n", "verdict": "a"},
    ],
)
def test_labels_that_are_none(as_: As, pairs: str, body: dict[str, Any]) -> None:
    import json

    key = _open(as_("rosa"), pairs)
    answer = as_("ann").post(
        f"/annotation/{key}/labels", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422


def test_a_project_names_those_who_can_log_in(studio: Studio, as_: As, pairs: str) -> None:
    rosa = as_("rosa")
    answer = rosa.post("/annotation", json={"dataset": pairs, "name": "Typo", "people": ["ann", "anna"]})
    assert answer.status_code == 422
    assert "anna" in answer.json()["error"]["message"]
    key = _open(rosa, pairs)
    studio.accounts.disable(LOCAL_ADMIN, "ann")
    assert rosa.patch(f"/annotation/{key}", json={"people": ["ann"]}).status_code == 422


def test_who_can_decide_is_asked_of_the_accounts(studio: Studio, as_: As) -> None:
    as_("rosa")
    decide = studio.review._deciders
    assert decide() == {"ada", "rosa"}
    studio.accounts.disable(LOCAL_ADMIN, "rosa")
    assert decide() == {"ada"}
