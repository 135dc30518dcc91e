"""Deploy: names that programs call, the models behind them, and a box to try one.

The address says what is open: ``deployment`` names one, with ``change=1`` its form, filled; ``new=1`` or
``model`` an empty form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages import deploy_try
from pages.components.markup import SKELETON, address, button, error_note, page_head
from pages.components.record_list import search_box
from pages.components.visible import HIDDEN, switch, when
from pages.components.visits import block, page_visit, query
from pages.components.wiring import has_accounts, listen, toast
from pages.deploy_form import deploy, draw_form, form_updates, pick_number
from pages.deploy_views import command, listing, opened, revision_words
from studio.core import StudioError
from studio.serving import Deployment, DeploymentState
from studio.studio import Studio

TITLE = "Deploy"


def view(studio: Studio, request: gr.Request, *, applied: str) -> tuple[Any, ...]:
    """Everything that the address and the deployments decide."""
    asked = query(request)
    found = _opened(studio, asked)
    live = isinstance(found, Deployment) and found.state is DeploymentState.LIVE
    details = Markup()
    if isinstance(found, Deployment):
        details = opened(studio, found)
    elif found is not None:
        details = error_note(found)
    deployment = found if isinstance(found, Deployment) else None
    return (
        *form_updates(studio, asked, deployment, applied),
        gr.update(visible=when(bool(details))),
        details,
        *_management(studio, deployment),
        gr.update(visible=when(live)),
        command(deployment.name, _base_url(studio, request), token=has_accounts(studio))
        if deployment
        else "",
        deployment.name if deployment else "",
        listing(studio, asked),
    )


def _base_url(studio: Studio, request: gr.Request) -> str:
    """Where this browser reaches the studio, which is where a program on its machine would."""
    if studio.settings.public_url:
        return studio.settings.public_url.rstrip("/")
    headers = getattr(request, "headers", None) or {}
    return f"http://{headers.get('host') or f'{studio.settings.host}:{studio.settings.port}'}"


def _opened(studio: Studio, asked: Mapping[str, str]) -> Deployment | StudioError | None:
    if not asked.get("deployment"):
        return None
    try:
        return studio.serving.deployment(studio.actor, asked["deployment"])
    except StudioError as error:
        return error


def _management(studio: Studio, deployment: Deployment | None) -> tuple[Any, ...]:
    """Rollback and retirement, for what can be rolled back or retired."""
    hidden = gr.update(visible=HIDDEN)
    if deployment is None:
        return hidden, hidden, hidden
    earlier = [
        one
        for one in studio.serving.history(studio.actor, deployment.name)
        if one.revision < deployment.revision
    ]
    choices = [(f"Revision {one.revision}: {revision_words(one)}", one.revision) for one in earlier]
    back = gr.update(visible=when(bool(choices)), choices=choices)
    return (
        back,
        gr.update(visible=when(bool(choices))),
        gr.update(visible=when(deployment.state is DeploymentState.LIVE)),
    )


def roll_back(studio: Studio, *, name: str, revision: int | None) -> None:
    """Make an earlier revision the current one."""
    if revision is None:
        gr.Warning("Choose the revision to go back to.")
        return
    made = studio.serving.rollback(studio.actor, name, int(revision))
    toast(f"{made.name} answers as in revision {revision} again; this is revision {made.revision}.")


def retire(studio: Studio, *, name: str) -> Any:
    """Stop answering under the name, and close the question."""
    studio.serving.retire(studio.actor, name)
    toast(f"{name} is retired. Its history stays, and a rollback makes it live again.")
    return gr.update(visible=HIDDEN)


def render(studio: Studio) -> None:
    """Draw the page."""
    purpose = (
        "A name that programs call. Traffic is split among its variants, and a user stays with one of them."
    )
    block(page_head("Deploy", purpose, button("Deploy a model", address("deploy", new="1"))))
    form, fields, rows, answer, go = draw_form()
    with gr.Column(visible=HIDDEN) as detail:
        about = block()
        with gr.Row(elem_classes="td-actions td-form"):
            revision = gr.Dropdown([], label="Go back to", min_width=280, visible=HIDDEN)
            back = gr.Button("Roll back", size="md", visible=HIDDEN)
            retiring = gr.Button("Retire", size="md", visible=HIDDEN)
        with gr.Column(visible=HIDDEN, elem_classes="td-note td-bad") as sure:
            block("<p>Programs that call this name get an error from then on. Its history stays.</p>")
            with gr.Row(elem_classes="td-actions"):
                retire_now = gr.Button("Retire it", variant="stop", size="md")
                keep = gr.Button("Keep it", size="md")
        opened_name = gr.State("")
        with gr.Column(visible=HIDDEN) as trying:
            deploy_try.render(studio, opened_name)
        curl = block(elem_classes="td-stack")
    block(search_box("Search deployments"))
    table = block(SKELETON)
    applied = gr.State("")
    visit = page_visit("deploy", every=5.0)
    form_outputs = [form, *fields.values(), *rows, applied]
    outputs = [*form_outputs, detail, about, revision, back, retiring, trying, curl, opened_name, table]
    again: dict[str, Any] = {"inputs": {"applied": applied}, "outputs": outputs, "quiet": True}
    listen(visit.visit, view, studio, api_name="deploy", **again)
    listen(visit.tick, view, studio, api_name="deploy_tick", **again)
    number = {"number": fields["number"]}
    listen(
        fields["number"].input,
        pick_number,
        studio,
        api_name="variants",
        inputs=number,
        outputs=rows,
        quiet=True,
    )
    made = listen(go.click, deploy, studio, api_name="deploy_variants", inputs=fields, outputs=[answer])
    listen(made.then, view, studio, api_name="deploy_made", **again)
    named = {"name": opened_name}
    rolled = listen(
        back.click, roll_back, studio, api_name="roll_back", inputs=named | {"revision": revision}
    )
    listen(rolled.then, view, studio, api_name="deploy_rolled", **again)
    _ask_first(retiring, sure, keep)
    gone = listen(retire_now.click, retire, studio, api_name="retire", inputs=named, outputs=[sure])
    listen(gone.then, view, studio, api_name="deploy_retired", **again)


def _ask_first(retiring: Any, sure: Any, keep: Any) -> None:
    """A retirement asks first; opening and closing the question needs no server."""
    quiet: dict[str, Any] = {"fn": None, "outputs": [sure], "api_visibility": "private"}
    retiring.click(**quiet, js=switch(sure, shown=True), api_name="ask_retire")
    keep.click(**quiet, js=switch(sure, shown=False), api_name="keep_deployment")
