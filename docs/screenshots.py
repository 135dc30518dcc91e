"""Takes the README's screenshots of the real thing: ``python -m docs.screenshots``.

It uses a studio home that the loop has been through (``STUDIO_HOME``, or ``home``), starts the studio on it,
asks one blind question, and photographs every page at 1440 pixels in both themes (with ``--all`` at 390 too).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from pages import PAGES
from studio.core import Settings
from tests.browser import FLAGS, require_chromium
from tests.server import Server

IMAGES = Path(__file__).parent / "images"
_SETTLE_MS = 2500
_ANSWER_MS = 120_000


def main() -> int:
    """Write the images that the README shows, and all others with ``--all``."""
    every = "--all" in sys.argv
    IMAGES.mkdir(exist_ok=True)
    with Server(Settings.load().home) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require_chromium(), args=list(FLAGS))
        for width, scheme in _frames(every):
            _photograph(browser, server, width, scheme)
        browser.close()
    return 0


def _frames(every: bool) -> Iterator[tuple[int, str]]:
    yield from ((1440, "light"), (1440, "dark"))
    if every:
        yield from ((390, "light"), (390, "dark"))


def _photograph(browser: Browser, server: Server, width: int, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, base_url=server.address
    )
    page = context.new_page()
    for module in PAGES:
        name = module.__name__.rpartition(".")[2]
        page.goto(f"/studio/?tab={name}{_row(server, name)}")
        if name == "chat":
            _ask(page)
        page.wait_for_timeout(_SETTLE_MS)
        page.screenshot(path=IMAGES / f"{name}-{width}-{scheme}.png")
    context.close()


def _row(server: Server, name: str) -> str:
    """The part of the address that opens something worth seeing."""
    if name == "runs":
        runs = [run for run in server.get("/runs") if run["stage"] == "sft"]
        return f"&run={runs[0]['id']}" if runs else ""
    if name == "deploy":
        found = server.get("/deployments")
        return f"&deployment={found[0]['name']}" if found else ""
    return ""


def _ask(page: Page) -> None:
    page.locator("#chat-box textarea").fill("How do I resume a stopped run?")
    page.keyboard.press("Enter")
    vote = page.get_by_role("button", name="A is better")
    vote.and_(page.locator(":enabled")).wait_for(timeout=_ANSWER_MS)


if __name__ == "__main__":
    sys.exit(main())
