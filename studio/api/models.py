"""The model registry: versions, aliases, and registering a base model."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.api.jobs import JobView, job_view
from studio.api.marks import MarkView, mark_views
from studio.core import Role
from studio.registry import BaseSource, ModelVersion

router = APIRouter(prefix="/models", tags=["models"])


class ModelView(BaseModel):
    """One model version; ``base`` and ``parent`` are references such as ``assistant@2``."""

    id: str
    reference: str
    name: str
    number: int
    kind: str
    task: str
    digest: str
    base_id: str
    parent_id: str | None
    run_id: str | None
    licence: str
    origin: str
    parameters: int
    aliases: list[str]
    created_at: float
    marks: list[MarkView]


class RegisterRequest(BaseModel):
    """A local folder, or a Hub id (``organisation/name``) which is downloaded by a job."""

    model_config = ConfigDict(extra="forbid")

    location: str = Field(min_length=1, max_length=4096)
    name: str = Field("", max_length=100)
    licence: str = Field("", max_length=200)
    revision: str = Field("main", max_length=200)


class Registered(BaseModel):
    """The version, or the job that fetches it."""

    model: ModelView | None = None
    job: JobView | None = None


class AliasRequest(BaseModel):
    """A name that is to point to a version from now on."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    model: str = Field(min_length=1, max_length=200)


class AliasView(BaseModel):
    """A moving name and where it points."""

    name: str
    version_id: str
    moved_at: float


def _view(version: ModelVersion, aliases: list[str]) -> ModelView:
    return ModelView(
        id=version.id,
        reference=version.reference,
        name=version.name,
        number=version.number,
        kind=version.kind.value,
        task=version.task.value,
        digest=version.digest,
        base_id=version.base_id,
        parent_id=version.parent_id,
        run_id=version.run_id,
        licence=version.licence,
        origin=version.origin,
        parameters=version.parameters,
        aliases=aliases,
        created_at=version.created_at,
        marks=mark_views(version.marks),
    )


@router.get("", dependencies=[allow(Role.RESEARCHER, Role.STAKEHOLDER, scope=Scope.READ)])
def list_models(studio: TheStudio, actor: TheActor) -> list[ModelView]:
    """Every model version with its aliases."""
    pointing: dict[str, list[str]] = {}
    for alias in studio.registry.aliases(actor):
        pointing.setdefault(alias.version_id, []).append(alias.name)
    return [_view(v, pointing.get(v.id, [])) for v in studio.registry.list(actor)]


@router.post("", status_code=201, dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def register(request: RegisterRequest, studio: TheStudio, actor: TheActor, response: Response) -> Registered:
    """Register a base model; a Hub id answers 202 with the job that downloads it."""
    source = BaseSource(request.location, request.name, request.licence, request.revision)
    found = studio.registry.register(actor, source)
    if isinstance(found, ModelVersion):
        return Registered(model=_view(found, []))
    response.status_code = 202
    return Registered(job=job_view(found, None))


@router.get("/aliases", dependencies=[allow(Role.RESEARCHER, Role.STAKEHOLDER, scope=Scope.READ)])
def aliases(studio: TheStudio, actor: TheActor) -> list[AliasView]:
    """Every alias."""
    return [
        AliasView(name=a.name, version_id=a.version_id, moved_at=a.moved_at)
        for a in studio.registry.aliases(actor)
    ]


@router.post("/aliases", dependencies=[allow(Role.RESEARCHER, scope=Scope.DEPLOY)])
def move_alias(request: AliasRequest, studio: TheStudio, actor: TheActor) -> AliasView:
    """Point an alias to a version."""
    alias = studio.registry.alias(actor, request.name, request.model)
    return AliasView(name=alias.name, version_id=alias.version_id, moved_at=alias.moved_at)


@router.get(
    "/{reference}/ancestry", dependencies=[allow(Role.RESEARCHER, Role.STAKEHOLDER, scope=Scope.READ)]
)
def ancestry(reference: str, studio: TheStudio, actor: TheActor) -> list[ModelView]:
    """A version and what it was trained from, down to its base."""
    return [_view(version, []) for version in studio.registry.ancestry(actor, reference)]
