"""Whether the studio is up, and what it is busy with."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from studio import __version__
from studio.api.context import PUBLIC, TheStudio, TheVisitor
from studio.core import Role

router = APIRouter(tags=["health"])


class Engine(BaseModel):
    """A model server; ``gives_way_to`` names who needs its memory, if somebody does."""

    base: str
    state: str
    adapters: list[str]
    gives_way_to: str


class Health(BaseModel):
    """The studio's state in a few numbers."""

    status: str
    version: str
    jobs: dict[str, int]
    engines: list[Engine]


@router.get("/health", dependencies=[PUBLIC])
def health(studio: TheStudio, visitor: TheVisitor) -> Health:
    """Answers as soon as the database does; what the studio is busy with is for people who are logged in."""
    if visitor is None or visitor.actor.role not in (Role.ADMIN, Role.RESEARCHER):
        return Health(status="ok", version=__version__, jobs={}, engines=[])
    counts: dict[str, int] = {}
    for job in studio.jobs.list(visitor.actor):
        counts[job.state.value] = counts.get(job.state.value, 0) + 1
    engines = [
        Engine(
            base=status.base_id,
            state=status.state,
            adapters=list(status.adapters),
            gives_way_to=status.gives_way_to,
        )
        for status in studio.serving.engines(visitor.actor)
    ]
    return Health(status="ok", version=__version__, jobs=counts, engines=engines)
