"""How fast the studio is there: process start until Home can be used in Chromium, against a bare Gradio app.

The two are started in turn on a warm disk cache, each into a fresh browser context, and the medians are
compared. The studio starts on a home that has its sample data and database already, as on any day but
the first. Run it as ``python -m bench.startup``.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Error, Page, sync_playwright

from bench.report import Figure, report
from tests.browser import FLAGS, require_chromium

_ROUNDS = 5
_PATIENCE_SECONDS = 90
_BARE = """
import os, gradio as gr
with gr.Blocks() as demo:
    gr.Textbox(label="Say something")
demo.launch(server_port=int(os.environ["PORT"]), quiet=True)
"""


def main() -> None:
    """Measure and print ``startup.ratio`` and ``startup.rss_mb``."""
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require_chromium(), args=list(FLAGS))
        _studio(browser, Path(home))  # the first start imports the samples and is not measured
        bare, ours, memory = [], [], []
        for _ in range(_ROUNDS):
            bare.append(_bare(browser)[0])
            seconds, mebibytes = _studio(browser, Path(home))
            ours.append(seconds)
            memory.append(mebibytes)
        browser.close()
    ratio = statistics.median(ours) / statistics.median(bare)
    peer = f"a bare one-textbox Gradio app, {statistics.median(bare):.2f} s"
    report(
        Figure("startup.ratio", ratio, "x", "<= 1.5", peer),
        Figure("startup.rss_mb", statistics.median(memory), "MiB", "<= 350", "none"),
    )


def _bare(browser: Browser) -> tuple[float, float]:
    def usable(page: Page) -> None:
        page.get_by_label("Say something").fill("here")

    return _timed(browser, [sys.executable, "-c", _BARE], {}, "/", usable)


def _studio(browser: Browser, home: Path) -> tuple[float, float]:
    environment = {"STUDIO_HOME": str(home), "STUDIO_EMBEDDED_MODEL": "false"}

    def usable(page: Page) -> None:
        page.locator(".td-next a").click(trial=True)

    return _timed(browser, [sys.executable, "app.py"], environment, "/studio/", usable)


def _timed(
    browser: Browser,
    command: list[str],
    environment: dict[str, str],
    path: str,
    usable: Callable[[Page], None],
) -> tuple[float, float]:
    """Seconds until ``usable`` returns, and the process's resident memory (MiB) just after."""
    port = _free_port()
    ports = {"PORT": str(port), "STUDIO_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"}
    context = browser.new_context()
    page = context.new_page()
    began = time.monotonic()
    process = subprocess.Popen(
        command, env=os.environ | ports | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _open(page, f"http://127.0.0.1:{port}{path}")
        usable(page)
        return time.monotonic() - began, psutil.Process(process.pid).memory_info().rss / 2**20
    finally:
        context.close()
        process.terminate()
        process.wait(timeout=30)


def _open(page: Page, address: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            page.goto(address)
        except Error:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
