"""Labelling with a thumb at 390 pixels: all four tasks, nothing too wide, buttons large enough."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.test_annotate import INSTRUCTIONS, LOOK_MS, open_project, stored, visit
from tests.server import Server

pytestmark = pytest.mark.e2e

_LEAST_PIXELS = 28  # WCAG 2.2 asks for 24; what is pressed for each item is larger


@pytest.fixture
def phone(browser: Browser, server: Server) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, base_url=server.address
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


def tap(page: Page, *selectors: str) -> None:
    page.wait_for_timeout(LOOK_MS)
    for selector in selectors:
        page.locator(selector).tap()


def fits(page: Page) -> None:
    """Nothing is wider than the screen, and what is tapped is large enough and in reach."""
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    sizes = page.locator("[data-part=keys] button:visible").evaluate_all(
        """all => all.map(b => b.getBoundingClientRect()).map(r => [r.x, r.height, r.bottom])"""
    )
    assert sizes
    assert all(height >= _LEAST_PIXELS and bottom <= 844 for _, height, bottom in sizes), sizes


def test_preferences_by_touch(phone: Page, server: Server) -> None:
    project = open_project(server, "touched pairs")
    visit(phone, project)
    fits(phone)
    tap(phone, "[data-lean='2']", "[data-act=b]")
    assert [(x["verdict"], x["strength"]) for x in stored(phone, server, project, 1)] == [("b", 2)]
    tap(phone, "[data-act=a]", "[data-amend='1']")
    phone.wait_for_timeout(800)
    labels = stored(phone, server, project, 2)
    assert (labels[0]["verdict"], labels[0]["strength"]) == ("a", 1)
    fits(phone)
    tap(phone, "[data-act=skip]")
    phone.get_by_role("button", name="It is harmful or private").tap()
    stored(phone, server, project, 2, skipped=1)
    tap(phone, "[data-act=undo]")
    stored(phone, server, project, 2)


def test_ratings_by_touch(phone: Page, server: Server) -> None:
    project = open_project(server, "touched ratings", task="rating")
    visit(phone, project, door="annotate")
    fits(phone)
    tap(phone, "[data-rate=b5]", "[data-rate=a1]", "[data-act=store]")
    (label,) = stored(phone, server, project, 1)
    assert (label["rating_a"], label["rating_b"]) == (1, 5)


def test_writing_by_touch(phone: Page, server: Server) -> None:
    project = open_project(server, "touched edits", task="edit", dataset=INSTRUCTIONS)
    visit(phone, project)
    fits(phone)
    phone.locator("[data-part=better]").fill("Short and right.")
    tap(phone, "[data-act=store]")
    (label,) = stored(phone, server, project, 1)
    assert (label["verdict"], label["better_answer"]) == ("edited", "Short and right.")


def test_accepting_by_touch(phone: Page, server: Server) -> None:
    project = open_project(server, "touched accepts", task="accept", dataset=INSTRUCTIONS)
    visit(phone, project)
    fits(phone)
    tap(phone, "[data-act=reject]")
    tap(phone, "[data-act=accept]")
    assert [x["verdict"] for x in stored(phone, server, project, 2)] == ["accept", "reject"]
    tap(phone, "[data-act=history]")
    expect(phone.locator(".td-history li")).to_have_count(2)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
