"""How long a logged point takes to the screen: a run's file against the trace in Chromium.

It prints ``plots.on_screen_ms``, and the ``plots.update_ms`` of ``bench.curves``.

A tiny run trains under the real supervisor while its page is open. For each step the moment at which its line
is in ``metrics.jsonl`` is compared with the moment at which Plotly's trace has it. Both are seen by polling
every few milliseconds, so the figure is a little too high. Run it as ``python -m bench.plots``.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from bench import curves
from bench.report import Figure, report
from tests.browser import FLAGS, require_chromium
from tests.server import ROOT, Server
from tests.tinymodel import build_tiny_model

_STEPS = 150
_LOOK_MS = 20
_MOST_SECONDS = 180

# Remembers, in the page, when the longest trace first had each number of points.
_WATCH = """() => { window.seenAt = {}; setInterval(() => {
  const lengths = [...document.querySelectorAll('.td-panel')]
    .flatMap(panel => (panel.data || []).filter(t => t.x.length).map(t => t.x[t.x.length - 1]));
  const newest = Math.max(0, ...lengths);
  if (newest && !(newest in window.seenAt)) window.seenAt[newest] = Date.now() / 1000;
}, LOOK_MS); }""".replace("LOOK_MS", str(_LOOK_MS))


def main() -> None:
    """Measure and print both."""
    curves.main()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        model = build_tiny_model(Path(folder) / "model")
        browser = playwright.chromium.launch(executable_path=require_chromium(), args=list(FLAGS))
        with Server(Path(folder) / "home", sample_data="0") as server:
            run_id = _start(server, model)
            page = browser.new_page()
            page.goto(f"{server.address}/studio/?tab=runs&run={run_id}")
            page.evaluate(_WATCH)
            written = _written(server, run_id)
            shown = _shown(page)
        browser.close()
    waits = [1000 * (_first(shown, step) - at) for step, at in written.items()]
    peer = f"the moment the line is in the file; {len(waits)} points, slowest {max(waits):.0f} ms"
    report(Figure("plots.on_screen_ms", statistics.median(waits), "ms", "<= 1500", peer))


def _first(shown: dict[int, float], step: int) -> float:
    """When ``step`` was on screen: with the first trace that ends at it or after it."""
    return min(at for newest, at in shown.items() if newest >= step)


def _start(server: Server, model: Path) -> str:
    server.post("/models", {"location": str(model), "name": "tiny"})
    server.post("/datasets/import", {"path": str(ROOT / "data" / "instructions.jsonl"), "dataset": "rows"})
    recipe = {"model": "tiny", "dataset": "rows", "max_steps": _STEPS, "batch_size": 8, "log_every": 1}
    run_id: str = server.post("/train/sft", {"recipe": recipe})["id"]
    return run_id


def _written(server: Server, run_id: str) -> dict[int, float]:
    """When each step was first seen in the file, in seconds since the epoch."""
    path = server.home / "runs" / run_id / "metrics.jsonl"
    seen: dict[int, float] = {}
    deadline = time.monotonic() + _MOST_SECONDS
    while len(seen) < _STEPS and time.monotonic() < deadline:
        if path.exists():
            for line in path.read_text().rpartition("\n")[0].splitlines():
                seen.setdefault(json.loads(line).get("step", 0), time.time())
        time.sleep(_LOOK_MS / 1000)
    time.sleep(3)
    return {step: at for step, at in seen.items() if step > 1}


def _shown(page: Page) -> dict[int, float]:
    found: dict[str, float] = page.evaluate("window.seenAt")
    return {int(step): at for step, at in found.items()}


if __name__ == "__main__":
    main()
