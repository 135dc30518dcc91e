"""Pre-flight over REST: check, ask again, rows; and a start that a known error refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from studio.api import create_api
from studio.core import LOCAL_ADMIN, Settings
from studio.datasets import NewVersion, SchemaKind, Split
from studio.registry import BaseSource
from studio.studio import Studio, open_studio
from studio.training.preflight.token_files import tokens_digest
from studio.training.preflight.worker import write_tokens
from studio.training.recipes import parse_recipe
from studio.training.records import Stage
from tests.unit.training.fast_tokenizer import FastTokenizer
from tests.unit.training.preflight_rows import rows

RECIPE = {"model": "tiny", "dataset": "pairs", "max_length": 64}


@pytest.fixture
def studio(settings: Settings, tiny_model: Path) -> Iterator[Studio]:
    made = open_studio(settings)
    made.registry.register_base(LOCAL_ADMIN, BaseSource(str(tiny_model), "tiny"))
    sides = {Split.TRAIN: rows(Stage.DPO), Split.VALIDATION: rows(Stage.DPO, 3, 100)}
    new = NewVersion("pairs", SchemaKind.PREFERENCE, sides, ({"step": "test"},))
    version = made.datasets.create(LOCAL_ADMIN, new)
    recipe = parse_recipe(Stage.DPO, "model: tiny\ndataset: pairs\n")
    folder = settings.home / "tokens" / tokens_digest(version.directory, tiny_model, recipe)
    folder.mkdir(parents=True)
    write_tokens(FastTokenizer(tiny_model), version.directory, recipe, folder)
    yield made
    made.close()


@pytest.fixture
def client(studio: Studio) -> Iterator[TestClient]:
    with TestClient(create_api(studio), base_url="http://127.0.0.1:7860") as opened:
        yield opened


def _steady(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Findings without how much memory is free, which each request finds anew."""
    return [{**one, "message": one["message"].partition(" of memory, and ")[0]} for one in findings]


def test_a_check_its_facts_and_its_rows(client: TestClient) -> None:
    found = client.post("/train/preflight", json={"stage": "dpo", "recipe": RECIPE}).json()
    assert found["state"] == "done"
    train = found["sources"][0]["splits"]["train"]
    assert (train["rows"], train["sequences"], train["left_out"]) == (12, 8, 4)
    assert {one["severity"] for one in found["findings"]} <= {"error", "warning", "note"}
    [long] = [one for one in found["findings"] if one["split"] == "train" and one["field"] == "max_length"]
    assert long["rows"] == [4, 6, 8, 12]
    same = client.get(f"/train/preflight/{found['id']}").json()
    assert _steady(same["findings"]) == _steady(found["findings"])
    page = client.get(f"/train/preflight/{found['id']}/rows", params={"offset": 2, "count": 2}).json()
    assert [row["number"] for row in page["rows"]] == [3, 4]
    assert [part["name"] for part in page["rows"][0]["parts"]] == ["prompt", "chosen", "rejected"]
    assert {token[2] for token in page["rows"][0]["parts"][1]["tokens"]} == {"learnt"}
    assert {token[2] for token in page["rows"][1]["parts"][1]["tokens"]} == {"cut"}
    assert "longer than max_length" in page["rows"][1]["left_out"]


def test_a_run_with_a_known_error_is_refused(client: TestClient) -> None:
    short = {**RECIPE, "max_length": 16}
    refused = client.post("/train/dpo", json={"recipe": short})
    assert refused.status_code == 422
    assert "none fits into max_length: 16" in refused.json()["error"]["details"][0]
    assert client.get("/runs").json() == []


def test_what_is_not_there_is_404_and_what_cannot_be_is_422(client: TestClient) -> None:
    assert client.get("/train/preflight/preflight_none").status_code == 404
    assert client.post("/train/preflight", json={"stage": "ppo", "recipe": RECIPE}).status_code == 422
    assert client.post("/train/preflight", json={"stage": "dpo", "recipe": "epoch: 3"}).status_code == 422
