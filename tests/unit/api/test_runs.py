"""Runs over REST: start, order, pause, retry, checkpoints, comparisons; and who may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from studio.core import LOCAL_ADMIN, Node, SharingChange, Visibility
from studio.datasets import NewVersion, SchemaKind, Split
from studio.registry import BaseSource
from studio.studio import Studio
from studio.training import checkpoints

ADMIN = LOCAL_ADMIN
RECIPE = {"model": "tiny", "dataset": "talk", "output": "tuned", "learning_rate": 1e-3, "max_length": 128}


@pytest.fixture(autouse=True)
def furnished(studio: Studio, tiny_model: Path) -> Iterator[None]:
    studio.registry.register_base(ADMIN, BaseSource(str(tiny_model), "tiny"))
    asked = {"role": "user", "content": "Well?"}
    rows = [{"messages": [asked, {"role": "assistant", "content": "Yes."}]}]
    thumbs = [{"prompt": [asked], "completion": [{"role": "assistant", "content": "Yes."}], "label": True}]
    thumbs.append({**thumbs[0], "completion": [{"role": "assistant", "content": "No."}], "label": False})
    for name, kind, made in (
        ("talk", SchemaKind.INSTRUCTION, rows),
        ("thumbs", SchemaKind.UNPAIRED, thumbs),
    ):
        studio.datasets.create(ADMIN, NewVersion(name, kind, {Split.TRAIN: made}, ()))
    yield


def start(client: TestClient, stage: str = "sft", **said: object) -> dict:
    recipe = said.pop("recipe", RECIPE)
    answer = client.post(f"/train/{stage}", json={"recipe": recipe, **said})
    assert answer.status_code == 202, answer.text
    return answer.json()


def end(studio: Studio, run: dict, state: str, log: str = "") -> None:
    """Let the job of a run end as its supervisor would have said."""
    directory = studio.jobs.get(ADMIN, run["job_id"]).directory
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "log.txt").write_text(log)
    with studio.database.write() as connection:
        connection.execute(
            "UPDATE jobs SET state = ?, reason = 'exit code 1', ended_at = 5.0 WHERE id = ?",
            (state, run["job_id"]),
        )
    studio.training.settle(())


def test_runs_are_queued_ordered_and_taken_out(client: TestClient) -> None:
    one, two = start(client), start(client, priority=5)
    three = start(client, after=[one["id"]], continue_on_error=True, request_id="r")
    assert start(client, after=[one["id"]], request_id="r")["id"] == three["id"]
    assert three["after"] == [one["id"]]
    assert three["predicted_memory_bytes"] > 0
    places = [(found["run"]["id"], found["place"]) for found in client.get("/runs/queue").json()]
    assert places == [(two["id"], 1), (one["id"], 2), (three["id"], 3)]
    assert client.get("/runs/queue").json()[2]["waits_for"] == f"Waits for {one['name']} to end"
    moved = client.post(f"/runs/{three['id']}/move", json={"before": one["id"]})
    assert moved.status_code == 200
    assert client.post(f"/runs/{one['id']}/priority", json={"priority": 9}).json()["priority"] == 9
    assert client.post(f"/runs/{two['id']}/move", json={}).status_code == 200
    ids = [found["run"]["id"] for found in client.get("/runs/queue").json()]
    assert ids == [one["id"], three["id"], two["id"]]
    paused = client.post(f"/runs/{two['id']}/pause").json()
    assert (paused["state"], paused["paused"]) == ("stopped", True)
    assert client.post(f"/runs/{two['id']}/move", json={}).status_code == 409
    assert client.post(f"/runs/{two['id']}/resume").json()["state"] == "queued"


def test_a_failed_run_is_tried_again(client: TestClient, studio: Studio) -> None:
    run = start(client)
    assert client.get(f"/runs/{run['id']}/failure").json() == {"failure": None}
    end(studio, run, "failed", "The loss is nan at step 3: training has diverged.\n")
    card = client.get(f"/runs/{run['id']}/failure").json()["failure"]
    assert (card["kind"], bool(card["fix"])) == ("not_a_number", True)
    tried = client.post(f"/runs/{run['id']}/retry", json={"with_fix": True, "request_id": "again"})
    assert tried.status_code == 202
    assert tried.json()["retry_of"] == run["id"]
    body = {"with_fix": True, "request_id": "again"}
    assert client.post(f"/runs/{run['id']}/retry", json=body).json()["id"] == tried.json()["id"]
    beside = client.get("/runs/compare", params={"run": [run["id"], tried.json()["id"]]}).json()
    assert set(beside["differences"]) == set(card["fix"])
    assert [one["id"] for one in beside["runs"]] == [run["id"], tried.json()["id"]]
    assert f"cat > {run['id']}.yaml" in client.get(f"/runs/{run['id']}/command").json()["command"]
    assert client.get(f"/runs/{run['id']}/telemetry").json()["samples"] == []
    assert client.get(f"/runs/{run['id']}/points", params={"most": 10}).json()["columns"] == {}


def test_checkpoints_are_listed_kept_deleted_and_gone_on_from(client: TestClient, studio: Studio) -> None:
    run = start(client)
    for step in (10, 20):
        path = checkpoints.begin(studio.settings.home / "runs" / run["id"] / "checkpoints", step)
        (path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
        header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
        weights = len(header).to_bytes(8, "little") + header + bytes(8)
        (path / "adapter_model.safetensors").write_bytes(weights)
        checkpoints.seal(path, {"step": step})
    place = f"/runs/{run['id']}/checkpoints"
    assert [(one["step"], one["newest"]) for one in client.get(place).json()] == [(20, True), (10, False)]
    kept = client.post(f"{place}/10/keep", json={"name": "early"})
    assert (kept.status_code, kept.json()["reference"]) == (201, "early@1")
    assert client.delete(f"{place}/20").status_code == 409
    assert client.delete(f"{place}/10").status_code == 204
    assert client.delete(f"{place}/10").status_code == 404
    end(studio, run, "stopped")
    assert client.post(f"/runs/{run['id']}/resume", json={"step": 10}).status_code == 404
    assert client.post(f"/runs/{run['id']}/resume", json={"step": 20}).json()["attempts"] == 2


def test_the_other_stages_and_the_estimate(client: TestClient) -> None:
    assert start(client, "kto", recipe={"model": "tiny", "dataset": "thumbs"})["stage"] == "kto"
    wrong = client.post("/train/reward", json={"recipe": {"model": "tiny", "dataset": "thumbs"}})
    assert wrong.status_code == 422
    estimate = client.post("/train/estimate", json={"stage": "sft", "recipe": RECIPE}).json()
    assert sum(part["bytes"] for part in estimate["parts"]) == estimate["total"] > 0
    assert client.post("/train/estimate", json={"stage": "sft", "recipe": "model: x"}).status_code == 422
    assert client.post("/train/sft", json={"recipe": RECIPE, "priority": 10**9}).status_code == 422


def test_a_private_run_is_not_there_for_others(studio: Studio, as_) -> None:  # type: ignore[no-untyped-def]
    ada, rosa = as_("ada"), as_("rosa")
    run, other = start(ada), start(ada, "kto", recipe={"model": "tiny", "dataset": "thumbs"})
    dataset = studio.datasets.version(ADMIN, "talk").dataset_id
    studio.access.share(ADMIN, Node("dataset", dataset), SharingChange(visibility=Visibility.PRIVATE))
    assert [one["run"]["id"] for one in rosa.get("/runs/queue").json()] == [other["id"]]
    for method, path, body in (
        ("GET", "failure", None),
        ("GET", "command", None),
        ("GET", "telemetry", None),
        ("GET", "checkpoints", None),
        ("POST", "checkpoints/1/keep", {}),
        ("DELETE", "checkpoints/1", None),
        ("POST", "pause", None),
        ("POST", "retry", {}),
        ("POST", "move", {}),
        ("POST", "priority", {"priority": 1}),
    ):
        answer = rosa.request(method, f"/runs/{run['id']}/{path}", json=body)
        assert answer.status_code == 404, (path, answer.text)
    seen = rosa.get("/runs/compare", params={"run": [run["id"], other["id"]]})
    assert seen.status_code == 404
    assert as_("sten").get("/runs/queue").status_code == 403
