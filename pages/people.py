"""People: who may come in and as what, for admins; beside it the log of who did what.

While there are no accounts the page offers the first one and says what changes with it. What may be done
to an account stands in ``pages.people_change``, the log in ``pages.people_audit``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages import people_audit, people_change
from pages.components.markup import (
    SKELETON,
    address,
    button,
    chip,
    empty,
    error_note,
    link,
    note,
    page_head,
    way_out,
)
from pages.components.panels import panel_head
from pages.components.people_words import known_role, role_choices, role_tag
from pages.components.record_list import Column, Entry, matches, no_match, record_list, search_box
from pages.components.visible import HIDDEN, when
from pages.components.visits import block, page_visit, query
from pages.components.wiring import has_accounts, listen
from pages.components.wording import ago
from pages.roles import ADMINS
from studio.accounts import Account, NewAccount
from studio.core import Role, StudioError
from studio.studio import Studio

TITLE = "People"
ROLES = ADMINS

_COLUMNS = (
    Column("Name", "", "td-main", bare=True),
    Column("Role"),
    Column("State"),
    Column("Last log-in", "", "td-num"),
)
_LOG = button("Audit log", address("people", view="audit"), primary=False)
_ADD = button("Add a person", address("people", new="person"))
_CHANGES = (
    "Everyone logs in by name, you too, and does what their role allows.",
    "Annotators and stakeholders get doors of their own, with nothing in them but their work.",
    "The studio may then listen beyond this machine (STUDIO_HOST); without accounts it refuses to.",
    "What was done so far stays, under the name local.",
)


def view(studio: Studio, request: gr.Request) -> tuple[Any, ...]:
    """The head, the form for a new person, the list or the log, and the account that is open."""
    asked = query(request)
    known = has_accounts(studio)
    head = _head(_LOG + _ADD if known else _LOG)
    if asked.get("view") == "audit":
        log = people_audit.listing(studio, asked)
        return head, gr.update(visible=HIDDEN), gr.update(visible=HIDDEN), log, *people_change.shut()
    if not known:
        return head, gr.update(visible=HIDDEN), gr.update(visible=HIDDEN), _first(), *people_change.shut()
    return (
        head,
        gr.update(visible=when(asked.get("new") == "person")),
        gr.update(visible=True),
        listing(studio.accounts.list(studio.actor), asked),
        *people_change.view(studio, asked),
    )


def _first() -> Markup:
    offer = empty(
        "There are no accounts yet.",
        "The first one is yours: an admin, who then adds the others here.",
        way_out("Make the first account", "../setup"),
    )
    changes = note("What changes with it:", lines=_CHANGES)
    return Markup('<div class="td-stack">{}{}</div>').format(offer, changes)


def _head(actions: Markup) -> Markup:
    purpose = "Who may come in, what each of them is for, and who did what."
    return page_head(TITLE, purpose, Markup('<div class="td-head-actions">{}</div>').format(actions))


def listing(accounts: Sequence[Account], asked: Mapping[str, str]) -> Markup:
    """Everyone, or those whom the search finds."""
    search = asked.get("q", "")
    found = [one for one in accounts if matches(search, one.name, one.full_name, one.role)]
    if not found:
        return no_match("Nobody matches. Search for a name or a role.")
    return record_list("People", _COLUMNS, [_entry(one, asked) for one in found], asked)


def _entry(one: Account, asked: Mapping[str, str]) -> Entry:
    href = address("people", person=one.name, q=asked.get("q", ""))
    full = Markup('<span class="td-sub td-about">{}</span>').format(one.full_name) if one.full_name else ""
    cells = (
        Markup("{}{}").format(link(one.name, href), full),
        role_tag(one.role),
        chip("disabled", "td-idle") if one.disabled else chip("active", "td-good"),
        ago(one.last_login_at) if one.last_login_at else "never",
    )
    return Entry(cells, asked.get("person") == one.name)


def add(studio: Studio, *, name: str, full_name: str, role: str, password: str) -> tuple[Any, ...]:
    """Add a person: what happened, the list, and the emptied fields."""
    try:
        new = NewAccount(name.strip(), known_role(role), password, full_name.strip())
        made = studio.accounts.add(studio.actor, new)
    except StudioError as error:
        return error_note(error), *(gr.skip(),) * 4
    said = Markup("<strong>{}</strong> may log in as {}. Hand the password over in person.")
    rows = listing(studio.accounts.list(studio.actor), {})
    return note(said.format(made.name, made.role), "td-good"), rows, "", "", ""


def render(studio: Studio) -> None:
    """Draw the page."""
    head = block(_head(_LOG))
    with gr.Column(visible=HIDDEN, elem_id="add-person", elem_classes="td-narrow td-card td-form") as form:
        fields, go, added = _draw_form()
    changing = people_change.render(studio)
    searching = block(search_box("Search people"), visible=HIDDEN)
    rows = block(SKELETON)
    visit = page_visit("people")
    outputs = [head, form, searching, rows, *changing]
    listen(visit.visit, view, studio, api_name="people", outputs=outputs, quiet=True)
    emptied = [added, rows, fields["name"], fields["full_name"], fields["password"]]
    listen(go.click, add, studio, api_name="add_person", inputs=fields, outputs=emptied)


def _draw_form() -> tuple[dict[str, Any], Any, Any]:
    block(panel_head("Add a person", address("people")))
    with gr.Row():
        name = gr.Textbox("", label="Name to log in with", info="Such as ann.lee; it stays for good.")
        full_name = gr.Textbox("", label="Full name", info="Shown to people; may stay empty.")
    role = gr.Radio(role_choices(), value=Role.ANNOTATOR.value, label="Role", elem_classes="td-roles")
    password = gr.Textbox(
        "", label="First password", type="password", info="12 characters or more. They can change it."
    )
    with gr.Row(elem_classes="td-actions"):
        go = gr.Button("Add this person", variant="primary", size="md")
    return {"name": name, "full_name": full_name, "role": role, "password": password}, go, block()
