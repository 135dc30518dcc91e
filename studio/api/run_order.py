"""Runs beside each other: the queue and its order, and comparisons.

It stands before the routes of a single run: ``queue`` and ``compare`` are not the ids of one.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.api.jobs import Move, Priority
from studio.api.run_views import RunView, run_view
from studio.core import Role

router = APIRouter(prefix="/runs", tags=["runs"])


class QueuedRunView(BaseModel):
    """A run that waits; ``waits_for`` says in words what for."""

    run: RunView
    place: int
    waits_for: str


class ComparisonView(BaseModel):
    """Runs beside each other; every row has one value a run, in the order of ``runs``.

    ``differences`` are the fields of the recipes that are not all the same, ``table`` the numbers.
    """

    runs: list[RunView]
    differences: dict[str, list[object]]
    table: dict[str, list[float | None]]


_Runs = Annotated[
    list[str], Query(alias="run", max_length=50, description="The id of a run; may be repeated.")
]


@router.get("/queue", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def queue(studio: TheStudio, actor: TheActor) -> list[QueuedRunView]:
    """The runs that wait, in the order in which they start."""
    return [
        QueuedRunView(run=run_view(one.run, studio, actor), place=one.place, waits_for=one.waits_for)
        for one in studio.training.queue(actor)
    ]


@router.get("/compare", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def compare(runs: _Runs, studio: TheStudio, actor: TheActor) -> ComparisonView:
    """Where the recipes of runs differ, and their numbers in one table."""
    found = studio.training.compare(actor, runs)
    return ComparisonView(
        runs=[run_view(run, studio, actor) for run in found.runs],
        differences={name: list(row) for name, row in found.differences.items()},
        table={name: list(row) for name, row in found.table.items()},
    )


@router.post("/{run_id}/move", dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def move_run(run_id: str, request: Move, studio: TheStudio, actor: TheActor) -> RunView:
    """Put a waiting run directly before another one, or behind all; it takes over the other's priority."""
    return run_view(studio.training.move(actor, run_id, request.before), studio, actor)


@router.post("/{run_id}/priority", dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def prioritise_run(run_id: str, request: Priority, studio: TheStudio, actor: TheActor) -> RunView:
    """Give a waiting run another priority; higher ones go first."""
    return run_view(studio.training.prioritise(actor, run_id, request.priority), studio, actor)
