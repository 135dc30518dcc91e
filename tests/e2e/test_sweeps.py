"""Sweeps in a browser: one that has ended is read and its best is trained; a new one is begun and stopped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from studio.core import LOCAL_ADMIN, Settings
from studio.datasets import ImportRequest
from studio.registry import BaseSource
from studio.studio import open_studio
from studio.training.sweeps import SweepState, Trial, TrialState
from tests.server import Server

pytestmark = pytest.mark.e2e

_ROWS = [{"prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(40)]
_SPACE = {"learning_rate": "1e-5 to 1e-2 log", "lora.r": [8, 16, 32], "scheduler": ["cosine", "linear"]}
_RECIPE = {"stage": "sft", "model": "tiny", "dataset": "numbers", "max_steps": 4, "eval_every": 2}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, brief_model: Path) -> Iterator[Server]:
    """A studio in which a sweep of eight trials has ended."""
    home = tmp_path_factory.mktemp("sweeps") / "home"
    seeded(home, brief_model)
    with Server(home, sample_data="0") as running:
        yield running


def seeded(home: Path, model: Path) -> str:
    """A home with an ended sweep; returns its id."""
    studio = open_studio(Settings(_env_file=None, home=home, embedded_model=False, sample_data=False))
    studio.registry.register_base(LOCAL_ADMIN, BaseSource(str(model), "tiny"))
    source = home.with_name("numbers.jsonl")
    source.write_text("".join(json.dumps(row) + "\n" for row in _ROWS))
    studio.datasets.import_file(LOCAL_ADMIN, ImportRequest(source, "numbers"))
    plan = {"name": "first", "recipe": _RECIPE, "space": _SPACE, "trials": 8}
    sweep = studio.sweeps.start(LOCAL_ADMIN, plan)
    store = studio.sweeps._store
    for number, value in enumerate((2.4, 1.9, 2.1, 1.6, 3.2, 1.7, 1.65, 2.9)):
        params = {
            "learning_rate": 1e-5 * 2.5**number,
            "lora.r": (8, 16, 32)[number % 3],
            "scheduler": ("cosine", "linear")[number % 2],
        }
        pruned = value > 2.5
        state = TrialState.PRUNED if pruned else TrialState.COMPLETE
        why = "Pruned at step 2: its best eval loss so far, 3.2, is above 2, the median." if pruned else ""
        store.add_trial(Trial(sweep.id, number, params, state, "", value, why, 0.0, float(number)))
    store.move(sweep.id, (SweepState.RUNNING,), SweepState.FINISHED, "", 9.0)
    studio.close()
    return sweep.id


def test_a_sweep_is_read_and_its_best_is_trained(page: Page, server: Server) -> None:
    page.goto("/studio/?tab=sweeps")
    page.get_by_role("table", name="Sweeps").get_by_role("link", name="first").click()
    expect(page).to_have_url(re.compile("sweep=sweep_"))
    charts = page.locator("#sweep-charts")
    expect(charts.locator(".td-chart")).to_have_count(3)
    expect(charts.locator(".td-chart").nth(2).locator(".scatterlayer .trace")).to_have_count(6)
    expect(charts.locator(".td-chart").nth(1)).to_contain_text("PED-ANOVA")
    table = page.get_by_role("table", name="Trials")
    table.get_by_role("link", name="Held-out loss").click()
    judged = table.get_by_role("columnheader", name="Held-out loss")
    expect(judged).to_have_attribute("aria-sort", "descending")
    table.get_by_role("link", name="Held-out loss").click()
    expect(table.locator("tbody tr").first).to_contain_text("Trial 4")
    expect(table.locator("tbody tr").first).to_contain_text("best")
    head = page.locator("#sweep-head")
    head.get_by_role("button", name="Train the best").click()
    head.get_by_label("Epochs").fill("2")
    head.get_by_role("button", name="Start this run").click()
    expect(page.locator(".toast-body a")).to_contain_text("first best (#4)")
    [run] = server.get("/runs")
    assert "epochs: 2.0" in run["recipe"]
    assert "max_steps: -1" in run["recipe"]


def test_a_sweep_is_begun_in_the_form_and_stopped(page: Page, server: Server) -> None:
    page.goto("/studio/?tab=sweeps")
    page.get_by_role("link", name="New sweep").click()
    expect(page.get_by_label("Dataset to learn from")).to_have_value(re.compile("numbers"))
    page.get_by_label("Values of Learning rate").fill("1e-4 to 1e-2 log")
    page.get_by_label("Trials", exact=True).fill("3")
    expect(page.get_by_text(re.compile("^3 trials[.,]"))).to_be_visible()
    page.get_by_role("button", name="Start the sweep").click()
    page.get_by_role("link", name="Watch its trials").last.click()
    head = page.locator("#sweep-head")
    expect(head).to_contain_text("1 trial under way")
    head.get_by_role("button", name="Stop", exact=True).click()
    head.get_by_role("button", name="Stop this sweep").click()
    expect(head.get_by_role("button", name="Resume")).to_be_visible()
    newest = server.get("/sweeps")[0]
    assert newest["state"] == "stopped"
    assert newest["plan"]["space"]["learning_rate"] == "1e-4 to 1e-2 log"
    page.goto("/studio/?tab=sweeps&new=1")
    expect(page.get_by_text(re.compile("^12 trials[.,]"))).to_be_visible()
    page.get_by_label("Values of Learning rate").fill("lots")
    page.get_by_role("button", name="Start the sweep").click()
    expect(page.get_by_text("space.learning_rate: 'lots' does not fit")).to_be_visible()
