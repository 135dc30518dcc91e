"""The curves of many runs in one answer, as columns: what the plots of the pages ask for.

It stands before the routes of a single run: ``curves`` is not the id of one.
"""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.core import InvalidInput, Role
from studio.training.curve_service import MOST_CURVES, CurveChunk, CurveRequest

router = APIRouter(prefix="/runs", tags=["runs"])

_MOST_POINTS = 10_000


class SeriesView(BaseModel):
    """Points of one metric as columns of one length.

    ``bucket`` values became two points, the lowest and the highest; ``means`` and ``counts`` are the mean of
    the values each point stands for and their number, left out where every point is its own.
    """

    bucket: int
    steps: list[int]
    values: list[float]
    seconds: list[float]
    tokens: list[int]
    means: list[float] | None
    counts: list[int] | None


class CurveView(BaseModel):
    """What is new of one run; ask again with ``cursor`` and ``epoch``."""

    run_id: str
    epoch: int
    cursor: int
    live: bool
    series: dict[str, SeriesView]


class CurvesView(BaseModel):
    """What is new of each run that was asked for and is there."""

    curves: list[CurveView]


_Runs = Annotated[
    list[str],
    Query(
        alias="run",
        max_length=MOST_CURVES,
        description="`id`, or `id:cursor:epoch` for what is new since an answer.",
    ),
]
_Names = Annotated[list[str], Query(alias="series", max_length=50, description="Metrics; all if left out.")]


@router.get(
    "/curves",
    dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)],
    responses={200: {"model": CurvesView}},
    response_class=Response,
)
def curves(
    studio: TheStudio,
    actor: TheActor,
    runs: _Runs,
    names: _Names = [],  # noqa: B006  (FastAPI copies it)
    most: int = Query(
        1000, ge=0, le=_MOST_POINTS, description="Points a series, about; 0 for all, of one run."
    ),
    first: float | None = Query(None, description="With `last`: only the points between two steps."),
    last: float | None = None,
) -> Response:
    """New points of many runs, thinned so that every extreme stays; or the points of a window."""
    asked = [_request(run) for run in runs]
    if first is not None and last is not None:
        found = studio.curves.window(actor, [one.run_id for one in asked], first, last, most, names)
    else:
        found = studio.curves.curves(actor, asked, most, names)
    return Response(encoded(found), media_type="application/json")


def encoded(chunks: tuple[CurveChunk, ...]) -> bytes:
    """The answer as JSON; arrays are written as they are, which is most of why it is fast."""
    plain = [{**vars(one), "series": {k: vars(v) for k, v in one.series.items()}} for one in chunks]
    return orjson.dumps({"curves": plain}, option=orjson.OPT_SERIALIZE_NUMPY)


def _request(text: str) -> CurveRequest:
    run_id, _, rest = text.partition(":")
    cursor, _, epoch = rest.partition(":")
    try:
        numbers = int((cursor or "0")[:20]), int((epoch or "0")[:20])
    except ValueError:
        numbers = (-1, -1)
    if min(numbers) < 0:
        raise InvalidInput(f"{text[:60]!r} does not name a run.", "Write id, or id:cursor:epoch.")
    return CurveRequest(run_id, *numbers)
