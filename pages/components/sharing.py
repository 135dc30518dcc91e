"""Who may use a dataset or a model: said to everyone who may, and changed by its owner and admins.

While there are no accounts there is nobody to share with, and the panel stays away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.markup import tag
from pages.components.visible import HIDDEN, when
from pages.components.visits import block
from pages.components.wiring import listen, toast
from studio.core import EVERYONE, InvalidInput, Node, Role, Sharing, SharingChange, StudioError, Visibility
from studio.studio import Studio

_ROLES = {Role.RESEARCHER: "Researchers", Role.ANNOTATOR: "Annotators", Role.STAKEHOLDER: "Stakeholders"}
_VISIBILITY = [("The team", Visibility.TEAM.value), ("Only those chosen here", Visibility.PRIVATE.value)]


@dataclass(frozen=True)
class SharingPanel:
    """The panel's components; ``outputs`` are what ``fill`` gives a value to, in its order."""

    panel: Any
    words: Any
    form: Any
    visibility: Any
    roles: Any
    people: Any
    target: Any
    save: Any

    @property
    def outputs(self) -> list[Any]:
        """The components that ``fill`` fills."""
        return [self.panel, self.words, self.form, self.visibility, self.roles, self.people, self.target]


def draw() -> SharingPanel:
    """Draw the panel, hidden; ``fill`` shows it."""
    with gr.Column(visible=HIDDEN, elem_classes=["td-card", "td-form"]) as panel:
        words = block()
        with gr.Column(visible=HIDDEN) as form:
            visibility = gr.Radio(_VISIBILITY, value=Visibility.TEAM.value, label="Who may use it")
            with gr.Row():
                roles = gr.CheckboxGroup(
                    [(word, role.value) for role, word in _ROLES.items()],
                    label="Everyone of a role",
                    info="Counts while it is private, as do people.",
                )
                people = gr.Dropdown([], multiselect=True, value=[], label="People")
            with gr.Row(elem_classes="td-actions"):
                save = gr.Button("Save", size="md")
        target = gr.State("")
    return SharingPanel(panel, words, form, visibility, roles, people, target, save)


def fill(studio: Studio, node: Node | None) -> tuple[Any, ...]:
    """Updates of ``SharingPanel.outputs`` for an object; None hides the panel."""
    if node is None or not studio.accounts.exist():
        return (gr.update(visible=HIDDEN), "", gr.update(visible=HIDDEN), *[gr.skip()] * 3, "")
    try:
        shared = studio.access.sharing(studio.actor, node)
    except StudioError:
        return fill(studio, None)
    names = [name for name in studio.accounts.names(studio.actor) if name != shared.owner]
    offered = sorted({*names, *shared.people})
    return (
        gr.update(visible=True),
        in_words(shared),
        gr.update(visible=when(studio.access.may_share(studio.actor, node))),
        shared.visibility.value,
        [role.value for role in shared.roles],
        gr.update(choices=offered, value=list(shared.people)),
        node.id,
    )


def in_words(shared: Sharing) -> Markup:
    """Who may use an object, as a sentence."""
    owner = Markup(" It belongs to {}.").format(shared.owner) if shared.owner else Markup()
    if shared.visibility is Visibility.TEAM:
        return Markup("<p>{} Everyone whose role allows it may use this.{}</p>").format(tag("team"), owner)
    named = [*(f"all {_ROLES[role].lower()}" for role in shared.roles), *shared.people]
    others = f", {', '.join(named)}" if named else ""
    return Markup(
        "<p>{} Only its owner, admins{} may see or use this, also behind a deployment.{}</p>"
    ).format(tag("private"), others, owner)


def wire(studio: Studio, panel: SharingPanel, kind: str) -> None:
    """Let ``panel`` change who may use an object of ``kind`` (``dataset`` or ``model``)."""

    def share(
        studio: Studio,
        *,
        target: str,
        visibility: str,
        roles: Sequence[str] | None,
        people: Sequence[str] | None,
    ) -> tuple[Any, ...]:
        return save(studio, Node(kind, target), visibility, roles or (), people or ())

    inputs = {
        "target": panel.target,
        "visibility": panel.visibility,
        "roles": panel.roles,
        "people": panel.people,
    }
    listen(panel.save.click, share, studio, api_name=f"share_{kind}", inputs=inputs, outputs=panel.outputs)


def save(
    studio: Studio, node: Node, visibility: str, roles: Sequence[str], people: Sequence[str]
) -> tuple[Any, ...]:
    """Share an object as the form says.

    Raises:
        InvalidInput: The form was not filled by this page.
    """
    if visibility not in tuple(Visibility) or not set(roles) <= set(EVERYONE):
        raise InvalidInput("It cannot be shared like that.", "Choose from what is offered.")
    change = SharingChange(Visibility(visibility), tuple(map(Role, roles)), tuple(people))
    studio.access.share(studio.actor, node, change)
    toast("Saved. It holds from now on.")
    return fill(studio, node)
