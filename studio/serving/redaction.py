"""Answers whose model may not be told: who says which they are, and what is left of one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Protocol

from studio.core import Actor
from studio.serving.records import EngineStatus, Generation, Sampling


class Redactor(Protocol):
    """Says whether a generation belongs to a blind battle that has no verdict yet."""

    def __call__(self, generation_id: str) -> bool:
        """Whether it must be kept from everyone who answered."""


class HiddenAnswers(Protocol):
    """Lists the stored generations for which the redactor is true, so that counts can leave them out."""

    def __call__(self, actor: Actor) -> Collection[str]:
        """Their ids."""


class PrivateAnswers(Protocol):
    """Lists the answers that stand beside one of a model which the actor may not use."""

    def __call__(self, actor: Actor) -> Collection[str]:
        """Their ids."""


def nothing_hidden(generation_id: str) -> bool:  # noqa: ARG001
    """The redactor of a studio without an arena."""
    return False


def none_hidden(actor: Actor) -> Collection[str]:  # noqa: ARG001
    """The hidden answers of a studio without an arena."""
    return ()


def redacted(generation: Generation) -> Generation:
    """Without anything that tells which model it was: also not by its prompt, speed or error."""
    return replace(
        generation,
        messages=tuple(m for m in generation.messages if m.role != "system"),
        model_version_id="",
        deployment="",
        variant="",
        sampling=Sampling(),
        seed=0,
        template_digest="",
        prompt_digest="",
        prompt_tokens=0,
        completion_tokens=0,
        finish_reason="",
        first_token_seconds=None,
        seconds=0.0,
        error="The answer failed." if generation.error else "",
        redacted=True,
    )


def alike(status: Sequence[EngineStatus]) -> tuple[EngineStatus, ...]:
    """Without anything that tells which model server failed or was refused its memory.

    Where one side of a blind battle failed, the base that failed would tell which side it was.
    """
    to = next((one.gives_way_to for one in status if one.gives_way_to), "")
    return tuple(
        replace(one, state="stopped", reason="", gives_way_to=to)
        if one.state == "failed"
        else replace(one, reason="" if to else one.reason, gives_way_to=to)
        for one in status
    )
