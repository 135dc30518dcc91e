"""Starting training runs, and saying beforehand how much memory they need."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.api.run_views import RunView, run_view
from studio.core import Role
from studio.training import Stage, StartRun, recipe_text
from studio.training.memory import MemoryEstimate

router = APIRouter(prefix="/train", tags=["training"])


class TrainRequest(BaseModel):
    """A recipe as an object or as YAML text; fields that are left out take their defaults.

    ``request_id`` makes a retry harmless: the same id never starts a second run. ``after`` names runs that
    must have succeeded first, with ``continue_on_error`` only ended. ``devices`` are exact GPUs.
    """

    model_config = ConfigDict(extra="forbid")

    recipe: dict[str, Any] | str = Field(
        examples=[{"model": "smollm2-135m-instruct", "dataset": "studio-instructions"}]
    )
    name: str = Field("", max_length=100)
    request_id: str = Field("", max_length=100)
    priority: int = Field(0, ge=-1000, le=1000, description="Higher ones go first.")
    after: list[str] = Field([], max_length=100)
    continue_on_error: bool = False
    devices: list[int] = Field([], max_length=64)


class EstimateRequest(BaseModel):
    """A recipe to be estimated."""

    model_config = ConfigDict(extra="forbid")

    stage: Stage
    recipe: dict[str, Any] | str


@router.post("/cpt", status_code=202, dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def train_cpt(request: TrainRequest, studio: TheStudio, actor: TheActor) -> RunView:
    """Continue pre-training on a corpus."""
    return _start(Stage.CPT, request, studio, actor)


@router.post("/sft", status_code=202, dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def train_sft(request: TrainRequest, studio: TheStudio, actor: TheActor) -> RunView:
    """Fine-tune on instructions and their answers."""
    return _start(Stage.SFT, request, studio, actor)


@router.post("/dpo", status_code=202, dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def train_dpo(request: TrainRequest, studio: TheStudio, actor: TheActor) -> RunView:
    """Optimise for the preferred answers of a preference dataset."""
    return _start(Stage.DPO, request, studio, actor)


@router.post("/kto", status_code=202, dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def train_kto(request: TrainRequest, studio: TheStudio, actor: TheActor) -> RunView:
    """Optimise for single answers that people found good or bad."""
    return _start(Stage.KTO, request, studio, actor)


@router.post("/reward", status_code=202, dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def train_reward(request: TrainRequest, studio: TheStudio, actor: TheActor) -> RunView:
    """Train a model that scores answers as people would."""
    return _start(Stage.REWARD, request, studio, actor)


@router.post("/estimate", dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def estimate(request: EstimateRequest, studio: TheStudio, actor: TheActor) -> MemoryEstimate:
    """How much memory a run would need, what takes it, and what would make it fit; starts nothing."""
    return studio.training.estimate(actor, request.stage, _text(request.recipe))


def _start(stage: Stage, request: TrainRequest, studio: TheStudio, actor: TheActor) -> RunView:
    start = StartRun(
        stage=stage,
        recipe=_text(request.recipe),
        name=request.name,
        request_id=request.request_id,
        priority=request.priority,
        after=tuple(request.after),
        continue_on_error=request.continue_on_error,
        devices=tuple(request.devices),
    )
    return run_view(studio.training.start(actor, start), studio, actor)


def _text(recipe: dict[str, Any] | str) -> str:
    return recipe if isinstance(recipe, str) else recipe_text(recipe)
