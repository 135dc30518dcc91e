"""Evaluations: score model versions on held-out rows, as a job."""

from __future__ import annotations

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.api.jobs import JobView, job_view
from studio.core import Role
from studio.datasets import Split
from studio.evaluation import Evaluation, EvaluationKind

router = APIRouter(prefix="/evaluations", tags=["evaluations"])


class EvaluationRequest(BaseModel):
    """Models that are scored on the same rows of one split (the validation side unless named)."""

    model_config = ConfigDict(extra="forbid")

    kind: EvaluationKind
    models: list[str] = Field(min_length=1, max_length=20)
    dataset: str = Field(min_length=1, max_length=200)
    split: Split | None = None


class ScoreView(BaseModel):
    """One model's value, with its 95% interval where there is one."""

    model: str
    value: float
    low: float | None
    high: float | None
    n: int


class EvaluationView(BaseModel):
    """What an evaluation found."""

    job_id: str
    kind: str
    dataset: str
    split: str
    skipped: int
    scores: list[ScoreView]


class EvaluationState(BaseModel):
    """The job, and the result once it has succeeded."""

    job: JobView
    result: EvaluationView | None


def _view(found: Evaluation) -> EvaluationView:
    return EvaluationView(
        job_id=found.job_id,
        kind=found.kind.value,
        dataset=found.dataset,
        split=found.split.value,
        skipped=found.skipped,
        scores=[
            ScoreView(
                model=score.reference,
                value=score.value,
                low=score.interval.low if score.interval else None,
                high=score.interval.high if score.interval else None,
                n=score.n,
            )
            for score in found.scores
        ],
    )


@router.post("", status_code=202, dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def start(request: EvaluationRequest, studio: TheStudio, actor: TheActor) -> JobView:
    """Begin an evaluation; follow its job."""
    job = studio.evaluation.start(actor, request.kind, request.models, request.dataset, split=request.split)
    return job_view(job, None)


@router.get("", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def evaluations(
    studio: TheStudio, actor: TheActor, limit: int = Query(50, ge=1, le=500)
) -> list[EvaluationView]:
    """The newest finished evaluations first."""
    return [_view(found) for found in studio.evaluation.list(actor, limit)]


@router.get("/{job_id}", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def evaluation(job_id: str, studio: TheStudio, actor: TheActor) -> EvaluationState:
    """One evaluation."""
    found = studio.evaluation.result(actor, job_id)
    job = studio.jobs.get(actor, job_id)
    view = job_view(job, studio.jobs.progress(actor, job_id))
    return EvaluationState(job=view, result=_view(found) if found else None)
