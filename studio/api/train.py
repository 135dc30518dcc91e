"""Starting training runs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.api.runs import RunView, run_view
from studio.core import Role
from studio.training import Stage, StartRun, recipe_text

router = APIRouter(prefix="/train", tags=["training"])


class TrainRequest(BaseModel):
    """A recipe as an object or as YAML text; fields that are left out take their defaults.

    ``request_id`` makes a retry harmless: the same id never starts a second run.
    """

    model_config = ConfigDict(extra="forbid")

    recipe: dict[str, Any] | str = Field(
        examples=[{"model": "smollm2-135m-instruct", "dataset": "studio-instructions"}]
    )
    name: str = Field("", max_length=100)
    request_id: str = Field("", max_length=100)


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


def _start(stage: Stage, request: TrainRequest, studio: TheStudio, actor: TheActor) -> RunView:
    text = request.recipe if isinstance(request.recipe, str) else recipe_text(request.recipe)
    start = StartRun(stage=stage, recipe=text, name=request.name, request_id=request.request_id)
    return run_view(studio.training.start(actor, start), studio, actor)
