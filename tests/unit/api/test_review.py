"""The review routes, each as people of every role."""

from __future__ import annotations

import json

import pytest
from fastapi.testclient import TestClient

from studio.annotation import NewLabel, NewProject, Project, Verdict
from studio.core import Actor, Role, new_id
from studio.datasets import NewVersion, SchemaKind, Split
from studio.studio import Studio
from tests.unit.api.conftest import As

ROSA = Actor("rosa", Role.RESEARCHER)
ANN = Actor("ann", Role.ANNOTATOR)


@pytest.fixture
def project(studio: Studio) -> Project:
    rows = [
        {
            "prompt": [{"role": "user", "content": f"Question {n}?"}],
            "chosen": [{"role": "assistant", "content": f"First {n}."}],
            "rejected": [{"role": "assistant", "content": f"Second {n}."}],
        }
        for n in range(4)
    ]
    sides = {Split.TRAIN: rows, Split.VALIDATION: []}
    version = studio.datasets.create(ROSA, NewVersion("pairs", SchemaKind.PREFERENCE, sides, ()))
    made = studio.annotation.open_project(ROSA, NewProject("Round", dataset=version.id, overlap=2))
    for who in (ANN, Actor("bob", Role.ANNOTATOR)):
        for stored in studio.annotation.store.items(made.id):
            item = studio.annotation.item(who, made.id, stored.id)
            prefers_first = who is ANN or stored.position < 2
            on_a = item.a == stored.first
            verdict = Verdict.A if prefers_first == on_a else Verdict.B
            studio.annotation.label(who, NewLabel(made.id, item.id, new_id("nonce"), verdict))
    return made


def test_a_lead_reviews_and_decides(as_: As, project: Project) -> None:
    rosa = as_("rosa")
    base = f"/annotation/{project.id}"
    board = rosa.get(f"{base}/review").json()
    assert (board["labels"], board["divided"], board["people"][0]["name"]) == (8, 2, "ann")
    assert board["alpha"]["count"] == 4
    inbox = rosa.get(f"{base}/review/inbox", params={"limit": 1}).json()
    assert len(inbox) == 1
    body = {"item_id": inbox[0]["item_id"], "nonce": "n1", "verdict": "a", "comment": "clear"}
    made = rosa.post(f"{base}/review/adjudications", json=body)
    assert made.status_code == 201
    assert made.json()["standing"] == ("first" if inbox[0]["first_side"] == "a" else "second")
    assert rosa.post(f"{base}/review/adjudications", json=body).json() == made.json()
    assert rosa.get(f"{base}/review/adjudications").json() == [made.json()]
    agreed = {one["item_id"]: one for one in rosa.get(f"{base}/review/consensus").json()}
    assert agreed[inbox[0]["item_id"]]["adjudication_id"] == made.json()["id"]


def test_exports_are_downloads(as_: As, project: Project) -> None:
    rosa = as_("rosa")
    for form, media in (("jsonl", "application/jsonl"), ("csv", "text/csv"), ("parquet", "parquet")):
        found = rosa.get(f"/annotation/{project.id}/export/labels", params={"format": form})
        assert found.status_code == 200
        assert media in found.headers["content-type"]
        assert f'-labels.{form}"' in found.headers["content-disposition"]
        if form == "jsonl":
            assert len([json.loads(line) for line in found.text.splitlines()]) == 8
    for path in ("export/votes", "export/labels?format=xlsx"):
        assert rosa.get(f"/annotation/{project.id}/{path}").status_code == 422


def test_an_export_of_preferences_leaves_protected_prompts_out_if_asked_to(
    as_: As, project: Project, studio: Studio
) -> None:
    studio.datasets.protect(ROSA, project.dataset_version_id or "", Split.TRAIN, "gold")
    address = f"/annotation/{project.id}/export/preferences"
    rosa = as_("rosa")
    refused = rosa.get(address)
    assert refused.status_code == 422
    assert "2 prompts of Round would be trained on" in refused.text
    left = rosa.get(address, params={"leave_out_protected": True})
    assert left.status_code == 422
    assert "There are no preferences" in left.text
    assert rosa.get(f"/annotation/{project.id}/export/consensus").status_code == 200


def test_a_preference_version_is_made(as_: As, project: Project) -> None:
    rosa = as_("rosa")
    made = rosa.post(f"/annotation/{project.id}/export/preferences", json={"dataset": "judged"})
    assert made.status_code == 201
    assert sum(made.json()["rows"].values()) == 2
    wrong = {"dataset": "judged", "minimum_probability": 2}
    assert rosa.post(f"/annotation/{project.id}/export/preferences", json=wrong).status_code == 422


def test_labels_are_uploaded(as_: As, project: Project, studio: Studio) -> None:
    row = {"prompt": "Question 0?", "chosen": "First 0.", "rejected": "Second 0.", "annotator": "zoe"}
    text = f"{json.dumps(row)}\n{json.dumps({**row, 'prompt': 'Other?'})}\n"
    found = as_("rosa").post(
        f"/annotation/{project.id}/import", files={"file": ("../../etc/x.jsonl", text.encode())}
    )
    assert found.status_code == 201
    assert found.json()["added"] == 1
    assert [(one["row"], one["field"]) for one in found.json()["rejected"]] == [(2, "prompt")]
    assert list((studio.settings.home / "uploads").glob("*")) == []
    bad = as_("rosa").post(f"/annotation/{project.id}/import", files={"file": ("x.exe", b"MZ")})
    assert bad.status_code == 422


CALLS = (
    ("GET", "review", None),
    ("GET", "review/consensus", None),
    ("GET", "review/inbox", None),
    ("GET", "review/adjudications", None),
    ("POST", "review/adjudications", {"item_id": "item_x", "nonce": "n", "verdict": "a"}),
    ("GET", "export/labels", None),
    ("POST", "export/preferences", {"dataset": "mine"}),
)


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
@pytest.mark.parametrize(("name", "status"), [("", 401), ("ann", 403), ("sten", 403)])
def test_others_are_refused(
    as_: As, project: Project, method: str, path: str, body: dict | None, name: str, status: int
) -> None:
    client: TestClient = as_(name)
    found = client.request(method, f"/annotation/{project.id}/{path}", json=body)
    assert found.status_code == status
    assert "Question" not in found.text


@pytest.mark.parametrize(("name", "status"), [("", 401), ("ann", 403), ("sten", 403)])
def test_others_upload_nothing(as_: As, project: Project, name: str, status: int) -> None:
    files = {"file": ("x.jsonl", b"{}")}
    assert as_(name).post(f"/annotation/{project.id}/import", files=files).status_code == status
