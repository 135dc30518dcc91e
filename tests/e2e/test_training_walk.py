"""The queue by clicks: three runs wait, change places, one is stopped, one is mended, two are compared."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.server import Server

pytestmark = pytest.mark.e2e

_PATIENCE_MS = 120_000
_ROWS = [{"prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(24)]


@pytest.fixture(scope="module")
def runs(server: Server) -> dict[str, str]:
    """One run that trains for long, and three that wait behind it; names to ids."""
    rows = "".join(json.dumps(row) + "\n" for row in _ROWS)
    file = {"file": ("numbers.jsonl", rows, "application/jsonl")}
    assert server.client.post("/datasets/upload", files=file, data={"dataset": "numbers"}).is_success
    return {
        "hold": _start(server, "hold", max_steps=20_000, save_every=10_000),
        # No row fits into so few tokens: it fails, and its card knows what would help.
        "alpha": _start(server, "alpha", max_length=16, max_steps=4),
        "beta": _start(server, "beta", max_steps=12, eval_every=4),
        "gamma": _start(server, "gamma", max_steps=12, eval_every=4, learning_rate=5e-3),
    }


def _start(server: Server, name: str, **recipe: Any) -> str:
    values = {"model": "tiny", "dataset": "numbers", "output": f"tiny-{name}", "batch_size": 2, **recipe}
    run_id: str = server.post("/train/sft", {"recipe": values, "name": name})["id"]
    return run_id


def test_the_queue_is_put_in_another_order(page: Page, runs: dict[str, str]) -> None:
    page.goto(f"/studio/?tab=runs&run={runs['hold']}")
    queue = page.get_by_role("region", name="Queue")
    _expect_order(queue, "alpha", "beta", "gamma")
    queue.get_by_role("button", name="Move gamma up").click()
    _expect_order(queue, "alpha", "gamma", "beta")
    rows = queue.locator("[data-drag]")
    rows.nth(2).drag_to(rows.nth(0), target_position={"x": 60, "y": 3})
    _expect_order(queue, "beta", "alpha", "gamma")
    queue.get_by_role("button", name="Raise the priority of gamma").click()
    _expect_order(queue, "gamma", "beta", "alpha")
    queue.get_by_role("button", name="Lower the priority of gamma").click()
    _expect_order(queue, "beta", "alpha", "gamma")


def _expect_order(queue: Locator, *names: str) -> None:
    expect(queue.locator(".td-queue-name a")).to_have_text(list(names))


def test_a_run_is_stopped_and_the_next_one_starts(page: Page, server: Server, runs: dict[str, str]) -> None:
    page.goto(f"/studio/?tab=runs&run={runs['hold']}")
    head = page.locator("#run-head")
    page.wait_for_function(
        "() => document.querySelector('.td-panel .scatterlayer .trace')", timeout=_PATIENCE_MS
    )
    head.get_by_role("button", name="Stop", exact=True).click()
    expect(head.get_by_text("You can resume it later.")).to_be_visible()
    head.get_by_role("button", name="Keep it running").click()
    expect(head.get_by_text("You can resume it later.")).to_be_hidden()
    head.get_by_role("button", name="Stop", exact=True).click()
    head.get_by_role("button", name="Stop this run").click()
    assert server.wait_for_run(runs["hold"])["state"] == "stopped"
    expect(head.get_by_role("button", name="Resume", exact=True)).to_be_visible()
    page.get_by_text("Checkpoints", exact=True).click()
    expect(page.locator("#run-checkpoints")).to_contain_text("newest")
    beta, gamma = (server.wait_for_run(runs[name]) for name in ("beta", "gamma"))
    assert (beta["state"], gamma["state"]) == ("succeeded", "succeeded")
    assert beta["ended_at"] < gamma["ended_at"]


def test_a_failed_run_is_tried_again_with_the_fix(page: Page, server: Server, runs: dict[str, str]) -> None:
    assert server.wait_for_run(runs["alpha"])["state"] == "failed"
    page.goto(f"/studio/?tab=runs&run={runs['alpha']}")
    head = page.locator("#run-head")
    expect(head.get_by_role("region", name="Why it failed")).to_contain_text("max_length: 64")
    head.get_by_role("button", name="Retry with this fix").click()
    page.locator(".toast-body a").click()
    expect(page).to_have_url(re.compile("run=run_"))
    expect(page.get_by_text("Tries again")).to_be_visible()
    [new] = [run for run in server.get("/runs") if run["name"].startswith("alpha (try")]
    assert server.wait_for_run(new["id"])["state"] == "succeeded"
    expect(page.get_by_role("link", name="tiny-alpha@1").first).to_be_visible()


def test_two_runs_are_compared_under_an_address(page: Page, runs: dict[str, str]) -> None:
    page.goto(f"/studio/?tab=runs&run={runs['beta']}")
    page.get_by_label("Add the curve of gamma").check()
    compared = page.get_by_role("region", name="Comparison")
    expect(compared.get_by_role("table", name="Where their recipes differ")).to_contain_text("learning rate")
    expect(compared).to_contain_text("0.005")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.td-panel[data-panel=loss]')]"
        ".some(panel => new Set((panel.data || []).map(trace => trace.name.split(',')[0])).size === 2)",
        timeout=_PATIENCE_MS,
    )
    numbers = compared.get_by_role("table", name="Numbers of the runs")
    numbers.get_by_role("link", name="Train loss").click()
    sorted_by = numbers.get_by_role("columnheader", name="Train loss")
    expect(sorted_by).to_have_attribute("aria-sort", "descending")
    shared = page.url
    names = numbers.locator("td.td-main a").all_inner_texts()
    page.goto("/studio/?tab=home")
    page.goto(shared)
    expect(numbers.locator("td.td-main a")).to_have_text(names)
    expect(page.locator("#run-head").get_by_text("beta")).to_be_visible()
