"""The REST routes on a real studio: what they answer, and what they say where a request cannot be served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from studio.api import create_api
from studio.core import Settings
from studio.studio import Studio, open_studio

CSV = (
    "instruction,input,output\nWhat is a run?,,A training job.\nWhat is a vote?,,\nWhat is a side?,,A or B.\n"
)


@pytest.fixture
def studio(settings: Settings) -> Iterator[Studio]:
    opened = open_studio(settings)
    yield opened
    opened.close()


@pytest.fixture
def client(studio: Studio) -> Iterator[TestClient]:
    with TestClient(create_api(studio), base_url="http://127.0.0.1:7860") as opened:
        yield opened


@pytest.fixture
def rows(client: TestClient) -> dict[str, object]:
    file = {"file": ("rows.csv", CSV, "text/csv")}
    answer = client.post("/datasets/upload", files=file, data={"dataset": "rows", "validation_fraction": 0})
    assert answer.status_code == 201, answer.text
    found: dict[str, object] = answer.json()
    return found


def test_an_upload_becomes_a_version_and_its_bad_row_is_named(
    client: TestClient, rows: dict[str, object], studio: Studio
) -> None:
    assert rows["version"]["rows"] == {"train": 2, "validation": 0}
    assert rows["report"]["rejected"] == [
        {"row": 2, "field": "output", "why": rows["report"]["rejected"][0]["why"]}
    ]
    page = client.get("/datasets/rows@1/rows", params={"search": "VOTE"}).json()
    assert page["total"] == 0
    assert client.get("/datasets/rows/rows", params={"search": "run?"}).json()["total"] == 1
    assert b"What is a vote?" in client.get("/datasets/rows/rejects").content
    assert client.get("/datasets").json()[0]["name"] == "rows"
    assert not list((studio.settings.home / "uploads").iterdir())


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", ".hidden", "a\\..\\b.csv"])
def test_an_upload_stays_in_its_folder_whatever_its_name(
    client: TestClient, name: str, settings: Settings
) -> None:
    file = {"file": (name, CSV, "text/csv")}
    client.post("/datasets/upload", files=file, data={"dataset": "rows"})
    outside = [p for p in settings.home.parent.rglob("*") if p.name in {"passwd", "b.csv", ".hidden"}]
    assert not outside


def test_a_path_is_inspected_and_imported(client: TestClient, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(CSV)
    looked = client.post("/datasets/inspect", data={"path": str(path)}).json()
    assert (looked["format"], looked["sure"]) == ("alpaca", True)
    made = client.post("/datasets/import", json={"path": str(path), "dataset": "by-path"})
    assert made.status_code == 201
    missing = client.post("/datasets/import", json={"path": str(tmp_path / "no.csv"), "dataset": "x"})
    assert missing.status_code == 422
    assert "no.csv" in missing.json()["error"]["message"]


def test_every_error_of_a_recipe_is_said_at_once(client: TestClient, rows: dict[str, object]) -> None:
    recipe = {"model": "m", "dataset": "rows", "learning_rat": 1, "batch_size": 0}
    answer = client.post("/train/sft", json={"recipe": recipe})
    assert answer.status_code == 422
    said = "\n".join(answer.json()["error"]["details"])
    assert "learning_rat" in said
    assert "batch_size" in said


def test_what_is_not_there_is_404_with_a_sentence(client: TestClient) -> None:
    for path in (
        "/runs/run_x",
        "/jobs/job_x",
        "/datasets/none",
        "/battles/b",
        "/generations/g",
        "/deployments/d",
    ):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert answer.json()["error"]["message"]
    body = {"deployment": "none", "messages": [{"role": "user", "content": "hi"}]}
    assert client.post("/predict", json=body).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"battle_id": "b"},
        {"battle_id": "b", "outcome": "a", "generation_id": "g", "thumb": "up"},
        {"generation_id": "g", "thumb": "sideways"},
        {"battle_id": "b", "outcome": "a", "unknown": 1},
    ],
)
def test_feedback_is_a_vote_or_a_thumb(client: TestClient, body: dict[str, object]) -> None:
    answer = client.post("/feedback", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["details"]


def test_a_model_folder_that_is_none_is_refused_with_the_reason(client: TestClient, tmp_path: Path) -> None:
    answer = client.post("/models", json={"location": str(tmp_path)})
    assert answer.status_code == 422
    assert answer.json()["error"]["todo"]
    assert client.get("/models").json() == []


def test_a_base_is_registered_deployed_and_rolled_back(client: TestClient, tiny_model: Path) -> None:
    assert client.post("/models", json={"location": str(tiny_model), "name": "tiny"}).status_code == 201
    assert client.post("/models/aliases", json={"name": "best", "model": "tiny"}).status_code == 200
    one = {"name": "a", "model": "best"}
    two = {"name": "b", "model": "tiny@1", "weight": 3}
    assert client.post("/deploy", json={"name": "helper", "variants": [one]}).json()["revision"] == 1
    split = client.post("/deploy", json={"name": "helper", "variants": [one, two]}).json()
    assert [variant["share"] for variant in split["variants"]] == [0.25, 0.75]
    assert client.get("/experiments").json()[0]["deployment"] == "helper"
    back = client.post("/deployments/helper/rollback", json={"revision": 1}).json()
    assert (back["revision"], len(back["variants"])) == (3, 1)
    assert client.post("/deployments/helper/retire").json()["state"] == "retired"
    assert [found["revision"] for found in client.get("/deployments/helper/history").json()]
    assert client.get("/models/tiny/ancestry").json()[0]["reference"] == "tiny@1"


def test_prometheus_reads_the_database(client: TestClient, rows: dict[str, object]) -> None:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "tandem_runs" in answer.text
    assert "tandem_votes" in answer.text


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/generations", {"limit": 10**30}),
        ("/datasets/rows/rows", {"offset": 10**30}),
        ("/runs/x/points", {"cursor": 10**40}),
        ("/jobs", {"limit": -5}),
        ("/runs/x/log", {"offset": 10**30}),
    ],
)
def test_absurd_numbers_are_no_server_error(
    client: TestClient, rows: dict[str, object], path: str, query: dict[str, int]
) -> None:
    assert client.get(path, params=query).status_code < 500


def test_a_preference_build_without_votes_says_what_is_missing(client: TestClient) -> None:
    answer = client.post("/datasets/preferences", json={"dataset": "prefs"})
    assert answer.status_code == 422
    assert "pair" in answer.json()["error"]["message"]
