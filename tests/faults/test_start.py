"""Fifty people press Start at once: one request starts one run, and one slot runs one at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from studio.api import create_api
from studio.core import LOCAL_ADMIN, Settings
from studio.datasets import ImportRequest
from studio.registry import BaseSource
from studio.studio import Studio, open_studio
from studio.training import desk
from tests.server import ROOT

pytestmark = pytest.mark.faults
ADMIN = LOCAL_ADMIN
AT_ONCE = 50
#: How many of them are let run to their end.
ENDED = AT_ONCE if os.environ.get("STUDIO_TEST_FULL") == "1" else 6

RECIPE = {"model": "tiny", "dataset": "rows", "output": "tuned", "max_steps": 1}


@pytest.fixture
def studio(settings: Settings, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    # The rows, the queue, the supervisors are real; only what they run is quick.
    monkeypatch.setitem(desk.WORKERS, "trl", "tests.faults.turn")
    made = open_studio(settings)
    made.registry.register_base(ADMIN, BaseSource(str(tiny_model), "tiny"))
    made.datasets.import_file(ADMIN, ImportRequest(ROOT / "data" / "instructions.jsonl", "rows"))
    yield made
    for job in made.jobs.list(ADMIN):
        made.jobs.request_stop(ADMIN, job.id)
    for job in made.jobs.list(ADMIN):
        made.jobs.wait(ADMIN, job.id, 10)
    made.close()


def started(client: TestClient, request_ids: list[str]) -> list[str]:
    """The run that each of these requests got, all sent at once."""

    def post(request_id: str) -> str:
        answer = client.post("/train/sft", json={"recipe": RECIPE, "request_id": request_id})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    with ThreadPoolExecutor(len(request_ids)) as pool:
        return list(pool.map(post, request_ids))


def turns(home: Path) -> list[str]:
    """The words that trainers noted, in the order of their clocks."""
    path = home / "jobs" / "turns.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split()[1] for line in sorted(lines, key=lambda line: float(line.split()[0]))]


def test_fifty_requests_with_one_id_start_one_run(studio: Studio) -> None:
    with TestClient(create_api(studio), base_url="http://127.0.0.1") as client:
        runs = started(client, ["the same"] * AT_ONCE)
    assert len(set(runs)) == 1
    assert [run.id for run in studio.training.list(ADMIN)] == runs[:1]
    assert len(studio.jobs.list(ADMIN, desk.KIND)) == 1


def test_fifty_different_requests_on_one_slot_never_run_two(studio: Studio) -> None:
    studio.start()
    with TestClient(create_api(studio), base_url="http://127.0.0.1") as client:
        runs = started(client, [f"request {number}" for number in range(AT_ONCE)])
    assert len(set(runs)) == AT_ONCE
    deadline = time.monotonic() + 20 + 2 * ENDED
    while turns(studio.settings.home).count("ended") < ENDED:
        live = studio.jobs.live(ADMIN)
        assert len(live) <= 1, live
        assert time.monotonic() < deadline
        time.sleep(0.02)
    noted = turns(studio.settings.home)
    assert noted == (["began", "ended"] * AT_ONCE)[: len(noted)]
