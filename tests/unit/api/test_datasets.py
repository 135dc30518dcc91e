"""Imports over REST: small files at once, large ones by a job that the request does not wait for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from studio.api import create_api
from studio.core import LOCAL_ADMIN, Settings
from studio.datasets import DatasetService
from studio.studio import Studio, open_studio

GOOD = [{"instruction": f"question {n}", "output": f"answer {n}"} for n in range(4)]
BAD = [{"instruction": f"question {n}", "output": ""} for n in range(30)]


def lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def studio(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    """Every file is large here, nothing ticks by itself, and no request may wait for an import."""
    opened = open_studio(settings.model_copy(update={"import_inline_mb": 0}))
    monkeypatch.delattr(DatasetService, "import_file")
    yield opened
    opened.close()


@pytest.fixture
def client(studio: Studio) -> Iterator[TestClient]:
    with TestClient(create_api(studio), base_url="http://127.0.0.1:7860") as opened:
        yield opened


def uploads(studio: Studio) -> list[Path]:
    return [path for path in (studio.settings.home / "uploads").rglob("*") if path.is_file()]


def finish(studio: Studio, job_id: str) -> None:
    deadline = time.monotonic() + 60
    while not studio.jobs.get(LOCAL_ADMIN, job_id).state.final and time.monotonic() < deadline:
        studio.tick()
        time.sleep(0.05)


def test_a_large_path_is_a_job_and_then_a_version(studio: Studio, client: TestClient, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(lines([*GOOD, BAD[0]]))
    begun = client.post("/datasets/import", json={"path": str(path), "dataset": "help"})
    assert begun.status_code == 202
    found = begun.json()
    assert (found["version"], found["report"], found["job"]["kind"]) == (None, None, "import")
    where = f"/datasets/imports/{found['job']['id']}"
    waiting = client.get(where).json()
    assert (waiting["version"], waiting["report"], waiting["error"]) == (None, None, None)
    finish(studio, found["job"]["id"])
    done = client.get(where).json()
    assert done["job"]["state"] == "succeeded"
    assert done["version"]["reference"] == "help@1"
    assert (done["report"]["accepted_rows"], done["report"]["rejected_rows"]) == (4, 1)
    assert client.get("/datasets/help@1").json()["id"] == done["version"]["id"]
    assert path.exists()


def test_a_large_upload_stays_until_its_job_is_done(studio: Studio, client: TestClient) -> None:
    file = {"file": ("rows.jsonl", lines(GOOD), "application/jsonl")}
    begun = client.post("/datasets/upload", files=file, data={"dataset": "help"})
    assert begun.status_code == 202
    assert [path.name for path in uploads(studio)] == ["rows.jsonl"]
    job_id = begun.json()["job"]["id"]
    finish(studio, job_id)
    assert not list((studio.settings.home / "uploads").iterdir())
    assert client.get(f"/datasets/imports/{job_id}").json()["version"]["reference"] == "help@1"


def test_a_large_import_that_makes_nothing_says_why(studio: Studio, client: TestClient) -> None:
    file = {"file": ("rows.jsonl", lines(BAD), "application/jsonl")}
    begun = client.post("/datasets/upload", files=file, data={"dataset": "help", "format": "alpaca"})
    job_id = begun.json()["job"]["id"]
    finish(studio, job_id)
    state = client.get(f"/datasets/imports/{job_id}").json()
    assert (state["job"]["state"], state["version"]) == ("failed", None)
    assert "None of the 30 rows" in state["error"]["message"]
    assert state["error"]["details"][-1] == "and 10 more"
    [kept] = (studio.settings.home / "datasets" / "rejected").iterdir()
    assert str(kept) in state["error"]["todo"]
    assert not uploads(studio)


@pytest.mark.parametrize("name", ["no name/", "rows.jsonl"])
def test_an_upload_that_is_refused_leaves_nothing(studio: Studio, client: TestClient, name: str) -> None:
    file = {"file": (name, "neither rows nor columns {", "application/jsonl")}
    answer = client.post("/datasets/upload", files=file, data={"dataset": "a/b"})
    assert answer.status_code == 422
    assert not uploads(studio)


def test_an_import_that_is_not_there_is_404(client: TestClient) -> None:
    answer = client.get("/datasets/imports/job_nothing")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"]
