"""Four accounts at once: three label every pair twice, one shuts a laptop, the lead decides and exports.

One story in order, over 60 pairs with STUDIO_TEST_FULL=1 and fewer without. Every person has a browser
of their own and logs in by the form.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.server import ROOT, Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

_PAIRS = 60 if os.environ.get("STUDIO_TEST_FULL") == "1" else 21
_FIRST = _PAIRS // 6
_PASSWORD = "a long enough secret"
# The shortest there is; the form asks for whole minutes.
_LEASE_SECONDS = 30
# A little over the time for which a pair has to be seen before a key counts.
_LOOK_MS = 450


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("team") / "steps.jsonl"
    rows = [
        {
            "prompt": f"What is step {number} for?",
            "chosen": f"Step {number} saves the checkpoint.",
            "rejected": f"Step {number} is a step.",
        }
        for number in range(_PAIRS)
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A studio with accounts, made by the command line as an operator makes them."""
    home = tmp_path_factory.mktemp("team") / "home"
    for name, role in (("root", "admin"), ("lea", "researcher"), *((n, "annotator") for n in _ANNOTATORS)):
        subprocess.run(
            [sys.executable, "-m", "studio", "users", "add", name, "--role", role, "--password-stdin"],
            cwd=ROOT,
            env={"STUDIO_HOME": str(home), "PATH": ""},
            input=_PASSWORD,
            text=True,
            check=True,
            capture_output=True,
        )
    with Server(home, sample_data="0") as running:
        yield running


_ANNOTATORS = ("ann", "bob", "cem")


class _Person:
    """Someone at a browser of their own, logged in by the form."""

    def __init__(self, browser: Browser, server: Server, name: str) -> None:
        self.name = name
        self._context = browser.new_context(
            viewport={"width": 1440, "height": 900}, base_url=server.address, accept_downloads=True
        )
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.goto("/")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(_PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url("**/studio/**" if name == "lea" else "**/annotate/**")

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """A request with this person's session, as the page itself sends it."""
        answer = self._context.request.fetch(path, method=method, data=body)
        return answer.status, answer.json() if "json" in answer.headers.get("content-type", "") else None

    def begin(self, project: str) -> None:
        """Open the project's card and wait for the first pair."""
        self.page.goto(f"/annotate/?tab=annotate&project={project}")
        expect(self.page.locator("[data-part=a]")).not_to_be_empty()

    def shuts_the_laptop(self) -> None:
        """Gone without a word: nothing is released, because nothing reaches the server any more."""
        self._context.set_offline(True)
        self._context.close()

    def close(self) -> None:
        self._context.close()


@pytest.fixture(scope="module")
def people(browser: Browser, team: Server) -> Iterator[dict[str, _Person]]:
    made = {name: _Person(browser, team, name) for name in ("lea", *_ANNOTATORS)}
    yield made
    for person in made.values():
        person.close()


@pytest.fixture(scope="module")
def project(people: dict[str, _Person], pairs: Path) -> str:
    """Opened by the lead, by clicks."""
    lea = people["lea"]
    page = lea.page
    page.goto("/studio/?tab=data&new=import")
    page.set_input_files("input[type=file]", pairs)
    _field(page, "Dataset").fill("steps")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("steps@1 is ready:")).to_be_visible()
    page.goto("/studio/?tab=annotate&new=project&dataset=steps@1")
    items = page.get_by_role("combobox", name="Items", exact=True)
    expect(items).to_have_value(f"steps@1 ({_PAIRS} rows, preference)")
    _field(page, "Name").fill("Every step")
    _field(page, "People an item").fill("2")
    _field(page, "Guideline").fill("Prefer what says **why**.")
    page.get_by_text("Checks, suggestions and time").click()
    _field(page, "Minutes before an item goes to somebody else").fill("1")
    page.get_by_role("button", name="Open the project").click()
    expect(page.get_by_text(f"Every step is open with {_PAIRS} items.")).to_be_visible()
    [made] = lea.ask("GET", "/annotation")[1]
    # Gradio writes a field's first value again in the frame after its accordion opened. A fill before that is
    # lost: the project would keep 15 minutes, and the closed laptop its pairs.
    status, changed = lea.ask("PATCH", f"/annotation/{made['id']}", {"lease_seconds": _LEASE_SECONDS})
    assert (status, changed["lease_seconds"]) == (200, _LEASE_SECONDS)
    return str(made["id"])


def _field(page: Page, label: str) -> Locator:
    """The shown field of that name; a label holds the field's explanation too."""
    fields = page.locator(".td-form").get_by_label(label).and_(page.locator("input, textarea"))
    return fields.locator("visible=true").first


def _progress(person: _Person, project: str) -> Any:
    return person.ask("GET", f"/annotation/{project}/progress")[1]


def _key(number: int, name: str) -> str:
    """What a person says about the n-th pair that they see: mostly one side, so that some disagree."""
    return "3" if number % 7 == len(name) + ord(name[0]) % 7 else "1" if (number + ord(name[0])) % 3 else "2"


def _label(person: _Person, project: str, most: int) -> int:
    """Label by keyboard until ``most`` are given or nothing is offered; how many were given."""
    card = person.page.locator("[data-part=done]")
    given = 0
    while given < most and not card.is_visible():
        person.page.wait_for_timeout(_LOOK_MS)
        person.page.keyboard.press(_key(given, person.name))
        given += 1
    return given


def _own(person: _Person, project: str) -> list[Any]:
    status, found = person.ask("GET", f"/annotation/{project}/labels?limit=500")
    assert status == 200
    return list(found)


def test_nobody_sees_anothers_labels_early_and_no_pair_is_given_too_often(
    people: dict[str, _Person], project: str
) -> None:
    for name in _ANNOTATORS:
        people[name].begin(project)
    assert _label(people["ann"], project, 1) == 1
    _wait_for(lambda: len(_own(people["ann"], project)) == 1)
    [early] = _own(people["ann"], project)
    for name in _ANNOTATORS:
        assert people[name].ask("GET", f"/annotation/{project}/items/{early['item_id']}/others")[0] == 403
    for _ in range(_FIRST):
        for name in _ANNOTATORS:
            assert _label(people[name], project, 1) == 1
    _wait_for(lambda: sum(len(_own(people[n], project)) for n in _ANNOTATORS) == 1 + 3 * _FIRST)
    counted = Counter(label["item_id"] for name in _ANNOTATORS for label in _own(people[name], project))
    assert max(counted.values()) <= 2
    # Neither the dashboard nor an export is a way round.
    for path in ("review", "review/consensus", "review/inbox", "export/labels"):
        assert people["ann"].ask("GET", f"/annotation/{project}/{path}")[0] == 403, path


def test_a_closed_laptops_lease_returns_and_every_pair_gets_two_labels(
    people: dict[str, _Person], project: str
) -> None:
    people["cem"].shuts_the_laptop()
    working = [people["ann"], people["bob"]]
    for _ in range(_PAIRS):
        for person in working:
            _label(person, project, 1)
    # All but what the closed laptop holds: it fetched a few pairs ahead.
    _wait_for(lambda: _progress(people["lea"], project)["left"] <= 12)
    # What the closed laptop held comes back by itself; whoever does not want to wait looks again.
    for _ in range(60):
        if _progress(working[0], project)["left"] == 0:
            break
        for person in working:
            person.page.wait_for_timeout(2000)
            again = person.page.get_by_role("button", name="Look again now")
            if again.is_visible():
                again.click()
                person.page.wait_for_timeout(_LOOK_MS)
            _label(person, project, 3)
    found = _progress(working[0], project)
    assert (found["needed"], found["left"]) == (2 * _PAIRS, 0)


def test_the_lead_decides_what_people_disagree_on_and_exports(
    people: dict[str, _Person], project: str, tmp_path: Path
) -> None:
    lea = people["lea"]
    page = lea.page
    page.goto(f"/studio/?tab=review&project={project}")
    expect(page.get_by_text("ann", exact=True).first).to_be_visible()
    waiting = lea.ask("GET", f"/annotation/{project}/review/inbox")[1]
    assert waiting
    page.goto(f"/studio/?tab=review&project={project}&view=inbox")
    expect(page.locator(".td-judge [data-part=a]")).not_to_be_empty()
    page.wait_for_timeout(1000)
    page.keyboard.press("1")
    _wait_for(lambda: len(lea.ask("GET", f"/annotation/{project}/review/inbox")[1]) == len(waiting) - 1)
    page.goto(f"/studio/?tab=review&project={project}&view=export")
    with page.expect_download() as download:
        page.get_by_role("link", name="Labels as JSONL").click()
    rows = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    counted = Counter(row["item_id"] for row in rows)
    assert (len(rows), set(counted.values())) == (2 * _PAIRS, {2})
    assert {row["annotator"] for row in rows} == set(_ANNOTATORS)
    with page.expect_download() as download:
        page.get_by_role("link", name="Consensus as JSONL").click()
    assert len(download.value.path().read_text().splitlines()) == _PAIRS


def _wait_for(condition: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
