"""The audit log: who did what to which object."""

from __future__ import annotations

from fastapi import APIRouter, Query
from pydantic import BaseModel

from studio.api.context import Scope, TheActor, TheStudio, allow

router = APIRouter(prefix="/audit", tags=["accounts"])

_LONGEST = 200


class EntryView(BaseModel):
    """One line of the log; ``id`` grows with each, ``at`` is seconds since the epoch."""

    id: int
    at: float
    actor: str
    role: str
    verb: str
    kind: str
    object_id: str
    detail: str


@router.get("", dependencies=[allow(scope=Scope.READ)])
def entries(
    studio: TheStudio,
    actor: TheActor,
    person: str = Query("", max_length=_LONGEST),
    verb: str = Query("", max_length=_LONGEST),
    kind: str = Query("", max_length=_LONGEST),
    object_id: str = Query("", max_length=_LONGEST),
    before: int | None = Query(None, ge=0, lt=2**63),
    limit: int = Query(100, ge=1, le=1000),
) -> list[EntryView]:
    """The newest entries first; ``before`` takes the id of the last one of a page and gives the next page."""
    found = studio.audit.search(
        actor, person=person, verb=verb, kind=kind, object_id=object_id, before=before, limit=limit
    )
    return [
        EntryView(
            id=entry.id,
            at=entry.at,
            actor=entry.actor,
            role=entry.role,
            verb=entry.verb,
            kind=entry.target.kind,
            object_id=entry.target.id,
            detail=entry.detail,
        )
        for entry in found
    ]
