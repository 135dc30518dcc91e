"""The curves of many runs in one answer: what is new, a window, and nothing of what is not one's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from studio.api import create_api
from studio.core import LOCAL_ADMIN, Actor, Node, Role, Settings, SharingChange, Visibility
from studio.studio import Studio, open_studio
from studio.training import Run, Stage, StartRun
from studio.training.curve_service import MOST_CURVES, CurveRequest
from tests.unit.api.conftest import ADDRESS
from tests.unit.training.room import RECIPE, furnish, open_room


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Studio]:
    place = tmp_path_factory.mktemp("curves") / "home"
    place.mkdir()
    room = open_room(place)
    furnish(room, tiny_model)
    room.database.close()
    opened = open_studio(
        Settings(_env_file=None, home=place, port=0, embedded_model=False, sample_data=False)
    )
    yield opened
    opened.close()


@pytest.fixture
def client(studio: Studio) -> Iterator[TestClient]:
    with TestClient(create_api(studio), base_url=ADDRESS) as opened:
        yield opened


def trained(studio: Studio, points: int, recipe: str = RECIPE) -> Run:
    """A run that waits, with the metrics of one that has made so many steps."""
    run = studio.training.start(LOCAL_ADMIN, StartRun(Stage.SFT, recipe))
    path = studio.settings.home / "runs" / run.id / "metrics.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"epoch": 0}\n')
    write(studio, run, range(1, points + 1))
    return run


def write(studio: Studio, run: Run, steps: range) -> None:
    with (studio.settings.home / "runs" / run.id / "metrics.jsonl").open("a") as handle:
        for step in steps:
            loss = 90.0 if step == 777 else 2 + (step * 37 % 101) / 100
            line = {
                "step": step,
                "time": step / 4,
                "tokens": step * 8,
                "train/loss": loss,
                "train/epoch": 0.5,
            }
            handle.write(json.dumps(line) + "\n")


def asked(client: TestClient, *runs: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/runs/curves", params={"run": list(runs), **query})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["curves"]
    return found


def test_many_runs_come_in_one_answer_with_what_is_new(client: TestClient, studio: Studio) -> None:
    one, two = trained(studio, 12), trained(studio, 5)
    first, second = asked(client, one.id, two.id, "run_gone", series=["train/loss"])
    assert (first["run_id"], second["run_id"]) == (one.id, two.id)
    assert first["live"] is True
    assert list(first["series"]) == ["train/loss"]
    loss = first["series"]["train/loss"]
    assert loss["steps"] == list(range(1, 13))
    assert (loss["bucket"], loss["means"], loss["counts"]) == (1, None, None)
    assert loss["tokens"][2] == 24
    write(studio, one, range(13, 15))
    known = [f"{curve['run_id']}:{curve['cursor']}:{curve['epoch']}" for curve in (first, second)]
    grown, same = asked(client, *known)
    assert grown["series"]["train/loss"]["steps"] == [13, 14]
    assert same["series"] == {}
    assert same["cursor"] == second["cursor"]


def test_a_long_run_is_thinned_and_its_window_is_finer(client: TestClient, studio: Studio) -> None:
    run = trained(studio, 4000)
    [whole] = asked(client, run.id, most=100)
    loss = whole["series"]["train/loss"]
    assert len(loss["steps"]) < 120
    assert 90.0 in loss["values"]
    assert sum(loss["counts"]) == 4000
    exact = studio.training.points(LOCAL_ADMIN, run.id).columns["train/loss"]
    assert sum(m * n for m, n in zip(loss["means"], loss["counts"], strict=True)) == pytest.approx(
        sum(value for _, value, _, _ in exact), rel=1e-5
    )
    [window] = asked(client, run.id, most=100, first=700, last=799)
    assert window["series"]["train/loss"]["steps"] == list(range(700, 800))
    [everything] = asked(client, run.id, most=0)
    assert len(everything["series"]["train/loss"]["steps"]) == 4000


def test_rewritten_history_comes_whole(client: TestClient, studio: Studio) -> None:
    run = trained(studio, 30)
    [before] = asked(client, run.id)
    path = studio.settings.home / "runs" / run.id / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    fresh = path.with_name("fresh")
    fresh.write_text('{"epoch": 1}\n' + "".join(lines[1:11]))
    fresh.replace(path)
    [after] = asked(client, f"{run.id}:{before['cursor']}:{before['epoch']}")
    assert after["epoch"] == 1
    assert after["series"]["train/loss"]["steps"] == list(range(1, 11))


@pytest.mark.parametrize(
    "query",
    [
        {"run": ["run_a:x:0"]},
        {"run": ["run_a:-1:0"]},
        {"run": ["run_a"], "most": 1},
        {"run": ["run_a", "run_b"], "most": 0},
        {"run": ["run_a"] * (MOST_CURVES + 1)},
        {},
    ],
)
def test_what_cannot_be_drawn_is_refused(client: TestClient, query: dict[str, Any]) -> None:
    assert client.get("/runs/curves", params=query).status_code in (400, 422)


def test_a_private_run_is_left_out(studio: Studio) -> None:
    run = trained(studio, 3)
    rosa = Actor("rosa", Role.RESEARCHER)
    wanted = (CurveRequest(run.id),)
    assert len(studio.curves.curves(rosa, wanted)) == 1
    version = studio.datasets.version(LOCAL_ADMIN, run.dataset_version_ids[0])
    data = Node("dataset", version.dataset_id)
    studio.access.share(LOCAL_ADMIN, data, SharingChange(Visibility.PRIVATE))
    assert studio.curves.curves(rosa, wanted) == ()
    assert studio.curves.window(rosa, (run.id,), 0, 9) == ()
    studio.access.share(LOCAL_ADMIN, data, SharingChange(Visibility.TEAM))
