"""The part of Account about tokens: keys with which programs speak to the studio as their owner.

A secret is in one answer to one browser and nowhere else; the list knows tokens by what they are for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.markup import address, chip, copyable, error_note, facts, link, note
from pages.components.panels import panel_head
from pages.components.people_words import known_scopes, scope_choices, scope_words
from pages.components.record_list import Column, Entry, record_list
from pages.components.visible import HIDDEN, when
from pages.components.visits import block
from pages.components.wiring import listen, toast
from pages.components.wording import ago, stamp
from studio.accounts import NewToken, Token
from studio.core import StudioError
from studio.studio import Studio

#: What ``view`` gives: the list, the opened token, whether it is shown and can be revoked, its id, scopes.
OUTPUTS = 6

_COLUMNS = (
    Column("Token", "", "td-main", bare=True),
    Column("May", "", "td-full", bare=True),
    Column("State"),
    Column("Last used", "", "td-num"),
)
_EXPIRIES = [("30 days", 30), ("90 days", 90), ("A year", 365), ("Never", 0)]


def view(studio: Studio, asked: Mapping[str, str]) -> tuple[Any, ...]:
    """The tokens, the one the address names, and the scopes that one's role has a use for."""
    tokens = studio.accounts.tokens(studio.actor)
    opened = next((token for token in tokens if token.id == asked.get("token")), None)
    return (
        listing(tokens, asked),
        gr.update(visible=when(opened is not None)),
        _details(opened) if opened else Markup(),
        gr.update(visible=when(opened is not None and state(opened) == "active")),
        opened.id if opened else "",
        gr.update(choices=scope_choices(studio.actor.role)),
    )


def listing(tokens: Sequence[Token], asked: Mapping[str, str]) -> Markup:
    """The tokens, newest first."""
    if not tokens:
        return Markup('<p class="td-sub">You have no tokens. A script or an OpenAI client needs one.</p>')
    return record_list("Tokens", _COLUMNS, [_entry(token, asked) for token in tokens], asked)


def _entry(token: Token, asked: Mapping[str, str]) -> Entry:
    name = link(token.label or token.id, address("account", token=token.id))
    now = state(token)
    used = ago(token.last_used_at) if token.last_used_at else "never"
    cells = (name, scope_words(token.scopes), chip(now, "td-good" if now == "active" else "td-idle"), used)
    return Entry(cells, asked.get("token") == token.id)


def state(token: Token) -> str:
    """``active``, ``revoked`` or ``expired``."""
    if token.revoked_at is not None:
        return "revoked"
    over = token.expires_at is not None and token.expires_at <= time.time()
    return "expired" if over else "active"


def _details(token: Token) -> Markup:
    rows = {
        "May": scope_words(token.scopes),
        "State": state(token),
        "Made": stamp(token.created_at),
        "Expires": stamp(token.expires_at) if token.expires_at else "never",
        "Revoked": stamp(token.revoked_at) if token.revoked_at else "",
        "Id": copyable(token.id),
    }
    return panel_head(token.label or token.id, address("account")) + facts(rows)


def create(studio: Studio, *, label: str, scopes: list[str] | None, days: int | None) -> tuple[Any, ...]:
    """Make a token: its secret with how to use it, the list, and the emptied label."""
    try:
        new = NewToken(label.strip(), known_scopes(scopes or ()), days or None)
        token, secret = studio.accounts.create_token(studio.actor, new)
    except StudioError as error:
        return error_note(error), gr.skip(), gr.skip()
    return _shown_once(token, secret), listing(studio.accounts.tokens(studio.actor), {}), ""


def _shown_once(token: Token, secret: str) -> Markup:
    said = Markup("<strong>{} is made.</strong> Copy its secret now: it is not shown again.").format(
        token.label or token.id
    )
    key = Markup('<p class="td-secret">{}</p>').format(copyable(secret))
    how = Markup('<p class="td-sub">Send it with each request, as <code>Authorization: Bearer {}</code></p>')
    return note(said, "td-good") + key + how.format("tdm_…")


def revoke(studio: Studio, *, token_id: str) -> tuple[Any, ...]:
    """End the opened token, and draw the list anew."""
    token = studio.accounts.revoke_token(studio.actor, token_id)
    toast(f"{token.label or token.id} is refused from now on.")
    return view(studio, {"token": token.id})


def render(studio: Studio) -> list[Any]:
    """Draw the part; returns what ``view`` fills."""
    with gr.Column(visible=HIDDEN, elem_classes="td-card") as panel:
        opened = block()
        with gr.Column(visible=HIDDEN, elem_classes="td-revoke") as ending:
            block('<p class="td-sub">Programs that use it are refused at once. This cannot be undone.</p>')
            with gr.Row(elem_classes="td-actions"):
                end = gr.Button("Revoke this token", variant="stop", size="md")
    with gr.Column(elem_classes="td-card td-form"):
        block('<h2 class="td-title">Tokens for programs</h2>')
        rows = block()
        label = gr.Textbox("", label="What is it for", placeholder="nightly import", max_lines=1)
        scopes = gr.CheckboxGroup(
            [], label="It may change things here", info="Reading what you may read is always included."
        )
        with gr.Row():
            days = gr.Dropdown(_EXPIRIES, value=90, label="It ends after", min_width=160, scale=0)
        with gr.Row(elem_classes="td-actions"):
            go = gr.Button("Make a token", variant="primary", size="md")
        made = block()
    current = gr.State("")
    filled = [rows, panel, opened, ending, current, scopes]
    wanted = {"label": label, "scopes": scopes, "days": days}
    listen(go.click, create, studio, api_name="create_token", inputs=wanted, outputs=[made, rows, label])
    listen(end.click, revoke, studio, api_name="revoke_token", inputs={"token_id": current}, outputs=filled)
    return filled
