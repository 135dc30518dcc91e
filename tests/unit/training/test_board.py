"""TensorBoard on demand: it shows what our metrics say, to its owner only, and leaves when nobody looks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from studio.accounts import NewAccount
from studio.api import COOKIE, create_api
from studio.api.headers import BOARD
from studio.core import (
    LOCAL_ADMIN,
    Actor,
    Node,
    NotFound,
    Role,
    Settings,
    SharingChange,
    TooManyRequests,
    Visibility,
)
from studio.jobs import JobState
from studio.studio import Studio, open_studio
from studio.training import Run, Stage, StartRun
from studio.training import board as boards
from studio.training.board import BoardService
from tests.unit.api.conftest import ADA, ADDRESS, PASSWORD, add_people, with_cheap_passwords
from tests.unit.training.room import RECIPE, furnish, open_room

ROSA, REMO = Actor("rosa", Role.RESEARCHER), Actor("remo", Role.RESEARCHER)
#: Writes events as the trainer does, where torch may be imported.
EVENTS = """
import json, sys
from torch.utils.tensorboard import SummaryWriter
writer = SummaryWriter(sys.argv[1])
for line in open(sys.argv[2]):
    point = json.loads(line)
    if "step" in point:
        for name, value in point.items():
            if "/" in name:
                writer.add_scalar(name, value, point["step"])
writer.close()
"""


@pytest.fixture
def studio(settings: Settings, tiny_model: Path) -> Iterator[Studio]:
    room = open_room(settings.home)
    furnish(room, tiny_model)
    room.database.close()
    opened = open_studio(settings)
    yield opened
    for job in opened.jobs.list(LOCAL_ADMIN, boards.KIND):
        opened.jobs.request_stop(LOCAL_ADMIN, job.id)
    settle(opened)
    opened.close()


def settle(studio: Studio) -> None:
    deadline = time.monotonic() + 30
    while any(not job.state.final for job in studio.jobs.list(LOCAL_ADMIN, boards.KIND)):
        assert time.monotonic() < deadline
        studio.jobs.tick()
        time.sleep(0.05)


def started(studio: Studio, name: str = "A run: first/second") -> Run:
    # It has to stay as it is: nobody beats, so nothing trains.
    return studio.training.start(LOCAL_ADMIN, StartRun(Stage.SFT, RECIPE, name))


def until_up(studio: Studio, actor: Actor, key: str) -> int:
    deadline = time.monotonic() + 60
    while (port := studio.board.place(actor, key).port) is None:
        assert time.monotonic() < deadline, studio.jobs.list(LOCAL_ADMIN, boards.KIND)
        tick_boards(studio)
    return port


def tick_boards(studio: Studio) -> None:
    studio.jobs.tick()
    time.sleep(0.05)


@pytest.fixture
def quiet(studio: Studio) -> Studio:
    """Its training jobs wait: the room for them is taken away."""
    studio.jobs.hold_when(lambda job, _: "" if job.kind == boards.KIND else "held by the test")
    return studio


def key_of(address: str) -> str:
    return address.strip("/").rpartition("/")[2]


def test_its_scalars_are_our_metrics(quiet: Studio) -> None:
    import subprocess
    import sys

    run = started(quiet)
    folder = quiet.settings.home / "runs" / run.id
    lines = [
        {
            "step": n,
            "time": n / 3,
            "tokens": 7 * n,
            "train/loss": 3 / (n + 1),
            "train/learning_rate": 1e-3 / (n + 1),
        }
        for n in range(1, 40)
    ]
    lines.append({"step": 39, "time": 14.0, "tokens": 300, "eval/loss": 2.125})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text(
        '{"epoch": 0}\n' + "".join(json.dumps(line) + "\n" for line in lines)
    )
    command = [sys.executable, "-c", EVENTS, str(folder / "tensorboard"), str(folder / "metrics.jsonl")]
    subprocess.run(command, check=True, capture_output=True)

    with TestClient(create_api(quiet), base_url=ADDRESS, follow_redirects=False) as client:
        opened = client.post(f"/studio/tensorboard/runs/{run.id}")
        assert opened.status_code == 303
        address = opened.headers["location"]
        page = client.get(address, headers={"accept": "text/html"})
        assert (page.status_code, page.headers["refresh"]) == (503, "1")
        assert client.get(f"{address}data/runs").status_code == 503
        until_up(quiet, LOCAL_ADMIN, key_of(address))
        page = client.get(address, headers={"accept": "text/html"})
        assert page.status_code == 200
        assert "<title>TensorBoard</title>" in page.text
        assert page.headers["content-security-policy"] == BOARD
        assert "'unsafe-eval'" not in BOARD
        assert page.headers["x-frame-options"] == "DENY"
        [name] = _until(lambda: client.get(f"{address}data/runs").json())
        assert name.endswith(run.id)
        ours = quiet.training.points(LOCAL_ADMIN, run.id).columns
        for series, column in ours.items():
            theirs = client.get(
                f"{address}data/plugin/scalars/scalars", params={"run": name, "tag": series}
            ).json()
            assert [step for _, step, _ in theirs] == [point[0] for point in column]
            assert [value for _, _, value in theirs] == pytest.approx([p[1] for p in column], rel=1e-6)
        asked = {"requests": (None, json.dumps([{"plugin": "scalars", "tag": "train/loss"}]))}
        answer = client.post(f"{address}data/plugin/timeseries/timeSeries", files=asked)
        assert len(answer.json()[0]["runToSeries"][name]) == 39
        refused = client.post(
            f"{address}data/plugin/timeseries/timeSeries", headers={"origin": "http://evil"}
        )
        assert refused.status_code == 403


def _until(look: object) -> list[str]:
    deadline = time.monotonic() + 30
    while not (found := look()):  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def test_a_board_belongs_to_one_person(quiet: Studio) -> None:
    run = started(quiet)
    studio = with_cheap_passwords(quiet)
    add_people(studio)
    studio.accounts.add(ADA, NewAccount("remo", Role.RESEARCHER, PASSWORD))
    app = create_api(studio)

    def client_of(name: str) -> TestClient:
        made = TestClient(app, base_url=ADDRESS, follow_redirects=False)
        made.cookies.set(COOKIE, studio.accounts.log_in(name, PASSWORD, "127.0.0.1"))
        return made

    with client_of("rosa") as rosa, client_of("remo") as remo, client_of("ann") as ann:
        address = rosa.post(f"/studio/tensorboard/runs/{run.id}").headers["location"]
        assert rosa.get(address).status_code == 503
        assert remo.get(address).status_code == 404
        assert ann.get(address).status_code == 403
        assert ann.post(f"/studio/tensorboard/runs/{run.id}").status_code == 403
        said = remo.get(address, headers={"accept": "text/html"})
        assert "TensorBoard is closed" in said.text
        # Opened again it is the same board; another person's is another.
        assert rosa.post(f"/studio/tensorboard/runs/{run.id}").headers["location"] == address
        assert remo.post(f"/studio/tensorboard/runs/{run.id}").headers["location"] != address
        assert rosa.post("/studio/tensorboard/runs/run_none").status_code == 404
    assert TestClient(app, base_url=ADDRESS).get(address).status_code == 401


def test_a_run_that_became_private_closes_the_board(quiet: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    run = started(quiet)
    key = key_of(quiet.board.open(ROSA, run.id))
    folder = next((quiet.settings.home / "boards").glob("*/runs"))
    assert [link.name for link in folder.iterdir()] == [f"A run first second {run.id}"]
    monkeypatch.setattr(boards, "_CHECK_SECONDS", 0.0)
    assert quiet.board.place(ROSA, key).port is None
    data = quiet.datasets.version(LOCAL_ADMIN, run.dataset_version_ids[0])
    quiet.access.share(LOCAL_ADMIN, Node("dataset", data.dataset_id), SharingChange(Visibility.PRIVATE))
    with pytest.raises(NotFound):
        quiet.board.place(ROSA, key)
    assert not folder.exists()
    [job] = quiet.jobs.list(LOCAL_ADMIN, boards.KIND)
    assert job.state is JobState.STOPPED


def test_an_idle_board_ends_and_its_folder_goes(quiet: Studio) -> None:
    board = BoardService(quiet.settings.home, quiet.jobs, quiet.training, idle_seconds=0.5)
    run = started(quiet)
    first = board.open(ROSA, run.id)
    settle(quiet)
    [job] = quiet.jobs.list(LOCAL_ADMIN, boards.KIND)
    assert job.state is JobState.SUCCEEDED, quiet.jobs.log(LOCAL_ADMIN, job.id)
    with pytest.raises(NotFound):
        board.place(ROSA, key_of(first))
    # After a restart nobody knows of the old one any more.
    again = BoardService(quiet.settings.home, quiet.jobs, quiet.training)
    left = quiet.settings.home / "boards" / job.id
    left.mkdir(parents=True, exist_ok=True)
    assert again.open(ROSA, run.id) != first
    assert not left.exists()


def test_only_so_many_people_have_one(quiet: Studio) -> None:
    run = started(quiet)
    people = [Actor(f"person {n}", Role.RESEARCHER) for n in range(boards.MOST_BOARDS + 1)]
    for one in people[:-1]:
        quiet.board.open(one, run.id)
    with pytest.raises(TooManyRequests):
        quiet.board.open(people[-1], run.id)


def test_a_board_holds_the_runs_opened_last(quiet: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "MOST_RUNS", 2)
    runs = [started(quiet, f"Run {n}") for n in range(3)]
    for run in runs:
        quiet.board.open(ROSA, run.id)
    folder = next((quiet.settings.home / "boards").glob("*/runs"))
    assert {link.name for link in folder.iterdir()} == {f"Run {n} {runs[n].id}" for n in (1, 2)}
