"""A browser, and a studio with sample data and a tiny random model, started as a person starts it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Response,
    expect,
    sync_playwright,
)

from tests.browser import FLAGS, require_chromium
from tests.server import Server
from tests.tinymodel import build_tiny_model

# A machine may be busy with other things; five seconds, the default, is then too little for a page.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    # Playwright keeps an event loop running in this thread, where other packages' tests need their own.
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=require_chromium(), args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def brief_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model whose answers end by themselves, so that votes on them can become pairs."""
    return build_tiny_model(tmp_path_factory.mktemp("brief") / "model", end_scale=30.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, brief_model: Path) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("e2e") / "home") as running:
        running.post("/models", {"location": str(brief_model), "name": "tiny"})
        yield running


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """A page of 1440 pixels that fails the test where a script or a request of its fails."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=server.address)
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    problems: list[str] = []
    leaving = _Leaving(opened)
    opened.on("pageerror", lambda error: problems.extend(leaving.judged(str(error))))
    opened.on("console", lambda message: problems.extend(_failures(message, leaving)))
    opened.on("response", lambda answer: problems.extend(_refused(answer)))
    yield opened
    context.close()
    assert not problems


class _Leaving:
    """Tells apart what Gradio says of requests that it breaks off as its page is being left.

    Its client ends its streams on `beforeunload`, before the browser asks for the next page. So the page
    itself says when that begins and when the next one is there, in one order with its other messages.
    """

    _SAID = ("AbortError: signal is aborted", "Unexpected error Connection errored out")
    _GOES, _CAME = "This page is being left.", "This page is new."
    _SCRIPT = """if (window === top) {
        console.debug(%r);
        addEventListener("beforeunload", () => console.debug(%r));
    }"""

    def __init__(self, page: Page) -> None:
        self._under_way = False
        page.on("console", self._hear)
        page.add_init_script(self._SCRIPT % (self._CAME, self._GOES))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.text in (self._GOES, self._CAME):
            self._under_way = message.text == self._GOES

    def judged(self, text: str) -> list[str]:
        """The problem, unless it is only that the page is being left."""
        return [] if self._under_way and text.startswith(self._SAID) else [text]


def _failures(message: ConsoleMessage, leaving: _Leaving) -> list[str]:
    # Refused requests are judged by their answers below.
    refused = message.text.startswith("Failed to load resource")
    return leaving.judged(message.text) if message.type == "error" and not refused else []


def _refused(answer: Response) -> list[str]:
    # Some tests make these routes fail on purpose.
    failed = answer.status >= 400 and not answer.url.endswith(("/labels", "/others", "/undo"))
    return [f"{answer.status} {answer.url}"] if failed else []
