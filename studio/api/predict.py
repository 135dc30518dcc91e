"""Asking a deployment: the variant is picked by the user's name and stays the same for that user."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.core import Role
from studio.serving import ChatMessage, Sampling

router = APIRouter(tags=["predict"])


class PredictRequest(BaseModel):
    """What to ask whom. Without ``sampling`` the variant's own is used."""

    model_config = ConfigDict(extra="forbid")

    deployment: str = Field(min_length=1, max_length=60)
    messages: list[ChatMessage] = Field(min_length=1, max_length=200)
    user: str = Field("anonymous", min_length=1, max_length=200)
    sampling: Sampling | None = None


class PredictView(BaseModel):
    """The answer, and which variant gave it; ``generation_id`` is what feedback refers to."""

    generation_id: str
    text: str
    deployment: str
    variant: str
    model: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    first_token_seconds: float | None
    seconds: float


@router.post("/predict", dependencies=[allow(Role.RESEARCHER, Role.STAKEHOLDER, scope=Scope.CHAT)])
def predict(request: PredictRequest, studio: TheStudio, actor: TheActor) -> PredictView:
    """One answer of a deployment; it is stored, and feedback can refer to it."""
    made = studio.serving.predict(
        actor, request.deployment, request.user, tuple(request.messages), request.sampling
    )
    answer = made.generation
    return PredictView(
        generation_id=answer.id,
        text=answer.text,
        deployment=made.deployment,
        variant=made.variant,
        model=studio.registry.version(actor, answer.model_version_id).reference,
        finish_reason=answer.finish_reason,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        first_token_seconds=answer.first_token_seconds,
        seconds=answer.seconds,
    )
