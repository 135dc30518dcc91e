"""Four people at three doors, by clicks: first account, log in, one's own door and no other, password, token.

One test a step, in order; each goes on from what the one before left in the studio.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from studio.core import Role
from tests.server import Server

pytestmark = pytest.mark.e2e

PASSWORD = "four unrelated words"
NEW = "five other unrelated words"
NAMES = {Role.ADMIN: "ada", Role.RESEARCHER: "rosa", Role.ANNOTATOR: "ann", Role.STAKEHOLDER: "sten"}
OWN = {
    Role.ADMIN: "studio",
    Role.RESEARCHER: "studio",
    Role.ANNOTATOR: "annotate",
    Role.STAKEHOLDER: "arena",
}
FIRST_TAB = {"studio": "Home", "annotate": "Annotate", "arena": "Arena"}
#: Who finds a door locked.
LOCKED = [
    (Role.ANNOTATOR, "studio"),
    (Role.ANNOTATOR, "arena"),
    (Role.STAKEHOLDER, "studio"),
    (Role.STAKEHOLDER, "annotate"),
]

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("people") / "home", sample_data="0") as running:
        yield running


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Visit]:
    """A browser of one's own that fails the test where a script of the pages fails; ``name`` logs in."""
    problems: list[str] = []
    with ExitStack() as leaving:

        def enter(name: str = "", password: str = PASSWORD, width: int = 1440) -> Page:
            context = browser.new_context(viewport={"width": width, "height": 900}, base_url=server.address)
            leaving.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(30_000)
            page.on("pageerror", lambda error: problems.append(str(error)))
            if name:
                log_in(page, name, password)
            return page

        yield enter
    assert not problems


def log_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.goto("/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def _choose_role(page: Page, form: str, role: Role) -> None:
    page.locator(form).get_by_label(f"{role.value.capitalize()}: ").check()


def test_the_first_account_is_made_from_the_page_people(visit: Visit) -> None:
    page = visit()
    page.goto("/studio/?tab=people")
    expect(page.get_by_text("Everyone logs in by name")).to_be_visible()
    expect(page.get_by_role("button", name="Log out")).to_have_count(0)
    page.get_by_role("link", name="Make the first account").click()
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password, once more").fill(PASSWORD)
    page.get_by_role("button", name="Make the first account").click()
    page.wait_for_url("**/studio/**")
    expect(page.locator(".td-person")).to_have_text("ada admin")


def test_an_admin_adds_the_others(visit: Visit) -> None:
    page = visit("ada")
    for role in (Role.RESEARCHER, Role.ANNOTATOR, Role.STAKEHOLDER):
        page.goto("/studio/?tab=people&new=person")
        page.get_by_label("Name to log in with").fill(NAMES[role])
        _choose_role(page, "#add-person", role)
        page.get_by_label("First password").fill(PASSWORD)
        page.get_by_role("button", name="Add this person").click()
        expect(page.get_by_text(f"may log in as {role.value}")).to_be_visible()
    expect(page.locator("#tab-people tbody tr")).to_have_count(4)


@pytest.mark.parametrize("role", Role)
def test_everyone_lands_at_their_own_door(visit: Visit, role: Role) -> None:
    page = visit(NAMES[role])
    page.wait_for_url(f"**/{OWN[role]}/**")
    first = page.get_by_role("tab").first
    expect(first).to_have_text(FIRST_TAB[OWN[role]])
    expect(page.locator(".td-person")).to_have_text(f"{NAMES[role]} {role.value}")
    people = page.get_by_role("tab", name="People", exact=True)
    expect(people).to_be_visible() if role is Role.ADMIN else expect(people).not_to_be_visible()
    tab(page, "Account")
    expect(page.locator("#tab-account .td-facts").first).to_contain_text(NAMES[role])


@pytest.mark.parametrize(("role", "door"), LOCKED)
def test_the_other_doors_stay_shut(visit: Visit, role: Role, door: str) -> None:
    page = visit(NAMES[role])
    page.wait_for_url(f"**/{OWN[role]}/**")
    answer = page.goto(f"/{door}/?tab=people")
    assert answer is not None
    assert answer.status == 403
    expect(page.get_by_text(f"You are logged in as {NAMES[role]}")).to_be_visible()
    page.get_by_role("link", name="Go to your part").click()
    page.wait_for_url(f"**/{OWN[role]}/**")


def test_a_page_for_admins_gives_others_nothing(visit: Visit) -> None:
    page = visit("rosa")
    page.goto("/studio/?tab=people&view=audit")
    expect(page.locator(".toast-body")).to_contain_text("needs admin")
    expect(page.locator("#tab-people tbody tr")).to_have_count(0)


def test_a_stranger_is_led_to_the_log_in_and_back(visit: Visit) -> None:
    page = visit()
    page.goto("/studio/?tab=account")
    expect(page).to_have_url(re.compile("/login"))
    page.get_by_label("Name").fill("rosa")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/studio/?tab=account")


def test_an_annotator_changes_the_password_on_a_phone(visit: Visit) -> None:
    page = visit("ann", width=390)
    page.wait_for_url("**/annotate/**")
    tab(page, "Account")
    page.get_by_label("Present password").fill(PASSWORD)
    page.get_by_label("New password", exact=False).first.fill(NEW)
    page.get_by_label("New password again").fill(NEW)
    page.get_by_role("button", name="Change the password").click()
    page.get_by_role("link", name="Log in again").click()
    expect(page).to_have_url(re.compile("/login"))
    log_in(page, "ann", NEW)
    page.wait_for_url("**/annotate/**")
    refused = visit("ann", PASSWORD)
    expect(refused.get_by_role("alert")).to_contain_text("wrong")


# What the import form sends; a script does it faster than clicks, and the import has tests of its own.
_UPLOAD = """async () => {
  const form = new FormData();
  form.append('dataset', 'secrets');
  form.append('file', new Blob(['{"text": "one"}\\n{"text": "two"}\\n']), 'secrets.jsonl');
  return (await (await fetch('/datasets/upload', { method: 'POST', body: form })).json()).version.id;
}"""


def test_a_dataset_that_becomes_private_is_gone_for_the_others(visit: Visit) -> None:
    ada, rosa = visit("ada"), visit("rosa")
    ada.wait_for_url("**/studio/**")
    version = ada.evaluate(_UPLOAD)
    rosa.goto(f"/studio/?tab=data&version={version}")
    expect(rosa.locator("#tab-data").get_by_text("Everyone whose role allows it")).to_be_visible()
    expect(rosa.get_by_label("Only those chosen here")).not_to_be_visible()
    ada.goto(f"/studio/?tab=data&version={version}")
    ada.get_by_label("Only those chosen here").check()
    ada.get_by_role("button", name="Save", exact=True).click()
    expect(ada.get_by_text("Only its owner, admins may see or use this")).to_be_visible()
    rosa.goto("/studio/?tab=data")
    expect(rosa.locator("#tab-data").get_by_text("No data yet.")).to_be_visible()
    expect(rosa.get_by_role("link", name="secrets")).to_have_count(0)


def test_a_token_opens_rest_until_it_is_revoked(visit: Visit, server: Server) -> None:
    page = visit("rosa")
    page.goto("/studio/?tab=account")
    page.get_by_label("What is it for").fill("nightly import")
    page.get_by_label("Import and build datasets").check()
    page.get_by_role("button", name="Make a token").click()
    secret = page.locator(".td-secret [data-copy]").get_attribute("data-copy")
    assert secret is not None
    program = httpx.Client(base_url=server.address, headers={"authorization": f"Bearer {secret}"})
    assert program.get("/datasets").status_code == 200
    assert program.post("/datasets/join", json={}).status_code == 422
    assert program.post("/train/sft", json={}).status_code == 403
    assert program.get("/studio/").status_code == 403
    page.reload()
    page.get_by_role("link", name="nightly import").click()
    assert secret not in page.content()
    page.get_by_role("button", name="Revoke this token").click()
    expect(page.locator("#tab-account tbody tr")).to_contain_text("revoked")
    expect(page.get_by_role("button", name="Revoke this token")).not_to_be_visible()
    assert program.get("/datasets").status_code == 401
    program.close()


def test_a_change_of_role_holds_at_once(visit: Visit) -> None:
    sten = visit("sten")
    sten.wait_for_url("**/arena/**")
    ada = visit("ada")
    ada.goto("/studio/?tab=people&person=sten")
    _choose_role(ada, "#change-person", Role.ANNOTATOR)
    ada.get_by_role("button", name="Change the role").click()
    expect(ada.locator(".toast-body")).to_contain_text("sten is annotator")
    sten.goto("/arena/")
    expect(sten).to_have_url(re.compile("/login"))
    log_in(sten, "sten")
    sten.wait_for_url("**/annotate/**")


def test_erasing_asks_and_shuts_the_person_out(visit: Visit) -> None:
    sten = visit("sten")
    sten.wait_for_url("**/annotate/**")
    ada = visit("ada")
    ada.goto("/studio/?tab=people&person=sten")
    question = ada.get_by_label("Type the name to confirm")
    expect(ada.get_by_role("button", name="Erase this person")).to_be_visible()
    expect(question).not_to_be_visible()
    ada.get_by_role("button", name="Erase this person").click()
    question.fill("sten")
    ada.get_by_role("button", name="Erase for good").click()
    expect(ada.get_by_text("sten is erased.")).to_be_visible()
    sten.goto("/annotate/")
    expect(sten).to_have_url(re.compile("/login"))
    ada.goto("/studio/?tab=people&view=audit&did=erased")
    expect(ada.locator("#tab-people tbody tr").first).to_contain_text("erased-")


def test_logging_out_ends_it(visit: Visit) -> None:
    page = visit("rosa")
    page.wait_for_url("**/studio/**")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.goto("/studio/")
    expect(page).to_have_url(re.compile("/login"))
