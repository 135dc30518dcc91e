"""The checkpoints of a run: which there are, keeping one as a model version, deleting one."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.core import Role
from studio.training import Checkpoint

router = APIRouter(prefix="/runs/{run_id}/checkpoints", tags=["runs"])


class KeepRequest(BaseModel):
    """What to call the model; empty is the name of what the run makes."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field("", max_length=100)


class KeptView(BaseModel):
    """The model version that a checkpoint became."""

    id: str
    reference: str


@router.get("", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def list_checkpoints(run_id: str, studio: TheStudio, actor: TheActor) -> list[Checkpoint]:
    """The complete checkpoints of a run, newest first."""
    return list(studio.training.checkpoints(actor, run_id))


@router.post("/{step}/keep", status_code=201, dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def keep_checkpoint(
    run_id: str, step: int, request: KeepRequest, studio: TheStudio, actor: TheActor
) -> KeptView:
    """Register a checkpoint as a model version; doing it again gives the same version."""
    version = studio.training.keep_checkpoint(actor, run_id, step, request.name)
    return KeptView(id=version.id, reference=version.reference)


@router.delete("/{step}", status_code=204, dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def delete_checkpoint(run_id: str, step: int, studio: TheStudio, actor: TheActor) -> None:
    """Remove a checkpoint for ever; what an unfinished run may need is refused."""
    studio.training.delete_checkpoint(actor, run_id, step)
