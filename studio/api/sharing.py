"""Who may use a dataset or a model: the team, or its owner and those it is shared with."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.core import Actor, Node, Role, Sharing, SharingChange, Visibility
from studio.studio import Studio

router = APIRouter(tags=["sharing"])

_READ = allow(Role.RESEARCHER, scope=Scope.READ)


class SharingRequest(BaseModel):
    """How it is to be shared from now on; what is left out stays as it is. ``owner`` hands it over."""

    model_config = ConfigDict(extra="forbid")

    visibility: Visibility | None = None
    roles: list[Role] | None = Field(None, max_length=len(Role))
    people: list[str] | None = Field(None, max_length=200)
    owner: str | None = Field(None, min_length=1, max_length=100)


class SharingView(BaseModel):
    """Who may use it: while it is private, the owner, admins, and those of ``roles`` and ``people``."""

    owner: str
    visibility: Visibility
    roles: list[Role]
    people: list[str]
    may_share: bool


@router.get("/datasets/{reference}/sharing", dependencies=[_READ])
def dataset_sharing(reference: str, studio: TheStudio, actor: TheActor) -> SharingView:
    """Who may use a dataset, all of its versions."""
    return _shown(studio, actor, _dataset(studio, actor, reference))


@router.put("/datasets/{reference}/sharing", dependencies=[allow(Role.RESEARCHER, scope=Scope.DATA)])
def share_dataset(reference: str, request: SharingRequest, studio: TheStudio, actor: TheActor) -> SharingView:
    """Change who may use a dataset; for its owner and admins."""
    return _share(studio, actor, _dataset(studio, actor, reference), request)


@router.get("/models/{reference}/sharing", dependencies=[_READ])
def model_sharing(reference: str, studio: TheStudio, actor: TheActor) -> SharingView:
    """Who may use a model, all of its versions."""
    return _shown(studio, actor, _model(studio, actor, reference))


@router.put("/models/{reference}/sharing", dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def share_model(reference: str, request: SharingRequest, studio: TheStudio, actor: TheActor) -> SharingView:
    """Change who may use a model, also behind a deployment; for its owner and admins."""
    return _share(studio, actor, _model(studio, actor, reference), request)


def _dataset(studio: Studio, actor: Actor, reference: str) -> Node:
    return Node("dataset", studio.datasets.version(actor, reference).dataset_id)


def _model(studio: Studio, actor: Actor, reference: str) -> Node:
    return Node("model", studio.registry.version(actor, reference).model_id)


def _share(studio: Studio, actor: Actor, node: Node, request: SharingRequest) -> SharingView:
    change = SharingChange(
        visibility=request.visibility,
        roles=None if request.roles is None else tuple(request.roles),
        people=None if request.people is None else tuple(request.people),
        owner=request.owner,
    )
    return _view(studio, actor, node, studio.access.share(actor, node, change))


def _shown(studio: Studio, actor: Actor, node: Node) -> SharingView:
    return _view(studio, actor, node, studio.access.sharing(actor, node))


def _view(studio: Studio, actor: Actor, node: Node, found: Sharing) -> SharingView:
    return SharingView(
        owner=found.owner,
        visibility=found.visibility,
        roles=list(found.roles),
        people=list(found.people),
        may_share=studio.access.may_share(actor, node),
    )
