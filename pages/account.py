"""Account: who you are in this studio, your password, and the keys your programs use.

Everyone has this page, behind every door. Tokens stand in ``pages.account_tokens``.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from markupsafe import Markup

from pages import account_tokens
from pages.components.markup import SKELETON, empty, error_note, facts, note, page_head, way_out
from pages.components.people_words import DUTIES, role_tag
from pages.components.visible import HIDDEN, when
from pages.components.visits import block, page_visit, query
from pages.components.wiring import has_accounts, listen
from pages.components.wording import ago, stamp
from studio.accounts import Account
from studio.core import EVERYONE, InvalidInput, StudioError
from studio.studio import Studio

TITLE = "Account"
ROLES = EVERYONE


def view(studio: Studio, request: gr.Request) -> tuple[Any, ...]:
    """Who is here, whether there is a password to change, and the tokens."""
    if not has_accounts(studio):
        nothing = gr.update(visible=HIDDEN)
        return (_alone(studio), nothing, nothing, *(gr.skip(),) * account_tokens.OUTPUTS)
    me = studio.accounts.account(studio.actor, studio.actor.name)
    tokens = account_tokens.view(studio, query(request))
    return (who(me), gr.update(visible=when(not me.external)), gr.update(visible=True), *tokens)


def who(me: Account) -> Markup:
    """The facts about oneself."""
    through = "the organisation's identity provider" if me.external else "a password of this studio"
    about = facts(
        {
            "Name": Markup("<strong>{}</strong>").format(me.name),
            "Full name": me.full_name,
            "Role": Markup("{} {}").format(role_tag(me.role), DUTIES[me.role]),
            "Logs in with": through,
            "Last log-in": ago(me.last_login_at) if me.last_login_at else "",
            "Here since": stamp(me.created_at),
        }
    )
    return Markup('<div class="td-card td-narrow">{}</div>').format(about)


def _alone(studio: Studio) -> Markup:
    return empty(
        "This studio has no accounts.",
        "Only someone at this machine can reach it, and may do everything. With the first account people log "
        f"in by name, and the studio may be opened to others (STUDIO_HOST, now {studio.settings.host}).",
        way_out("Make the first account", "../setup"),
    )


def change_password(studio: Studio, *, current: str, new: str, again: str) -> tuple[Any, ...]:
    """Set one's own password: what happened, and the three fields, emptied where it went well."""
    try:
        if new != again:
            raise InvalidInput("The two new passwords differ.", "Type the new one twice.")
        studio.accounts.set_password(studio.actor, studio.actor.name, new, current)
    except StudioError as error:
        return (error_note(error), gr.skip(), gr.skip(), gr.skip())
    said = "Your password is changed. Every browser that was logged in as you has to log in again."
    return note(Markup("{} {}").format(said, way_out("Log in again", "../login")), "td-good"), "", "", ""


def render(studio: Studio) -> None:
    """Draw the page."""
    block(page_head("Account", "Who you are here, your password, and keys for your programs."))
    about = block(SKELETON)
    with gr.Column(visible=HIDDEN, elem_classes="td-narrow td-card td-form") as form:
        block('<h2 class="td-title">Change your password</h2>')
        current = gr.Textbox("", label="Present password", type="password", max_lines=1)
        with gr.Row():
            new = gr.Textbox("", label="New password", type="password", info="12 characters or more.")
            again = gr.Textbox("", label="New password again", type="password", info="To catch a slip.")
        with gr.Row(elem_classes="td-actions"):
            go = gr.Button("Change the password", size="md")
        answer = block()
    with gr.Column(visible=HIDDEN, elem_classes="td-narrow") as keys:
        tokens = account_tokens.render(studio)
    visit = page_visit("account")
    outputs = [about, form, keys, *tokens]
    listen(visit.visit, view, studio, api_name="account", outputs=outputs, quiet=True)
    asked = {"current": current, "new": new, "again": again}
    outputs = [answer, current, new, again]
    for event, name in ((go.click, "change_password"), (again.submit, "change_password_enter")):
        listen(event, change_password, studio, api_name=name, inputs=asked, outputs=outputs)
