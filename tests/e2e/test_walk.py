"""The loop by clicks: import, CPT and SFT with a moving curve, blind A/B, preferences, DPO, deploy, predict.

One test a station, in the order of the loop; each goes on from what the one before left in the studio.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.server import Server

pytestmark = pytest.mark.e2e

_STEPS = 8
_RUN_PATIENCE_MS = 180_000
# How many points the longest curve on the page has.
_POINTS = (
    "Math.max(0, ...[...document.querySelectorAll('.td-panel')]"
    ".flatMap(panel => (panel.data || []).map(trace => trace.x.length)))"
)
# Keeps a copy of everything that Gradio streams to the page.
_RECORD_STREAMS = """
window.streamed = [];
const ask = window.fetch;
window.fetch = async (...given) => {
  const answer = await ask(...given);
  if (String(given[0].url || given[0]).includes("/queue/") && answer.body) {
    const [kept, handed] = answer.body.tee();
    const reader = kept.getReader();
    const decoder = new TextDecoder();
    (async () => {
      for (let part = await reader.read(); !part.done; part = await reader.read())
        window.streamed.push(decoder.decode(part.value, { stream: true }));
    })().catch(() => {});  // Gradio ends its streams by aborting them.
    return new Response(handed, { status: answer.status, headers: answer.headers });
  }
  return answer;
};
const Source = window.EventSource;
window.EventSource = class extends Source {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", (event) => window.streamed.push(event.data));
  }
};
"""


def _rows() -> list[dict[str, str]]:
    questions = [f"What does step {n} of the guide ask for?" for n in range(1, 25)]
    rows = [
        {"instruction": q, "input": "", "output": f"It asks for part {n}."} for n, q in enumerate(questions)
    ]
    rows[4]["output"] = ""
    return rows


def test_a_csv_is_imported_and_its_bad_row_is_named(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "guide.csv"
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, ["instruction", "input", "output"])
        writer.writeheader()
        writer.writerows(_rows())
    page.goto("/studio/?tab=data")
    page.get_by_role("link", name="Import a file").click()
    page.set_input_files("input[type=file]", path)
    dataset = _visible(page.get_by_label("Dataset", exact=False).and_(page.locator("input, textarea")))
    dataset.fill("guide")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("guide@1 is ready:")).to_be_visible()
    page.locator(".td-rejects summary").first.click()
    expect(page.locator(".td-rejects")).to_contain_text("output")
    page.get_by_role("link", name="guide@1").first.click()
    expect(page.get_by_text("What does step 7 of the guide ask for?")).to_be_visible()


@pytest.mark.parametrize(
    ("stage", "label", "dataset"),
    [("cpt", "Read texts (CPT)", "studio-corpus@1"), ("sft", "Answer instructions (SFT)", "guide@1")],
)
def test_a_run_is_started_and_its_curve_moves(
    page: Page, server: Server, stage: str, label: str, dataset: str
) -> None:
    page.goto("/studio/?tab=train")
    data = page.get_by_label("Dataset to learn from")
    expect(data).to_have_value(re.compile("@"))
    page.get_by_label(label).check()
    expect(data).to_have_value(re.compile("corpus" if stage == "cpt" else "guide|instructions"))
    _choose(page, "Model to go on from", "tiny@1")
    _choose(page, "Dataset to learn from", dataset)
    page.get_by_label("Name of the model it makes").fill(f"tiny-{stage}")
    _visible(page.get_by_label("Max steps")).fill(str(_STEPS))
    _visible(page.get_by_label("Batch size")).fill("1")
    page.get_by_role("button", name="Start the run").click()
    page.locator(".toast-body a").click()
    _watch_the_curve(page)
    run = next(run for run in server.get("/runs") if run["stage"] == stage)
    assert server.wait_for_run(run["id"])["state"] == "succeeded"
    expect(page.get_by_role("link", name=f"tiny-{stage}@1").first).to_be_visible()


def test_a_blind_comparison_tells_nothing_before_the_vote(page: Page, server: Server) -> None:
    page.add_init_script(_RECORD_STREAMS)
    page.goto("/studio/?tab=chat")
    _choose(page, "One model", "tiny-cpt@1")
    _choose(page, "Other model", "tiny-sft@1")
    page.wait_for_timeout(1000)
    models = {m["id"]: m["reference"] for m in server.get("/models") if m["name"] in {"tiny-cpt", "tiny-sft"}}
    secrets = {*models, *models.values()}
    for turn in range(1, 4):
        page.evaluate("window.streamed = []")
        page.locator("#chat-box textarea").fill(f"Question {turn}: what is a run?")
        page.keyboard.press("Enter")
        vote = page.get_by_role("button", name="A is better")
        expect(vote).to_be_enabled(timeout=90_000)
        page.wait_for_timeout(500)
        newest = server.get("/battles", limit=1)[0]
        answers = [server.get(f"/generations/{newest[side]['generation_id']}") for side in "ab"]
        sent: list[str] = page.evaluate("window.streamed")
        assert "process_generating" in "".join(sent)
        told = "\n".join([page.locator(".td-panes").inner_text(), str(newest), str(answers), *sent])
        assert not [secret for secret in secrets if secret in told]
        [engine] = server.get("/health")["engines"]
        assert engine["adapters"] == sorted(engine["adapters"])
        vote.click()
        expect(page.locator(".td-panes")).to_contain_text(re.compile(r"tiny-(cpt|sft)@1"))


def test_a_thumb_and_a_better_answer_are_stored(page: Page, server: Server) -> None:
    page.goto("/studio/?tab=chat")
    _choose(page, "One model", "tiny-cpt@1")
    _choose(page, "Other model", "tiny-sft@1")
    page.locator("#chat-box textarea").fill("What is an adapter?")
    page.keyboard.press("Enter")
    vote = page.get_by_role("button", name="B is better")
    expect(vote).to_be_enabled(timeout=90_000)
    page.get_by_role("button", name="Helpful", exact=True).first.click()
    page.get_by_text("Add a comment or a better answer").click()
    page.get_by_label("Comment").fill("Neither is good.")
    page.get_by_label("A better answer").fill("A small set of weights on top of a base model.")
    vote.dblclick()
    expect(page.locator(".td-panes")).to_contain_text(re.compile(r"tiny-(cpt|sft)@1"))
    battles = [battle for battle in server.get("/battles") if battle["outcome"]]
    assert [b["outcome"] for b in battles].count("b") == 1


def test_votes_become_a_preference_dataset(page: Page, server: Server) -> None:
    page.goto("/studio/?tab=data")
    page.get_by_role("link", name="Build preferences").click()
    page.get_by_role("button", name="Build", exact=True).click()
    expect(page.get_by_text("preferences@1").first).to_be_visible()
    assert server.get("/datasets/preferences@1")["kind"] == "preference"


def test_dpo_goes_on_from_the_sft_adapter(page: Page, server: Server) -> None:
    page.goto("/studio/?tab=train&stage=dpo&model=tiny-sft&dataset=preferences")
    expect(page.get_by_label("Prefer better answers (DPO)")).to_be_checked()
    expect(page.get_by_label("Model to go on from")).to_have_value(re.compile("tiny-sft@1"))
    page.get_by_label("Name of the model it makes").fill("tiny-dpo")
    _visible(page.get_by_label("Max steps")).fill(str(_STEPS))
    _visible(page.get_by_label("Batch size")).fill("1")
    page.get_by_role("button", name="Start the run").click()
    page.locator(".toast-body a").click()
    _watch_the_curve(page)
    run = next(run for run in server.get("/runs") if run["stage"] == "dpo")
    done = server.wait_for_run(run["id"])
    assert done["state"] == "succeeded", done["reason"]
    chain = [model["reference"] for model in server.get("/models/tiny-dpo@1/ancestry")]
    assert chain == ["tiny-dpo@1", "tiny-sft@1", "tiny@1"]


def test_a_deployment_answers_by_click_and_by_rest(page: Page, server: Server) -> None:
    page.goto("/studio/?tab=deploy&new=deployment")
    _visible(page.get_by_label("Name", exact=False).and_(page.locator("input, textarea"))).fill("helper")
    page.get_by_label("2", exact=True).check()
    models = page.get_by_label("Model", exact=True)
    for place, reference in enumerate(("tiny-sft@1", "tiny-dpo@1")):
        _pick(page, models.locator("visible=true").nth(place), reference)
    page.get_by_role("button", name="Deploy", exact=True).click()
    expect(page.get_by_text("helper").first).to_be_visible()
    body = {
        "deployment": "helper",
        "user": "ann",
        "messages": [{"role": "user", "content": "What is a vote?"}],
        "sampling": {"max_tokens": 12},
    }
    first, second = server.post("/predict", body), server.post("/predict", body)
    assert first["variant"] == second["variant"]
    assert first["model"] in {"tiny-sft@1", "tiny-dpo@1"}
    [experiment] = server.get("/experiments")
    assert sum(variant["answers"] for variant in experiment["variants"]) == 2


def _watch_the_curve(page: Page) -> None:
    """The plot has points while the run goes on, and more of them a moment later."""
    page.wait_for_function(f"() => {_POINTS} >= 2", timeout=_RUN_PATIENCE_MS)
    before = page.evaluate(_POINTS)
    page.wait_for_function(f"() => {_POINTS} > Math.min({before}, {_STEPS - 1})", timeout=_RUN_PATIENCE_MS)


def _choose(page: Page, label: str, reference: str) -> None:
    _pick(page, _visible(page.get_by_label(label, exact=True)), reference)


def _pick(page: Page, box: Locator, reference: str) -> None:
    box.click()
    page.get_by_role("option", name=re.compile(f"^{re.escape(reference)}")).first.click()


def _visible(found: Locator) -> Locator:
    return found.locator("visible=true").first


def test_the_web_process_never_loaded_torch(server: Server) -> None:
    """It stands last: by now every station of the loop was walked in this one process."""
    assert server.process is not None
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "libtorch" not in maps
    assert "python" in maps
