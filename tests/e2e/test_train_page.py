"""The Train page in a browser: presets, several datasets, the check, the change that fits, the start."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.server import Server

pytestmark = pytest.mark.e2e

_FOCUSED = "document.activeElement.getAttribute('aria-label') || document.activeElement.innerText"


@pytest.fixture
def opened(page: Page) -> Page:
    """The Train page once its choices are there."""
    page.goto("/studio/?tab=train")
    expect(page.get_by_label("Dataset to learn from")).to_have_value(re.compile("@"))
    expect(page.locator("#train-memory")).to_contain_text("at its peak")
    return page


def _fold(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def _field(page: Page, label: str) -> Locator:
    return page.get_by_label(label, exact=True).and_(page.locator("input:visible"))


def test_a_preset_fills_the_form_until_somebody_changes_a_value(opened: Page) -> None:
    best = opened.get_by_label("Best: slower, more memory")
    expect(opened.get_by_label("Balanced: a sound first run")).to_be_checked()
    best.check()
    expect(_field(opened, "LoRA rank")).to_have_value("64")
    expect(opened.get_by_text("Takes several times as long")).to_be_visible()
    _field(opened, "LoRA rank").fill("12")
    expect(best).not_to_be_checked()
    expect(opened.get_by_text("Your own values.")).to_be_visible()
    opened.get_by_label("YAML", exact=True).check()
    expect(opened.locator(".td-yaml").first).to_contain_text("r: 12")
    opened.get_by_label("Form", exact=True).check()
    expect(_field(opened, "LoRA rank")).to_have_value("12")
    opened.get_by_label("Score answers (Reward)").check()
    expect(_field(opened, "Center rewards")).to_be_visible()
    expect(_field(opened, "Packing")).to_have_count(0)


def test_what_is_typed_while_a_preset_is_fetched_stays(opened: Page) -> None:
    held: list[Route] = []

    def hold(event: Route) -> None:
        held.append(event)

    opened.route("**/queue/join*", hold)
    opened.get_by_label("Best: slower, more memory").check()
    while not held:
        opened.wait_for_timeout(50)
    _field(opened, "LoRA rank").fill("12")
    with opened.expect_response("**/queue/join*"):
        for event in held:
            event.continue_()
    opened.unroute("**/queue/join*", hold)
    opened.get_by_label("YAML", exact=True).check()
    expect(opened.locator(".td-yaml").first).to_contain_text("r: 12")
    opened.get_by_label("Form", exact=True).check()
    expect(_field(opened, "LoRA rank")).to_have_value("12")
    expect(opened.get_by_text("Your own values.")).to_be_visible()


def test_several_datasets_are_mixed_by_keyboard(opened: Page, server: Server) -> None:
    _add_instructions(server)
    # The choices of a stage come a moment after it, and are drawn anew then.
    data = opened.get_by_label("Dataset to learn from")
    opened.get_by_label("Read texts (CPT)").check()
    expect(data).to_have_value(re.compile("corpus"))
    opened.get_by_label("Answer instructions (SFT)").check()
    expect(data).to_have_value(re.compile("numbers"))
    _fold(opened, "Learn from several datasets")
    opened.get_by_role("button", name="Add a dataset").focus()
    opened.keyboard.press("Enter")
    assert opened.evaluate(_FOCUSED) == "Dataset 2"
    opened.keyboard.press("Tab")
    opened.keyboard.type("3")
    expect(opened.locator("#train-mix")).to_contain_text("% of the rows")
    _fold(opened, "Run it from a terminal")
    expect(opened.locator(".td-terminal")).to_contain_text("mix:\n- dataset:")
    # What came by itself meanwhile took the focus from nobody.
    assert str(opened.evaluate(_FOCUSED)).startswith("Run it")
    opened.get_by_role("button", name=re.compile("^Remove ")).click()
    expect(opened.locator(".td-terminal")).to_contain_text("mix: []")


def test_a_check_shows_findings_and_every_row_in_tokens(opened: Page) -> None:
    opened.get_by_role("button", name="Check before training").click()
    expect(opened.get_by_role("heading", name="What will be trained, token by token")).to_be_visible()
    expect(opened.locator(".td-preflight")).to_contain_text("ready to run")
    expect(opened.locator("mark.td-tok-learnt").first).to_be_visible()
    opened.get_by_label("Go to row").fill("3")
    opened.keyboard.press("Enter")
    expect(opened.locator(".td-tokens h4").first).to_have_text("Row 3")
    _field(opened, "Max length").fill("4096")
    expect(opened.get_by_text("has changed since it was checked")).to_be_visible()
    opened.get_by_role("button", name="Start the run").click()
    expect(opened.get_by_text("4096 is longer than the 512")).to_be_visible()
    opened.get_by_role("button", name="Check before training").click()
    expect(opened.locator(".td-preflight .td-findings.td-bad")).to_contain_text("max_length")


def test_the_change_that_fits_is_taken_on_a_phone(browser: Browser, server: Server) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, base_url=server.address)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto("/studio/?tab=train&dataset=studio-instructions")
    expect(page.locator("#train-memory")).to_contain_text("at its peak")
    # No machine holds the activations of this many rows at once.
    _field(page, "Batch size").fill("4096")
    _field(page, "LoRA rank").fill("512")
    take = page.get_by_role("button", name="Use this change")
    if _fits(server):
        pytest.skip("this machine has memory for 4,096 rows at once")
    take.click()
    expect(take).to_have_count(0)
    wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wider <= 0
    context.close()


def test_a_start_says_where_the_run_stands_and_is_not_doubled(opened: Page, server: Server) -> None:
    before = len(server.get("/runs"))
    opened.get_by_label("Fast: a first look").check()
    expect(_field(opened, "LoRA rank")).to_have_value("8")
    _field(opened, "Max steps").fill("2")
    opened.get_by_label("Name of the run").fill("Twice clicked")
    _fold(opened, "When it runs")
    expect(_field(opened, "Priority")).to_have_value("0")
    # Gradio mounts what is in a fold when it opens, and sets its value once more.
    opened.wait_for_timeout(500)
    _field(opened, "Priority").fill("7")
    expect(_field(opened, "Priority")).to_have_value("7")
    opened.get_by_role("button", name="Start the run").dblclick()
    standing = opened.locator(".td-note", has_text="Twice clicked")
    expect(standing).to_contain_text(re.compile("Place 1|starting|running|succeeded"))
    runs: list[Any] = server.get("/runs")
    assert len(runs) == before + 1
    assert (runs[0]["name"], runs[0]["priority"]) == ("Twice clicked", 7)
    assert server.wait_for_run(runs[0]["id"])["state"] == "succeeded"
    expect(standing).to_contain_text("succeeded")


def _fits(server: Server) -> bool:
    recipe = {"model": "tiny", "dataset": "studio-instructions", "batch_size": 4096, "lora": {"r": 512}}
    return bool(server.post("/train/estimate", {"stage": "sft", "recipe": recipe})["fits"])


def _add_instructions(server: Server) -> None:
    rows = "\n".join(f'{{"instruction": "What is {n}?", "output": "{n}"}}' for n in range(30))
    files = {"file": ("numbers.jsonl", rows)}
    answer = server.client.post("/datasets/upload", data={"dataset": "numbers"}, files=files)
    assert answer.is_success, answer.text
