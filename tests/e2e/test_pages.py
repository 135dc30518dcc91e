"""Every page at both widths: it opens, needs no network, and does not scroll sideways."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from pages import PAGES
from tests.server import Server

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits(browser: Browser, server: Server, width: int, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, base_url=server.address
    )
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda asked: problems.extend(_foreign(server, asked.url)))
    for module in PAGES:
        name = module.__name__.rpartition(".")[2]
        page.goto(f"/studio/?tab={name}")
        expect(page.get_by_role("heading", name=module.TITLE, exact=True).first).to_be_visible(timeout=30_000)
        page.wait_for_timeout(500)
        wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wider <= 0, f"{module.TITLE} is {wider} pixels wider than {width}"
    context.close()
    assert not problems


def test_the_root_leads_to_the_studio(browser: Browser, server: Server) -> None:
    page = browser.new_page(base_url=server.address)
    page.goto("/")
    expect(page).to_have_url(f"{server.address}/studio/")
    page.close()


def test_the_rest_page_works_without_a_network(browser: Browser, server: Server) -> None:
    page = browser.new_page(base_url=server.address)
    foreign: list[str] = []
    page.on("request", lambda asked: foreign.extend(_foreign(server, asked.url)))
    page.goto("/docs")
    expect(page.get_by_text("/train/sft").first).to_be_visible()
    page.close()
    assert not foreign


def _foreign(server: Server, address: str) -> list[str]:
    """``address`` where it leads away from the studio: nothing may need a network."""
    ours = address.startswith((server.address, "data:", "blob:"))
    return [] if ours else [f"asked {address}"]
