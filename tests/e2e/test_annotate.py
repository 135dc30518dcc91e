"""Labelling by keyboard: every key is stored, undo brings the pair back, and nothing is lost offline."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.server import Server

pytestmark = pytest.mark.e2e

# A little over the time for which a pair has to be seen before a key counts.
_LOOK_MS = 480


@pytest.fixture
def queue(server: Server, request: pytest.FixtureRequest) -> str:
    body = {
        "dataset": "studio-preferences-eval",
        "name": request.node.name,
        "guideline": "Prefer what helps.",
    }
    key: str = server.post("/annotation", body)["id"]
    return key


def test_keys_are_stored_and_undone(page: Page, server: Server, queue: str) -> None:
    page.goto(f"/studio/?tab=annotate&queue={queue}")
    expect(page.locator("[data-part=a]")).not_to_be_empty()
    for key in "1234s":
        page.wait_for_timeout(_LOOK_MS)
        page.keyboard.press(key)
    _expect_progress(page, server, queue, labelled=4, skipped=1)
    shown = page.locator("[data-part=a]").inner_text()
    page.wait_for_timeout(_LOOK_MS)
    page.keyboard.press("2")
    _expect_progress(page, server, queue, labelled=5, skipped=1)
    page.keyboard.press("u")
    _expect_progress(page, server, queue, labelled=4, skipped=1)
    expect(page.locator("[data-part=a]")).to_have_text(shown)


def test_hammering_labels_no_unread_pair(page: Page, server: Server, queue: str) -> None:
    page.goto(f"/studio/?tab=annotate&queue={queue}")
    expect(page.locator("[data-part=a]")).not_to_be_empty()
    for _ in range(20):
        page.keyboard.press("1")
    page.wait_for_timeout(1500)
    assert server.get(f"/annotation/{queue}/progress")["labelled"] <= 2


def test_labels_wait_in_the_browser_while_the_server_is_away(page: Page, server: Server, queue: str) -> None:
    page.goto(f"/studio/?tab=annotate&queue={queue}")
    expect(page.locator("[data-part=a]")).not_to_be_empty()
    page.route("**/labels", lambda route: route.fulfill(status=503, body="{}"))
    for key in "12":
        page.wait_for_timeout(_LOOK_MS)
        page.keyboard.press(key)
    expect(page.locator("[data-part=trouble]")).to_be_visible()
    assert server.get(f"/annotation/{queue}/progress")["labelled"] == 0
    page.unroute("**/labels")
    page.reload()
    _expect_progress(page, server, queue, labelled=2, skipped=0)


def _expect_progress(page: Page, server: Server, queue: str, *, labelled: int, skipped: int) -> None:
    for _ in range(60):
        found = server.get(f"/annotation/{queue}/progress")
        if (found["labelled"], found["skipped"]) == (labelled, skipped):
            return
        page.wait_for_timeout(200)
    raise AssertionError(found)
