"""The records of the serving room."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Sampling(BaseModel):
    """How an answer is drawn; temperature 0 is greedy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(0.7, ge=0.0, le=2.0)
    top_p: float = Field(0.95, gt=0.0, le=1.0)
    max_tokens: int = Field(256, ge=1, le=4096)
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    repetition_penalty: float = Field(1.0, ge=0.5, le=2.0)


class ChatMessage(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: str = Field(pattern="^(system|user|assistant)$")
    content: str = Field(max_length=200_000)


@dataclass(frozen=True)
class RowRequest:
    """One answer to generate: the model version, the whole prompt, and how to sample."""

    model_version_id: str
    messages: tuple[ChatMessage, ...]
    sampling: Sampling


@dataclass(frozen=True)
class TokenDelta:
    """A piece of text for row ``row`` of a batch; ``tokens`` counts the row's answer so far."""

    row: int
    text: str
    tokens: int = 0


@dataclass(frozen=True)
class RowEnd:
    """The end of one row, with what was measured; ``error`` is empty where all went well.

    ``first_token_seconds`` and ``seconds`` count from when the request was accepted by the studio.
    ``finish_reason`` is stop, length, cancelled or error. ``prompt_digest`` is the SHA-256 of the
    rendered prompt's token ids, ``template_digest`` of the chat template.
    """

    row: int
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    first_token_seconds: float | None
    seconds: float
    seed: int
    template_digest: str
    error: str = ""
    prompt_digest: str = ""


@dataclass(frozen=True)
class Generation:
    """One stored answer; immutable. ``source`` is chat, predict or loop.

    ``model_version_id``, ``deployment``, ``variant`` and every measurement are empty where
    ``redacted`` is True: the answer belongs to a blind battle that has no verdict yet. ``messages`` then
    lacks system messages, because a variant's own system prompt would tell which one it is.
    ``created_at`` is when the request was accepted, so both sides of a pair carry the same time.
    """

    id: str
    messages: tuple[ChatMessage, ...]
    text: str
    model_version_id: str
    deployment: str
    variant: str
    sampling: Sampling
    seed: int
    template_digest: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    first_token_seconds: float | None
    seconds: float
    error: str
    user: str
    source: str
    created_at: float
    redacted: bool = False
    prompt_digest: str = ""


class DeploymentState(StrEnum):
    """Whether clients can call a deployment."""

    LIVE = "live"
    RETIRED = "retired"


@dataclass(frozen=True)
class VariantSpec:
    """A share of a deployment's traffic: ``weight`` is relative to the other variants' weights."""

    name: str
    model_version_id: str
    weight: float
    system_prompt: str = ""
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True)
class Deployment:
    """A name that clients call. ``revision`` counts its changes; each is kept in the history."""

    id: str
    name: str
    revision: int
    state: DeploymentState
    variants: tuple[VariantSpec, ...]
    changed_at: float
    changed_by: str


@dataclass(frozen=True)
class Prediction:
    """A deployment's answer and which variant gave it."""

    generation: Generation
    deployment: str
    variant: str


@dataclass(frozen=True)
class EngineStatus:
    """A model server as the studio sees it; ``state`` is starting, ready, stopped or failed.

    ``gives_way_to`` names the run that it frees its memory for, or may not start beside; else it is empty.
    """

    base_id: str
    state: str
    adapters: tuple[str, ...]
    pid: int | None
    reason: str
    gives_way_to: str = ""
