"""The part of People about one account: its role, its password, keeping it out, and erasing it.

The address names the account (``person``). Erasing asks first and says what goes and what stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.markup import address, button, chip, error_note, facts, link, note
from pages.components.panels import panel_head
from pages.components.people_words import DUTIES, known_role, role_choices, role_tag
from pages.components.visible import HIDDEN, switch, when
from pages.components.visits import block
from pages.components.wiring import listen, toast
from pages.components.wording import ago, stamp
from studio.accounts import Account
from studio.core import InvalidInput, StudioError
from studio.studio import Studio

_GOES = (
    "The account, its log-ins and its tokens are deleted at once.",
    "Labels, votes and the audit log keep what was done, under a pseudonym that leads back to nobody.",
    "Datasets and runs that used the labels are marked, so that you can decide to make them anew.",
    "There is no way back. To keep someone out for now, disable the account.",
)


_CONSEQUENCES = Markup("<p><strong>Erasing a person cannot be undone.</strong></p><ul>{}</ul>").format(
    Markup().join(Markup("<li>{}</li>").format(line) for line in _GOES)
)


def view(studio: Studio, asked: Mapping[str, str]) -> tuple[Any, ...]:
    """The account that the address names, ready to be changed; nothing where it names none."""
    name = asked.get("person", "")
    if not name:
        return shut()
    try:
        one = studio.accounts.account(studio.actor, name)
    except StudioError as error:
        head = panel_head(name, address("people")) + error_note(error)
        return gr.update(visible=True), head, gr.update(visible=HIDDEN), *shut()[3:]
    return (
        gr.update(visible=True),
        _details(one),
        gr.update(visible=True),
        one.role.value,
        gr.update(value="Let them in again" if one.disabled else "Disable the account"),
        # One's own password is changed with the present one, on the page Account.
        gr.update(visible=when(not one.external and one.name != studio.actor.name)),
        one.name,
        gr.update(visible=HIDDEN),
        "",
    )


def shut() -> tuple[Any, ...]:
    """No account is open."""
    hidden = gr.update(visible=HIDDEN)
    return hidden, Markup(), hidden, gr.skip(), gr.skip(), gr.skip(), "", hidden, ""


def _details(one: Account) -> Markup:
    state = chip("disabled", "td-idle") if one.disabled else chip("active", "td-good")
    about = facts(
        {
            "Full name": one.full_name,
            "Role": Markup("{} {}").format(role_tag(one.role), DUTIES[one.role]),
            "State": state,
            "Logs in with": "the identity provider" if one.external else "a password",
            "Last log-in": ago(one.last_login_at) if one.last_login_at else "never",
            "Here since": stamp(one.created_at),
            "What they did": link("in the audit log", address("people", view="audit", by=one.name)),
        }
    )
    return panel_head(one.name, address("people")) + about


def change_role(studio: Studio, *, name: str, role: str) -> tuple[Any, ...]:
    """Give the open account another role."""
    one = studio.accounts.change_role(studio.actor, name, known_role(role))
    toast(f"{one.name} is {one.role} from now on, and logs in again.")
    return view(studio, {"person": name})


def reset_password(studio: Studio, *, name: str, password: str) -> str:
    """Set the open account's password; returns the emptied field."""
    studio.accounts.set_password(studio.actor, name, password)
    toast(f"{name} logs in with the new password. Hand it over in person.")
    return ""


def disable(studio: Studio, *, name: str) -> tuple[Any, ...]:
    """Keep the person of the open account out, or let them in again."""
    out = not studio.accounts.account(studio.actor, name).disabled
    change = studio.accounts.disable if out else studio.accounts.enable
    change(studio.actor, name)
    toast(f"{name} is kept out." if out else f"{name} may log in again.")
    return view(studio, {"person": name})


def erase(studio: Studio, *, name: str, typed: str) -> tuple[Any, ...]:
    """Erase the open account, if its name was typed as a confirmation."""
    if not name or typed.strip() != name:
        raise InvalidInput("The name does not match.", f"Type {name} to erase this person.")
    studio.erase(studio.actor, name)
    gone = note(Markup("<strong>{} is erased.</strong>").format(name), "td-good")
    back = button("Back to everyone", address("people"))
    closed = shut()
    return gr.update(visible=True), Markup("{}{}").format(gone, back), *closed[2:]


def render(studio: Studio) -> list[Any]:
    """Draw the part; returns what ``view`` fills."""
    with gr.Column(visible=HIDDEN, elem_id="change-person", elem_classes="td-card td-form") as panel:
        about = block()
        with gr.Column(visible=HIDDEN, elem_classes="td-changes") as changes:
            role = gr.Radio(role_choices(), label="Role", elem_classes="td-roles")
            with gr.Row(elem_classes="td-actions"):
                change = gr.Button("Change the role", size="md")
            with gr.Row(elem_classes=["td-actions", "td-inline-form"]) as secret:
                password = gr.Textbox(
                    "", label="New password", type="password", scale=0, min_width=280, max_lines=1
                )
                reset = gr.Button("Reset the password", size="md", scale=0)
            with gr.Row(elem_classes="td-actions"):
                out = gr.Button("Disable the account", size="md")
                ask = gr.Button("Erase this person", size="md")
            sure, typed, go, keep = _draw_question()
    name = gr.State("")
    filled = [panel, about, changes, role, out, secret, name, sure, typed]
    named = {"name": name}
    listen(
        change.click,
        change_role,
        studio,
        api_name="change_role",
        inputs=named | {"role": role},
        outputs=filled,
    )
    given = named | {"password": password}
    listen(reset.click, reset_password, studio, api_name="reset_password", inputs=given, outputs=[password])
    listen(out.click, disable, studio, api_name="disable_person", inputs=named, outputs=filled)
    quiet: dict[str, Any] = {"fn": None, "outputs": [sure], "api_visibility": "private"}
    ask.click(**quiet, js=switch(sure, shown=True), api_name="ask_erase")
    keep.click(**quiet, js=switch(sure, shown=False), api_name="keep_person")
    confirmed = named | {"typed": typed}
    listen(go.click, erase, studio, api_name="erase_person", inputs=confirmed, outputs=filled)
    return filled


def _draw_question() -> tuple[Any, ...]:
    with gr.Column(visible=HIDDEN, elem_classes=["td-note", "td-bad"]) as sure:
        block(_CONSEQUENCES)
        typed = gr.Textbox("", label="Type the name to confirm", max_lines=1)
        with gr.Row(elem_classes="td-actions"):
            go = gr.Button("Erase for good", variant="stop", size="md")
            keep = gr.Button("Keep the account", size="md")
    return sure, typed, go, keep
