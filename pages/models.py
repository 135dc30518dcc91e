"""Models: every set of weights the studio knows, where each came from, and the names that point at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.base_models import draw_form, on_their_way, wire_form
from pages.components.marks import marks_note
from pages.components.markup import (
    SKELETON,
    address,
    button,
    copyable,
    empty,
    error_note,
    facts,
    link,
    page_head,
    tag,
)
from pages.components.record_list import Column, Entry, matches, no_match, record_list, search_box
from pages.components.sharing import draw, fill, wire
from pages.components.visible import HIDDEN, when
from pages.components.visits import block, page_visit, query
from pages.components.wiring import listen, toast
from pages.components.wording import ago, parameters, stamp
from studio.core import Node, StudioError
from studio.registry import Alias, ModelVersion
from studio.studio import Studio

TITLE = "Models"

_EVERY_SECONDS = 2.0
_COLUMNS = (
    Column("Model", "name", "td-main", bare=True),
    Column("Kind", "kind", bare=True),
    Column("From", "", "td-full"),
    Column("Names", "", "td-full"),
    Column("Parameters", "parameters", "td-num"),
    Column("Made", "when", "td-num"),
)
_SORTS = {
    "name": lambda model: model.reference.casefold(),
    "kind": lambda model: model.kind.value,
    "parameters": lambda model: model.parameters,
    "when": lambda model: model.created_at,
}


def view(studio: Studio, request: gr.Request) -> tuple[Any, ...]:
    """The jobs that bring models, the open model, and the list."""
    asked = query(request)
    versions = studio.registry.list(studio.actor)
    aliases = studio.registry.aliases(studio.actor)
    arriving = on_their_way(studio)
    wanted = asked.get("model", "")
    opened = _details(studio, wanted, aliases) if wanted else Markup()
    rows = listing(versions, aliases, asked)
    return arriving, gr.update(visible=when(bool(wanted))), opened, wanted, rows


def arrive(studio: Studio, request: gr.Request) -> tuple[Any, ...]:
    """What ``view`` gives, who may use the open model, and whether the form is asked for."""
    asked = query(request)
    form = gr.update(open=True) if asked.get("new") == "base" else gr.skip()
    return *view(studio, request), *fill(studio, _access_node(studio, asked.get("model", ""))), form


def _access_node(studio: Studio, reference: str) -> Node | None:
    if not reference:
        return None
    try:
        return Node("model", studio.registry.version(studio.actor, reference).model_id)
    except StudioError:
        return None


def listing(versions: Sequence[ModelVersion], aliases: Sequence[Alias], asked: Mapping[str, str]) -> Markup:
    """The list, searched and sorted as the address asks."""
    if not versions:
        return empty(
            "No models yet.",
            "The embedded model appears here once it is unpacked. You can also register one of your own.",
            button("Register a base model", address("models", new="base")),
        )
    names = _names_of(aliases)
    by_id = {version.id: version for version in versions}
    search = asked.get("q", "")
    found = [v for v in versions if matches(search, v.reference, v.kind, v.id, *names.get(v.id, ()))]
    if not found:
        return no_match("No model matches. Search for a name, a kind, an alias or an id.")
    wanted = asked.get("sort", "")
    if wanted.lstrip("-") in _SORTS:
        found.sort(key=_SORTS[wanted.lstrip("-")], reverse=wanted.startswith("-"))
    entries = [_entry(version, by_id, names, asked) for version in found]
    return record_list("Models", _COLUMNS, entries, asked)


def _entry(
    version: ModelVersion,
    by_id: Mapping[str, ModelVersion],
    names: Mapping[str, list[str]],
    asked: Mapping[str, str],
) -> Entry:
    parent = by_id.get(version.parent_id or "")
    source: object = version.origin
    if parent is not None:
        source = link(parent.reference, address("models", model=parent.id))
    cells = (
        link(
            version.reference,
            address("models", model=version.id, q=asked.get("q", ""), sort=asked.get("sort", "")),
        ),
        tag(version.kind.value),
        Markup('<span class="td-sub">{}</span>').format(source),
        Markup(" ").join(tag(name) for name in names.get(version.id, ())),
        parameters(version.parameters),
        ago(version.created_at),
    )
    return Entry(cells, asked.get("model") in (version.id, version.reference))


def _names_of(aliases: Sequence[Alias]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for alias in aliases:
        names.setdefault(alias.version_id, []).append(alias.name)
    return names


def _details(studio: Studio, reference: str, aliases: Sequence[Alias]) -> Markup:
    try:
        version = studio.registry.version(studio.actor, reference)
        chain = studio.registry.ancestry(studio.actor, version.id)
    except StudioError as error:
        return error_note(error)
    names = _names_of(aliases).get(version.id, ())
    about = facts(
        {
            "Came from": _lineage(chain),
            "Made by": link("its run", address("runs", run=version.run_id)) if version.run_id else "",
            "Origin": version.origin,
            "Licence": version.licence,
            "Names": Markup(" ").join(tag(name) for name in names),
            "Parameters": parameters(version.parameters),
            "Registered": f"{stamp(version.created_at)} by {version.created_by}",
            "Files": Markup('<span class="td-mono">{}</span>').format(version.path),
            "Digest": copyable(version.digest[:16]),
            "Id": copyable(version.id),
        }
    )
    head = Markup('<h2 class="td-run-name">{} {}</h2>').format(version.reference, tag(version.kind.value))
    return Markup("{}{}{}{}").format(head, marks_note(version.marks), about, _next_for(version))


def _lineage(chain: Sequence[ModelVersion]) -> Markup:
    """From the base to this version, each a link."""
    steps = (link(version.reference, address("models", model=version.id)) for version in reversed(chain))
    return Markup(' <span aria-label="led to">&rarr;</span> ').join(steps)


def _next_for(version: ModelVersion) -> Markup:
    """What people do with a model: talk to it, train it further, deploy it."""
    compare = {"a": version.parent_id, "b": version.id} if version.parent_id else {"a": version.id}
    buttons = (
        button("Chat with it", address("chat", **compare)),
        button("Train from it", address("train", model=version.reference), primary=False),
        button("Deploy it", address("deploy", model=version.reference), primary=False),
    )
    return Markup('<div class="td-buttons">{}</div>').format(Markup().join(buttons))


def name_it(studio: Studio, *, alias: str, version_id: str) -> str:
    """Let a name point at the open model."""
    made = studio.registry.alias(studio.actor, alias.strip(), version_id)
    toast(f"{made.name} now points at this model.")
    return ""


def render(studio: Studio) -> None:
    """Draw the page."""
    purpose = "Base models, what runs made of them, and the names that point at them."
    action = button("Register a base model", address("models", new="base"))
    block(page_head("Models", purpose, action))
    arriving = block()
    with gr.Column(visible=HIDDEN, elem_classes="td-card") as detail:
        opened = block()
        with gr.Row(elem_classes=["td-actions", "td-inline-form"]):
            alias = gr.Textbox(
                label="Let a name point at it", placeholder="assistant:production", scale=0, min_width=280
            )
            naming = gr.Button("Set the name", size="md", scale=0)
        sharing = draw()
    with gr.Accordion("Register a base model", open=False, elem_classes="td-narrow") as form:
        fields = draw_form()
    block(search_box("Search models"))
    rows = block(SKELETON)
    current = gr.State("")
    visit = page_visit("models", every=_EVERY_SECONDS)
    outputs = [arriving, detail, opened, current, rows]
    listen(
        visit.visit, arrive, studio, api_name="models", outputs=[*outputs, *sharing.outputs, form], quiet=True
    )
    listen(visit.tick, view, studio, api_name="models_tick", outputs=outputs, quiet=True)
    wire(studio, sharing, "model")
    wire_form(studio, fields)
    asked = {"alias": alias, "version_id": current}
    for event, name in ((naming.click, "name_model"), (alias.submit, "name_model_enter")):
        listen(event, name_it, studio, api_name=name, inputs=asked, outputs=[alias])
