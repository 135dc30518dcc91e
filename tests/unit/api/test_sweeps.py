"""Sweeps over REST: start, look, stop, resume, train the best; and who may."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from studio.core import LOCAL_ADMIN, Node, SharingChange, Visibility
from studio.datasets import NewVersion, SchemaKind, Split
from studio.registry import BaseSource
from studio.studio import Studio
from studio.training.recipes import CONFIGS
from studio.training.sweeps import Trial, TrialState
from tests.unit.api.conftest import As

ADMIN = LOCAL_ADMIN
SWEEP = {
    "recipe": {"stage": "sft", "model": "tiny", "dataset": "talk", "output": "tuned"},
    "space": {"learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}, "lora.r": [4, 8]},
    "trials": 5,
}


@pytest.fixture(autouse=True)
def furnished(studio: Studio, tiny_model: Path) -> None:
    studio.registry.register_base(ADMIN, BaseSource(str(tiny_model), "tiny"))
    talks = [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": "Yes."}]}
        for asked in ("Well?", "Now?")
    ]
    rows = {Split.TRAIN: talks[:1], Split.VALIDATION: talks[1:]}
    studio.datasets.create(ADMIN, NewVersion("talk", SchemaKind.INSTRUCTION, rows, ()))


def tried(studio: Studio, sweep_id: str) -> None:
    for number in range(4):
        params = {"learning_rate": 1e-5 * 3**number, "lora.r": (4, 8)[number % 2]}
        value = 2.0 - number / 4
        studio.sweeps._store.add_trial(
            Trial(sweep_id, number, params, TrialState.COMPLETE, f"run_{number}", value, "", 0.0, 1.0)
        )


def test_a_sweep_is_begun_looked_at_stopped_and_its_best_trained(client: TestClient, studio: Studio) -> None:
    asked = {"sweep": SWEEP, "request_id": "once"}
    answers = [client.post("/sweeps", json=asked) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    sweep = answers[0].json()
    assert answers[1].json()["id"] == sweep["id"]
    assert (sweep["state"], sweep["model"], sweep["datasets"]) == ("running", "tiny@1", ["talk@1"])
    assert (sweep["best"], sweep["made"], sweep["output"]) == (None, 0, "tuned")
    where = f"/sweeps/{sweep['id']}"
    assert client.post(f"{where}/train-best").status_code == 409
    tried(studio, sweep["id"])
    found = client.get(where, params={"importance": True}).json()
    assert (found["best"], found["best_value"], len(found["trials"])) == (3, 1.25, 4)
    assert set(found["importance"]) == {"learning_rate", "lora.r"}
    assert client.get(where).json()["importance"] == {}
    assert [one["id"] for one in client.get("/sweeps").json()] == [sweep["id"]]
    assert client.post(f"{where}/stop").json()["state"] == "stopped"
    assert client.post(f"{where}/resume").json()["state"] == "running"
    run = client.post(f"{where}/train-best", json={"epochs": 2, "request_id": "best"})
    assert run.status_code == 202
    assert "epochs: 2.0" in run.json()["recipe"]
    assert client.post(f"{where}/train-best", json={"epochs": 0}).status_code == 422


def test_a_sweep_may_be_yaml_and_what_is_wrong_is_told(client: TestClient) -> None:
    text = (CONFIGS / "sweep.yaml").read_text()
    text = text.replace("smollm2-135m-instruct", "tiny").replace("studio-instructions", "talk")
    assert client.post("/sweeps", json={"sweep": text}).status_code == 202
    wrong = client.post("/sweeps", json={"sweep": SWEEP | {"space": {"lr": [1]}, "trials": 0}})
    assert wrong.status_code == 422
    assert "trials:" in wrong.json()["error"]["details"][0]
    assert client.post("/sweeps", json={"sweep": SWEEP, "more": 1}).status_code == 422
    assert client.get("/sweeps/sweep_none").status_code == 404


def test_who_may_not_see_the_data_does_not_see_the_sweep(as_: As, studio: Studio) -> None:
    sweep = studio.sweeps.start(ADMIN, SWEEP)
    assert as_("rosa").get(f"/sweeps/{sweep.id}").status_code == 200
    talk = Node("dataset", studio.datasets.version(ADMIN, "talk").dataset_id)
    studio.access.share(ADMIN, talk, SharingChange(visibility=Visibility.PRIVATE, owner="ada"))
    rosa = as_("rosa")
    assert rosa.get("/sweeps").json() == []
    for answer in (rosa.get(f"/sweeps/{sweep.id}"), rosa.post(f"/sweeps/{sweep.id}/stop")):
        assert answer.status_code == 404
    assert as_("ada").get(f"/sweeps/{sweep.id}").status_code == 200
    assert as_("sten").get("/sweeps").status_code == 403
