"""How soon the next pair is on screen after a key: the card in Chromium, on a studio that stores each label.

``annotation.next_pair_ms`` is the median, over 80 pairs, from the key's event until the frame with the next
pair was painted; one key each 450 ms, a little more than a pair has to be seen. Items are fetched under
leases and labels stored (synchronous=FULL) all the while. Run it as ``python -m bench.annotation_card``.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from bench.report import Figure, report
from tests.browser import FLAGS, require_chromium
from tests.server import Server

_PAIRS = 80
_EVERY_MS = 450
_WORDS = 120

# A frame callback comes before a frame is painted, and a message posted in it after that.
_WATCH = """() => {
  window.waits = [];
  let pressed = 0;
  window.addEventListener('keydown', (event) => { pressed = event.timeStamp; }, true);
  document.addEventListener('pair', () => {
    if (!pressed) return;
    const from = pressed;
    pressed = 0;
    requestAnimationFrame(() => {
      const after = new MessageChannel();
      after.port1.onmessage = () => window.waits.push(performance.now() - from);
      after.port2.postMessage(0);
    });
  });
}"""


def main() -> None:
    """Measure and print ``annotation.next_pair_ms``."""
    report(next_pair())


def next_pair() -> Figure:
    """The figure."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        rows = _rows(Path(folder) / "pairs.jsonl")
        browser = playwright.chromium.launch(executable_path=require_chromium(), args=list(FLAGS))
        with Server(Path(folder) / "home", sample_data="0") as server:
            server.post("/datasets/import", {"path": str(rows), "dataset": "pairs"})
            project = server.post("/annotation", {"name": "pairs", "dataset": "pairs"})["id"]
            page = browser.new_page(base_url=server.address)
            waits = _label(page, project)
            stored = server.get(f"/annotation/{project}/progress")["labelled"]
        browser.close()
    if len(waits) < _PAIRS or stored < _PAIRS:
        raise RuntimeError(f"Only {len(waits)} pairs were shown and {stored} labels stored.")
    peer = f"{len(waits)} pairs, slowest {max(waits):.0f} ms, all {stored} labels stored"
    return Figure("annotation.next_pair_ms", statistics.median(waits), "ms", "<= 100", peer)


def _label(page: Page, project: str) -> list[float]:
    """Label by keyboard; the milliseconds from each key to its next pair."""
    page.goto(f"/studio/?tab=annotate&project={project}")
    page.wait_for_function("document.querySelector('[data-part=a]')?.textContent")
    page.evaluate(_WATCH)
    for number in range(_PAIRS):
        page.wait_for_timeout(_EVERY_MS)
        page.keyboard.press("1234"[number % 4])
    page.wait_for_timeout(2000)
    waits: list[float] = page.evaluate("window.waits")
    return waits


def _rows(path: Path) -> Path:
    """A file with pairs of about 120 words an answer, and some more than are labelled."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(_PAIRS + 20):
            chosen, rejected = (f"{word} {number} " * (_WORDS // 2) for word in ("clear", "vague"))
            row = {"prompt": f"Question {number}?", "chosen": chosen, "rejected": rejected}
            file.write(json.dumps(row) + "\n")
    return path


if __name__ == "__main__":
    main()
