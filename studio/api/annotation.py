"""Annotation over HTTP: the card in the browser fetches its items and stores its labels by these routes.

Asking for items leases them, though it is a GET: the answer differs each time and must not be cached, and
a browser may only ask by script: no link, image or frame takes leases (``Sec-Fetch-*`` say what asks).
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Query, Request, Response

from studio.annotation import Item, Label, Members, NewLabel, NewProject, ProjectChange
from studio.api.annotation_views import (
    GuidelineView,
    ItemsRequest,
    ItemView,
    LabelRequest,
    LabelView,
    ProgressView,
    ProjectChangeRequest,
    ProjectRequest,
    ProjectView,
    Stored,
    UndoRequest,
    item_view,
    label_view,
    progress_view,
    project_view,
)
from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.core import Forbidden, Role

router = APIRouter(prefix="/annotation", tags=["annotation"])

_READ = allow(Role.ANNOTATOR, Role.RESEARCHER, scope=Scope.READ)
_LABEL = allow(Role.ANNOTATOR, Role.RESEARCHER, scope=Scope.LABEL)
_LEAD = allow(Role.ANNOTATOR, Role.RESEARCHER, scope=Scope.DATA)
_OPEN = allow(Role.RESEARCHER, scope=Scope.DATA)


def fetched(request: Request) -> None:
    """Refuse what a browser asks for by itself; clients that are no browsers do not say and pass.

    Raises:
        Forbidden: A page, an image, a frame or the like asks.
    """
    mode, destination = (request.headers.get(f"sec-fetch-{name}", "") for name in ("mode", "dest"))
    if mode == "navigate" or destination not in ("", "empty"):
        raise Forbidden("This address is for the annotation card alone.", "Open the Annotate page.")


_FETCHED = Depends(fetched)


@router.get("", dependencies=[_READ])
def projects(studio: TheStudio, actor: TheActor) -> list[ProjectView]:
    """The projects that the asker may label in or leads."""
    return [project_view(one, actor) for one in studio.annotation.projects(actor)]


@router.post("", status_code=201, dependencies=[_OPEN])
def open_project(request: ProjectRequest, studio: TheStudio, actor: TheActor) -> ProjectView:
    """Open a project."""
    values = request.model_dump()
    members = Members(tuple(values.pop("roles")), tuple(values.pop("people")))
    values["models"] = tuple(values["models"])
    made = studio.annotation.open_project(actor, NewProject(members=members, **values))
    return project_view(made, actor)


@router.get("/{project_id}", dependencies=[_READ])
def project(project_id: str, studio: TheStudio, actor: TheActor) -> ProjectView:
    """One project, with the newest version of its guideline."""
    return project_view(studio.annotation.project(actor, project_id), actor)


@router.patch("/{project_id}", dependencies=[_LEAD])
def change(project_id: str, request: ProjectChangeRequest, studio: TheStudio, actor: TheActor) -> ProjectView:
    """Change what is given; for its lead."""
    values: dict[str, Any] = request.model_dump(exclude_none=True)
    roles, people = values.pop("roles", None), values.pop("people", None)
    if roles is not None or people is not None:
        now = studio.annotation.project(actor, project_id).members
        values["members"] = Members(
            now.roles if roles is None else tuple(roles), now.people if people is None else tuple(people)
        )
    changed = studio.annotation.change(actor, project_id, ProjectChange(**values))
    return project_view(changed, actor)


@router.get("/{project_id}/guidelines/{version}", dependencies=[_READ])
def guideline(project_id: str, version: int, studio: TheStudio, actor: TheActor) -> GuidelineView:
    """A version of the guideline, from 1."""
    text = studio.annotation.guideline(actor, project_id, version)
    return GuidelineView(version=version, text=text)


@router.get("/{project_id}/next", dependencies=[_LABEL, _FETCHED])
def next_items(
    project_id: str,
    studio: TheStudio,
    actor: TheActor,
    response: Response,
    count: int = Query(3, ge=1, le=50),
    held: list[str] = Query(default_factory=list, max_length=200),  # noqa: B008
) -> list[ItemView]:
    """Lease the next items; those in ``held`` are renewed and not given again."""
    response.headers["Cache-Control"] = "no-store"
    found = studio.annotation.next_items(actor, project_id, count, tuple(held))
    return [item_view(item) for item in found]


@router.post("/{project_id}/renew", dependencies=[_LABEL])
def renew(project_id: str, request: ItemsRequest, studio: TheStudio, actor: TheActor) -> list[str]:
    """Lease items again; the answer names those that are still the asker's."""
    return list(studio.annotation.renew(actor, project_id, request.items))


@router.post("/{project_id}/release", status_code=204, dependencies=[_LABEL])
def release(project_id: str, request: ItemsRequest, studio: TheStudio, actor: TheActor) -> None:
    """Give items back."""
    studio.annotation.release(actor, project_id, request.items)


@router.get("/{project_id}/items/{item_id}", dependencies=[_LABEL, _FETCHED])
def item(project_id: str, item_id: str, studio: TheStudio, actor: TheActor, response: Response) -> ItemView:
    """One item, such as an earlier one to edit or a skipped one; it is leased where it needs to be."""
    response.headers["Cache-Control"] = "no-store"
    found: Item = studio.annotation.item(actor, project_id, item_id)
    return item_view(found)


@router.get("/{project_id}/items/{item_id}/others", dependencies=[_READ, _FETCHED])
def others(project_id: str, item_id: str, studio: TheStudio, actor: TheActor) -> list[LabelView]:
    """What others said, once the asker has labelled the item and it has all its labels.

    From then on the label of somebody who does not lead the project is final: changing it answers 409.
    """
    return [label_view(label) for label in studio.annotation.others(actor, project_id, item_id)]


@router.post("/{project_id}/labels", status_code=201, dependencies=[_LABEL])
def label(project_id: str, request: LabelRequest, studio: TheStudio, actor: TheActor) -> Stored:
    """Store a label."""
    new = NewLabel(project_id=project_id, **request.model_dump())
    return _stored(studio.annotation.label(actor, new), project_id, studio, actor)


@router.get("/{project_id}/labels", dependencies=[_READ])
def own_labels(
    project_id: str,
    studio: TheStudio,
    actor: TheActor,
    limit: int = Query(50, ge=1, le=500),
    before: str = Query("", max_length=100),
) -> list[LabelView]:
    """The asker's own labels, the newest first; ``before`` is the id of the last one seen."""
    return [label_view(one) for one in studio.annotation.own_labels(actor, project_id, limit, before)]


@router.get("/{project_id}/skipped", dependencies=[_READ])
def skipped(project_id: str, studio: TheStudio, actor: TheActor) -> list[LabelView]:
    """What the asker has set aside, the oldest first."""
    return [label_view(one) for one in studio.annotation.skipped(actor, project_id)]


@router.post("/{project_id}/undo", dependencies=[_LABEL])
def undo(project_id: str, request: UndoRequest, studio: TheStudio, actor: TheActor) -> Stored:
    """Take back the asker's newest label; the item comes back, or the label that it corrected."""
    found = studio.annotation.undo(actor, project_id, request.nonce)
    return _stored(found, project_id, studio, actor)


@router.get("/{project_id}/progress", dependencies=[_READ])
def progress(project_id: str, studio: TheStudio, actor: TheActor) -> ProgressView:
    """How far the asker is, and the project as a whole."""
    return progress_view(studio.annotation.progress(actor, project_id))


def _stored(found: Label | None, project_id: str, studio: TheStudio, actor: TheActor) -> Stored:
    now = progress_view(studio.annotation.progress(actor, project_id))
    return Stored(label=label_view(found) if found else None, progress=now)
