"""Deployments: names that clients call, with weighted variants behind them, and what came of them."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.arena import Experiment
from studio.core import Role
from studio.serving import Deployment, Sampling, VariantSpec

router = APIRouter(tags=["deployments"])


class VariantRequest(BaseModel):
    """A share of the traffic; ``model`` is a reference such as ``assistant@2`` or an alias."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=60)
    model: str = Field(min_length=1, max_length=200)
    weight: float = Field(1.0, gt=0, le=1e6)
    system_prompt: str = Field("", max_length=20_000)
    sampling: Sampling = Sampling()


class DeployRequest(BaseModel):
    """What a name is to answer with from now on."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=60)
    variants: list[VariantRequest] = Field(min_length=1, max_length=20)


class RollbackRequest(BaseModel):
    """The revision to go back to."""

    model_config = ConfigDict(extra="forbid")

    revision: int = Field(ge=1)


class VariantView(BaseModel):
    """One variant; ``share`` is its part of the traffic, 0 to 1."""

    name: str
    model: str
    model_version_id: str
    weight: float
    share: float
    system_prompt: str
    sampling: Sampling


class DeploymentView(BaseModel):
    """A deployment as it stands at one revision."""

    name: str
    revision: int
    state: str
    variants: list[VariantView]
    changed_at: float
    changed_by: str


class ScoreView(BaseModel):
    """What a variant received."""

    variant: str
    model: str
    weight: float
    answers: int
    wins: int
    losses: int
    ties: int
    both_bad: int
    thumbs_up: int
    thumbs_down: int


class ExperimentView(BaseModel):
    """A deployment with several variants."""

    deployment: str
    revision: int
    variants: list[ScoreView]


@router.post("/deploy", status_code=201, dependencies=[allow(Role.RESEARCHER, scope=Scope.DEPLOY)])
def deploy(request: DeployRequest, studio: TheStudio, actor: TheActor) -> DeploymentView:
    """Create a deployment, or change what it answers with; the earlier state stays in its history."""
    variants = tuple(
        VariantSpec(
            name=wanted.name,
            model_version_id=studio.registry.version(actor, wanted.model).id,
            weight=wanted.weight,
            system_prompt=wanted.system_prompt,
            sampling=wanted.sampling,
        )
        for wanted in request.variants
    )
    return _view(studio.serving.deploy(actor, request.name, variants), studio, actor)


@router.get("/deployments", dependencies=[allow(Role.RESEARCHER, Role.STAKEHOLDER, scope=Scope.READ)])
def deployments(studio: TheStudio, actor: TheActor) -> list[DeploymentView]:
    """Every deployment as it stands."""
    return [_view(found, studio, actor) for found in studio.serving.deployments(actor)]


@router.get("/deployments/{name}", dependencies=[allow(Role.RESEARCHER, Role.STAKEHOLDER, scope=Scope.READ)])
def deployment(name: str, studio: TheStudio, actor: TheActor) -> DeploymentView:
    """One deployment."""
    return _view(studio.serving.deployment(actor, name), studio, actor)


@router.get("/deployments/{name}/history", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def history(name: str, studio: TheStudio, actor: TheActor) -> list[DeploymentView]:
    """Every state a deployment ever had."""
    return [_view(found, studio, actor) for found in studio.serving.history(actor, name)]


@router.post("/deployments/{name}/rollback", dependencies=[allow(Role.RESEARCHER, scope=Scope.DEPLOY)])
def rollback(name: str, request: RollbackRequest, studio: TheStudio, actor: TheActor) -> DeploymentView:
    """Make an earlier revision the current one, as a new revision."""
    return _view(studio.serving.rollback(actor, name, request.revision), studio, actor)


@router.post("/deployments/{name}/retire", dependencies=[allow(Role.RESEARCHER, scope=Scope.DEPLOY)])
def retire(name: str, studio: TheStudio, actor: TheActor) -> DeploymentView:
    """Stop answering under this name; its history stays."""
    return _view(studio.serving.retire(actor, name), studio, actor)


@router.get("/experiments", dependencies=[allow(Role.RESEARCHER, Role.STAKEHOLDER, scope=Scope.READ)])
def experiments(studio: TheStudio, actor: TheActor) -> list[ExperimentView]:
    """Deployments with several variants, with answers and votes by variant."""
    return [_experiment(found, studio, actor) for found in studio.arena.experiments(actor)]


def _view(found: Deployment, studio: TheStudio, actor: TheActor) -> DeploymentView:
    total = sum(variant.weight for variant in found.variants)
    return DeploymentView(
        name=found.name,
        revision=found.revision,
        state=found.state.value,
        variants=[
            VariantView(
                name=v.name,
                model=studio.registry.version(actor, v.model_version_id).reference,
                model_version_id=v.model_version_id,
                weight=v.weight,
                share=v.weight / total,
                system_prompt=v.system_prompt,
                sampling=v.sampling,
            )
            for v in found.variants
        ],
        changed_at=found.changed_at,
        changed_by=found.changed_by,
    )


def _experiment(found: Experiment, studio: TheStudio, actor: TheActor) -> ExperimentView:
    scores = [
        ScoreView(
            variant=s.variant,
            model=studio.registry.version(actor, s.model_version_id).reference,
            weight=s.weight,
            answers=s.answers,
            wins=s.wins,
            losses=s.losses,
            ties=s.ties,
            both_bad=s.both_bad,
            thumbs_up=s.thumbs_up,
            thumbs_down=s.thumbs_down,
        )
        for s in found.variants
    ]
    return ExperimentView(deployment=found.deployment, revision=found.revision, variants=scores)
