"""Labelling by keyboard: all four tasks, every key stored, undo brings back, nothing is lost offline."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.server import Server

pytestmark = pytest.mark.e2e

# A little over the time for which an item has to be seen before a key counts.
LOOK_MS = 480
_PATIENCE_MS = 30_000
_LEAST_VIEW_SECONDS = 0.4
PAIRS, INSTRUCTIONS = "studio-preferences-eval", "studio-instructions-eval"


def open_project(server: Server, name: str, **values: Any) -> str:
    body = {"name": name, "dataset": PAIRS, "guideline": "Prefer what **helps**."} | values
    key: str = server.post("/annotation", body)["id"]
    return key


def visit(page: Page, project: str, door: str = "studio") -> None:
    page.goto(f"/{door}/?tab=annotate&project={project}")
    is_shown(page)
    page.wait_for_function(_QUIET)


# Gradio's streams of events have ended: it complains where a reload cuts one off.
_QUIET = """() => {
  const seen = performance.getEntriesByType('resource');
  const of = (part) => seen.filter((one) => one.name.includes(part)).map((one) => one.responseEnd);
  const last = (part) => Math.max(0, ...of(part));
  return last('queue/join') > 0 && last('queue/data') > last('queue/join');
}"""


def is_shown(page: Page) -> None:
    """Wait for the item; a machine that does other things too may take its time to start a page."""
    expect(page.locator("[data-part=a]")).not_to_be_empty(timeout=_PATIENCE_MS)


def press(page: Page, *keys: str) -> None:
    """Look at the item for long enough, then press."""
    page.wait_for_timeout(LOOK_MS)
    for key in keys:
        page.keyboard.press(key)


def stored(page: Page, server: Server, project: str, labelled: int, skipped: int = 0) -> list[dict[str, Any]]:
    """The labels, newest first, once there are so many."""
    found: dict[str, Any] = {}
    for _ in range(60):
        found = server.get(f"/annotation/{project}/progress")
        if (found["labelled"], found["skipped"]) == (labelled, skipped):
            labels: list[dict[str, Any]] = server.get(f"/annotation/{project}/labels")
            return labels
        page.wait_for_timeout(200)
    raise AssertionError(found)


@pytest.fixture
def project(server: Server, request: pytest.FixtureRequest) -> str:
    return open_project(server, request.node.name)


def test_keys_are_stored_and_undone(page: Page, server: Server, project: str) -> None:
    visit(page, project)
    for key in "1234":
        press(page, key)
    labels = stored(page, server, project, 4)
    assert [label["verdict"] for label in labels] == ["both_bad", "tie", "b", "a"]
    shown = page.locator("[data-part=a]").inner_text()
    press(page, "2")
    stored(page, server, project, 5)
    page.keyboard.press("u")
    stored(page, server, project, 4)
    expect(page.locator("[data-part=a]")).to_have_text(shown)


def test_undo_of_a_change_brings_the_label_back(page: Page, server: Server, project: str) -> None:
    visit(page, project)
    shown = page.locator("[data-part=a]").inner_text()
    press(page, "1")
    stored(page, server, project, 1)
    page.keyboard.press("h")
    page.get_by_role("button", name="Change").click()
    is_shown(page)
    press(page, "2")
    page.wait_for_timeout(800)
    assert stored(page, server, project, 1)[0]["verdict"] == "b"
    press(page, "u")
    expect(page.locator("[data-part=notice]")).to_contain_text("stands again")
    expect(page.locator("[data-part=a]")).to_have_text(shown)
    assert stored(page, server, project, 1)[0]["verdict"] == "a"
    # Leaving it changes nothing; undoing once more takes it back.
    press(page, "u")
    stored(page, server, project, 0)
    expect(page.locator("[data-part=a]")).to_have_text(shown)


def test_undo_reaches_back_beyond_a_reload(page: Page, server: Server, project: str) -> None:
    visit(page, project)
    first = page.locator("[data-part=prompt]").inner_text()
    press(page, "1")
    stored(page, server, project, 1)
    page.reload()
    is_shown(page)
    press(page, "u")
    expect(page.locator("[data-part=prompt]")).to_have_text(first, use_inner_text=True)
    stored(page, server, project, 0)


def test_arrows_say_by_how_much_before_and_after_choosing(page: Page, server: Server, project: str) -> None:
    visit(page, project)
    press(page, "ArrowLeft", "ArrowLeft", "Enter")
    assert [(x["verdict"], x["strength"]) for x in stored(page, server, project, 1)] == [("a", 2)]
    # A lean to the other side says nothing about the one that is chosen.
    press(page, "ArrowLeft", "2")
    assert stored(page, server, project, 2)[0]["strength"] is None
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(page.locator("[data-amend='3']")).to_have_attribute("aria-pressed", "true")
    page.wait_for_timeout(800)
    labels = stored(page, server, project, 2)
    assert (labels[0]["verdict"], labels[0]["strength"]) == ("b", 3)
    # The item on screen was not touched by it.
    assert page.locator("[data-lean][aria-checked=true]").count() == 0


def test_hammering_labels_no_unread_pair(page: Page, server: Server, project: str) -> None:
    visit(page, project)
    begun = time.monotonic()
    for _ in range(20):
        page.keyboard.press("1")
    most = 1 + (time.monotonic() - begun) / _LEAST_VIEW_SECONDS
    page.wait_for_timeout(1500)
    assert server.get(f"/annotation/{project}/progress")["labelled"] <= most < 20


def test_skip_with_a_reason_and_return(page: Page, server: Server, project: str) -> None:
    visit(page, project)
    first = page.locator("[data-part=prompt]").inner_text()
    press(page, "s", "2")
    press(page, "s", "Enter")
    press(page, "s")
    page.locator("[data-part=why]").fill("Two questions in one")
    page.keyboard.press("Enter")
    reasons = [label["reason"] for label in stored(page, server, project, 0, skipped=3)]
    assert reasons == ["Two questions in one", "", "I do not know enough about it"]
    press(page, "h")
    page.get_by_role("button", name="Return to 3 skipped items").click()
    expect(page.locator("[data-part=prompt]")).to_have_text(first, use_inner_text=True)
    press(page, "1")
    stored(page, server, project, 1, skipped=2)


def test_an_earlier_label_is_changed_and_the_card_goes_on(page: Page, server: Server, project: str) -> None:
    visit(page, project)
    first = page.locator("[data-part=prompt]").inner_text()
    press(page, "1")
    stored(page, server, project, 1)
    second = page.locator("[data-part=prompt]").inner_text()
    press(page, "h")
    expect(page.locator(".td-history li")).to_contain_text("A is better")
    page.get_by_role("button", name="Change").click()
    expect(page.locator("[data-part=replacing]")).to_contain_text("You labelled this one: A is better")
    expect(page.locator("[data-part=prompt]")).to_have_text(first, use_inner_text=True)
    press(page, "3")
    expect(page.locator("[data-part=prompt]")).to_have_text(second, use_inner_text=True)
    page.wait_for_timeout(800)
    assert [label["verdict"] for label in stored(page, server, project, 1)] == ["tie"]


def test_ratings_by_keyboard(page: Page, server: Server) -> None:
    project = open_project(server, "ratings by key", task="rating")
    visit(page, project)
    press(page, "4", "Enter")
    assert server.get(f"/annotation/{project}/progress")["labelled"] == 0
    page.keyboard.press("2")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("5")
    page.keyboard.press("Enter")
    (label,) = stored(page, server, project, 1)
    assert (label["rating_a"], label["rating_b"], label["verdict"]) == (5, 2, "a")


def test_answers_are_written_by_keyboard(page: Page, server: Server) -> None:
    project = open_project(server, "edits by key", task="edit", dataset=INSTRUCTIONS)
    visit(page, project)
    press(page, "e", "Control+End")
    page.keyboard.type(" And 1 more thing.")
    draft = page.locator("[data-part=better]").input_value()
    # What is being written outlives a reload.
    page.reload()
    expect(page.locator("[data-part=better]")).to_have_value(draft)
    press(page, "e", "Control+Enter")
    (label,) = stored(page, server, project, 1)
    assert (label["verdict"], label["better_answer"]) == ("edited", draft)
    press(page, "1")
    assert stored(page, server, project, 2)[0]["verdict"] == "accept"


def test_accept_and_reject_by_keyboard(page: Page, server: Server) -> None:
    project = open_project(server, "accept by key", task="accept", dataset=INSTRUCTIONS)
    visit(page, project, door="annotate")
    press(page, "1")
    press(page, "2")
    assert [x["verdict"] for x in stored(page, server, project, 2)] == ["reject", "accept"]


def test_a_better_answer_goes_along_with_a_verdict(page: Page, server: Server, project: str) -> None:
    visit(page, project)
    press(page, "e")
    page.keyboard.type("My 1 answer")
    page.keyboard.press("Control+Enter")
    expect(page.locator("[data-part=editor]")).to_be_hidden()
    press(page, "2")
    (label,) = stored(page, server, project, 1)
    assert (label["verdict"], label["better_answer"]) == ("b", "My 1 answer")
    # It belongs to that item alone.
    press(page, "1")
    assert stored(page, server, project, 2)[0]["better_answer"] == ""


def test_the_guideline_is_markdown_and_safe(page: Page, server: Server) -> None:
    text = "# Look\n\n- **one**\n\n<img src=x onerror=alert(1)> [bad](javascript:alert(1)) [good](https://a.example)"
    project = open_project(server, "markdown", guideline=text)
    visit(page, project)
    guideline = page.locator("[data-part=guideline]")
    expect(guideline.locator("h3")).to_have_text("Look")
    expect(guideline.locator("li strong")).to_have_text("one")
    assert guideline.locator("img").count() == 0
    assert guideline.locator("a").evaluate_all("all => all.map(a => a.href)") == ["https://a.example/"]
    page.keyboard.press("g")
    expect(guideline).to_be_hidden()
    # At the next visit it stays away, until it changes.
    page.reload()
    is_shown(page)
    page.wait_for_function(_QUIET)
    expect(guideline).to_be_hidden()
    server.client.patch(f"/annotation/{project}", json={"guideline": "Changed"})
    page.reload()
    expect(guideline).to_contain_text("Changed since you last labelled here")


def test_labels_wait_in_the_browser_while_the_server_is_away(
    page: Page, server: Server, project: str
) -> None:
    visit(page, project)
    page.route("**/labels", lambda route: route.fulfill(status=503, body="{}"))
    press(page, "1")
    press(page, "2")
    expect(page.locator("[data-part=trouble]")).to_contain_text("kept in this browser")
    assert server.get(f"/annotation/{project}/progress")["labelled"] == 0
    page.unroute("**/labels")
    page.reload()
    stored(page, server, project, 2)


def test_a_logout_asks_to_log_in_and_loses_nothing(page: Page, server: Server, project: str) -> None:
    visit(page, project)
    page.route("**/labels", lambda route: route.fulfill(status=401, body="{}"))
    press(page, "1")
    trouble = page.locator("[data-part=trouble]")
    expect(trouble).to_contain_text("You are logged out. 1 label is not stored yet")
    expect(trouble.get_by_role("link", name="Log in")).to_have_attribute("href", _login(project))
    page.unroute("**/labels")
    stored(page, server, project, 1)
    expect(trouble).to_be_hidden()


def _login(project: str) -> str:
    return f"/login?next=%2Fstudio%2F%3Ftab%3Dannotate%26project%3D{project}"


def test_labels_of_another_person_are_not_sent(page: Page, server: Server, project: str) -> None:
    visit(page, project)
    page.route("**/labels", lambda route: route.fulfill(status=401, body="{}"))
    press(page, "1")
    expect(page.locator("[data-part=trouble]")).to_contain_text("You are logged out")
    page.route("**/accounts/me", lambda route: route.fulfill(json={"name": "somebody else"}))
    page.unroute("**/labels")
    page.wait_for_timeout(3000)
    is_shown(page)
    assert server.get(f"/annotation/{project}/progress")["labelled"] == 0
    # The one who gave it comes back.
    page.unroute("**/accounts/me")
    page.reload()
    stored(page, server, project, 1)


def test_a_lost_lease_is_said_kindly_and_work_goes_on(page: Page, server: Server, project: str) -> None:
    visit(page, project)
    gone = {"error": {"message": "This item went to somebody else."}}
    page.route("**/labels", lambda route: route.fulfill(status=409, json=gone))
    press(page, "1")
    expect(page.locator("[data-part=notice]")).to_contain_text("Somebody else finished that item")
    page.unroute("**/labels")
    press(page, "1")
    stored(page, server, project, 1)


def test_a_label_that_is_final_is_said_and_what_was_written_stays(
    page: Page, server: Server, project: str
) -> None:
    visit(page, project)
    press(page, "1")
    stored(page, server, project, 1)
    said = {"message": "You have seen what others said.", "details": ["Your label on it is final."]}
    page.route("**/undo", lambda route: route.fulfill(status=409, json={"error": said}))
    on_screen = page.locator("[data-part=prompt]").inner_text()
    press(page, "u")
    expect(page.locator("[data-part=notice]")).to_contain_text("You have seen what others said.")
    assert page.locator("[data-part=prompt]").inner_text() == on_screen
    page.route("**/labels", lambda route: route.fulfill(status=409, json={"error": said}))
    press(page, "e")
    page.locator("[data-part=comment]").fill("my <b>reason</b>")
    page.locator("[data-part=comment]").blur()
    press(page, "1")
    notice = page.locator("[data-part=notice]")
    expect(notice).to_contain_text("Your change was not stored. You have seen what others said.")
    notice.get_by_text("What you wrote").click()
    expect(notice).to_contain_text("my <b>reason</b>")
    page.unroute("**/labels")
    press(page, "1")
    stored(page, server, project, 2)


def test_leaving_gives_the_items_back(page: Page, server: Server, project: str) -> None:
    visit(page, project)
    with page.expect_request("**/release") as released:
        page.get_by_role("link", name="Projects").click()
    expect(page.locator("#annotate-chooser")).to_be_visible()
    assert len(released.value.post_data_json["items"]) > 1


def test_the_end_is_said_and_leads_on(page: Page, server: Server) -> None:
    project = open_project(server, "two items", target=2)
    visit(page, project)
    press(page, "1")
    press(page, "s", "Enter")
    expect(page.locator("[data-part=done]")).to_contain_text("Only what you skipped is left.")
    page.get_by_role("button", name="Look again at 1 skipped").click()
    expect(page.locator("[data-part=done]")).to_be_hidden()
    press(page, "2")
    expect(page.locator("[data-part=done]")).to_contain_text("Every item has the labels it needs.")
    stored(page, server, project, 2)


def test_a_project_is_opened_changed_and_closed_with_the_forms(page: Page, server: Server) -> None:
    page.goto(f"/studio/?tab=annotate&new=project&dataset={PAIRS}@1")
    # Gradio keeps the forms that are closed in the page, hidden.
    form = page.locator(".td-form:visible")
    form.get_by_label("Name").first.fill("by form")
    form.get_by_text("Rate each answer").click()
    form.get_by_label("Guideline").fill("# Look closely")
    form.get_by_role("spinbutton", name="Items").fill("5")
    form.get_by_role("button", name="Open the project").click()
    expect(form.get_by_role("status")).to_contain_text("is open with 5 items", timeout=_PATIENCE_MS)
    (made,) = [one for one in server.get("/annotation") if one["name"] == "by form"]
    assert (made["task"], made["items"], made["guideline"]) == ("rating", 5, "# Look closely")
    page.evaluate(f"tandem.go('?tab=annotate&settings={made['id']}')")
    expect(form.get_by_role("button", name="Open the project")).to_be_hidden(timeout=_PATIENCE_MS)
    expect(form.get_by_label("Guideline")).to_have_value("# Look closely", timeout=_PATIENCE_MS)
    form.get_by_label("Guideline").fill("# Look twice")
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_role("status")).to_contain_text("now version 2", timeout=_PATIENCE_MS)
    form.get_by_role("button", name="Close the project").click()
    expect(form.get_by_role("button", name="Open it again")).to_be_visible(timeout=_PATIENCE_MS)
    page.evaluate(f"tandem.go('?tab=annotate&project={made['id']}')")
    expect(page.locator("[data-part=done]")).to_contain_text("by form is closed.", timeout=_PATIENCE_MS)


def test_leases_are_renewed_while_somebody_works_and_loss_is_said(page: Page, server: Server) -> None:
    project = open_project(server, "short leases", lease_seconds=30)
    visit(page, project)
    first = page.locator("[data-part=prompt]").inner_text()
    with page.expect_request("**/renew") as renewed:
        for step in range(4):
            page.mouse.move(100, 100 + step)
            page.wait_for_timeout(5000)
    assert len(renewed.value.post_data_json["items"]) > 1
    expect(page.locator("[data-part=prompt]")).to_have_text(first, use_inner_text=True)
    # The studio says that the one on screen went to somebody else.
    page.route("**/renew", lambda route: route.fulfill(json=route.request.post_data_json["items"][1:]))
    with page.expect_request("**/renew"):
        for step in range(4):
            page.mouse.move(200, 100 + step)
            page.wait_for_timeout(5000)
    expect(page.locator("[data-part=notice]")).to_contain_text("went to somebody else")
    expect(page.locator("[data-part=prompt]")).not_to_have_text(first, use_inner_text=True)


def test_what_others_said_is_shown_once_it_may_be(page: Page, server: Server) -> None:
    project = open_project(server, "with others", overlap=2)
    visit(page, project)
    press(page, "1")
    stored(page, server, project, 1)
    page.route("**/others", lambda route: route.fulfill(status=403, json=_refusal("once the item has all")))
    press(page, "h")
    others = page.locator(".td-history-others")
    page.get_by_role("button", name="What others said").click()
    expect(others).to_contain_text("once the item has all")
    page.unroute("**/others")
    said = {"id": "x", "annotator": "Person 1", "verdict": "b", "strength": 2, "comment": "<b>Why</b>"}
    page.route("**/others", lambda route: route.fulfill(json=[said]))
    page.get_by_role("button", name="What others said").click()
    expect(others).to_have_text('Person 1: B is better, clearly. "<b>Why</b>"')


def _refusal(words: str) -> dict[str, Any]:
    return {"error": {"message": words}}
