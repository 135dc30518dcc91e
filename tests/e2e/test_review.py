"""The lead's desk in a browser: import labels, decide a disagreement by keyboard, take the results out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.server import Server

pytestmark = pytest.mark.e2e

# A little over the time for which a case has to be seen before a key counts.
_LOOK_MS = 480
# The tests share their cores with models.
_PATIENCE_MS = 40_000


@pytest.fixture
def project(server: Server, request: pytest.FixtureRequest) -> str:
    body = {
        "dataset": "studio-preferences-eval",
        "name": request.node.name,
        "guideline": "Prefer what helps.",
        "overlap": 2,
    }
    key: str = server.post("/annotation", body)["id"]
    return key


def _labels(server: Server, project: str, path: Path, divided: int) -> int:
    """A file in which ana and ben label eight items and differ on the first ones; returns its good rows."""
    rows: list[dict[str, Any]] = []
    dataset = server.get("/datasets/studio-preferences-eval/rows", split="validation", limit=8)["rows"]
    for number, row in enumerate(dataset):
        texts = {"prompt": row["prompt"], "first": row["chosen"], "second": row["rejected"]}
        standings = ("first", "second" if number < divided else "first")
        for person, standing in zip(("ana", "ben"), standings, strict=True):
            own = {"annotator": person, "standing": standing, "comment": f"{person} on {number}"}
            rows.append(texts | own)
    good = len(rows)
    rows.append(rows[0] | {"annotator": "cyd", "standing": "best"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return good


def _import(page: Page, server: Server, project: str, path: Path, divided: int = 3) -> None:
    good = _labels(server, project, path, divided)
    page.goto(f"/studio/?tab=review&project={project}&view=export")
    page.locator("#tab-review input[type=file]").set_input_files(str(path))
    expect(page.locator("#tab-review").get_by_role("button", name="Clear")).to_be_visible(
        timeout=_PATIENCE_MS
    )
    page.get_by_role("button", name="Import the labels").click()
    expect(page.get_by_text(f"{good} labels added.")).to_be_visible(timeout=_PATIENCE_MS)


def test_an_import_names_what_it_did_not_take(
    page: Page, server: Server, project: str, tmp_path: Path
) -> None:
    _import(page, server, project, tmp_path / "labels.jsonl")
    expect(page.get_by_text("1 row not taken")).to_be_visible(timeout=_PATIENCE_MS)
    expect(page.get_by_role("cell", name="standing")).to_be_visible(timeout=_PATIENCE_MS)


def test_disagreements_are_decided_by_keyboard(
    page: Page, server: Server, project: str, tmp_path: Path
) -> None:
    _import(page, server, project, tmp_path / "labels.jsonl")
    page.get_by_role("link", name="Dashboard").click()
    expect(page.locator("#review-charts .js-plotly-plot").first).to_be_visible(timeout=_PATIENCE_MS)
    page.get_by_role("link", name="3", exact=True).click()
    expect(page.get_by_text("3 to decide")).to_be_visible(timeout=_PATIENCE_MS)
    expect(page.get_by_text("ana on")).to_be_visible(timeout=_PATIENCE_MS)
    page.wait_for_timeout(_LOOK_MS)
    page.keyboard.press("c")
    page.keyboard.type("1 of 2: both are right.")
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    expect(page.get_by_text("2 to decide")).to_be_visible(timeout=_PATIENCE_MS)
    page.keyboard.press("1")  # too early: nobody has read it
    page.wait_for_timeout(_LOOK_MS)
    page.keyboard.press("2")
    expect(page.get_by_text("1 to decide")).to_be_visible(timeout=_PATIENCE_MS)
    page.wait_for_timeout(_LOOK_MS)
    page.keyboard.press("u")
    expect(page.get_by_text("decided before, decide again")).to_be_visible(timeout=_PATIENCE_MS)
    page.wait_for_timeout(_LOOK_MS)
    page.keyboard.press("4")
    page.wait_for_timeout(_LOOK_MS)
    page.keyboard.press("1")
    expect(page.get_by_text("Nothing is left to decide.")).to_be_visible(timeout=_PATIENCE_MS)
    for _ in range(50):
        found = server.get(f"/annotation/{project}/review/adjudications")
        if len(found) == 3 and {one["verdict"] for one in found} == {"tie", "both_bad", "a"}:
            break
        page.wait_for_timeout(200)
    assert sorted(one["verdict"] for one in found) == ["a", "both_bad", "tie"]
    assert [one["comment"] for one in found if one["verdict"] == "tie"] == ["1 of 2: both are right."]


def test_a_decision_survives_a_server_that_is_away(
    browser: Browser, server: Server, project: str, tmp_path: Path
) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=server.address)
    page = context.new_page()
    _import(page, server, project, tmp_path / "labels.jsonl", divided=1)
    page.goto(f"/studio/?tab=review&project={project}&view=inbox")
    expect(page.get_by_text("1 to decide")).to_be_visible(timeout=_PATIENCE_MS)
    page.route("**/queue/join*", lambda route: route.fulfill(status=503, body="{}"))
    page.wait_for_timeout(_LOOK_MS)
    page.keyboard.press("1")
    expect(page.get_by_text("not stored yet")).to_be_visible(timeout=_PATIENCE_MS)
    assert server.get(f"/annotation/{project}/review/adjudications") == []
    page.unroute("**/queue/join*")
    for _ in range(100):
        found = server.get(f"/annotation/{project}/review/adjudications")
        if found:
            break
        page.wait_for_timeout(200)
    assert [one["verdict"] for one in found] == ["a"]
    expect(page.get_by_text("not stored yet")).to_be_hidden(timeout=_PATIENCE_MS)
    context.close()


def test_results_are_downloaded_and_become_a_dataset(
    page: Page, server: Server, project: str, tmp_path: Path
) -> None:
    _import(page, server, project, tmp_path / "labels.jsonl", divided=0)
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Labels as JSONL").click()
    lines = Path(waiting.value.path()).read_text().splitlines()
    assert len(lines) == 16
    assert {json.loads(line)["annotator"] for line in lines} == {"ana", "ben"}
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Consensus as CSV").click()
    assert len(Path(waiting.value.path()).read_text().splitlines()) >= 9
    page.get_by_label("Dataset").last.fill("from-people")
    page.get_by_role("button", name="Make the dataset").click()
    expect(page.get_by_role("link", name="from-people@1")).to_be_visible(timeout=_PATIENCE_MS)
