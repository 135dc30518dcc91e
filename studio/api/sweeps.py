"""Sweeps: many runs of one recipe with other values, and the best of what they find."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.api.run_views import RunView, run_view
from studio.core import Role
from studio.training.sweeps import Sweep, Trial, best_of

router = APIRouter(prefix="/sweeps", tags=["sweeps"])

_EXAMPLE = {
    "recipe": {"stage": "sft", "model": "smollm2-135m-instruct", "dataset": "studio-instructions"},
    "space": {"learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}, "lora.r": [8, 16, 32]},
    "trials": 12,
}


class SweepRequest(BaseModel):
    """A sweep as an object or as YAML text (see `configs/sweep.yaml`); what is left out takes its default.

    ``request_id`` makes a retry harmless: the same id never starts a second sweep.
    """

    model_config = ConfigDict(extra="forbid")

    sweep: dict[str, Any] | str = Field(examples=[_EXAMPLE])
    request_id: str = Field("", max_length=100)


class BestRequest(BaseModel):
    """How long to train: so many epochs without a limit of steps, or as the trials did."""

    model_config = ConfigDict(extra="forbid")

    epochs: float | None = Field(None, gt=0, le=1000)
    request_id: str = Field("", max_length=100)


class TrialView(BaseModel):
    """One trial; ``value`` is the objective, of one under way or pruned at its last evaluation."""

    number: int
    params: dict[str, Any]
    state: str
    run_id: str
    value: float | None
    reason: str
    created_at: float
    ended_at: float | None


class SweepView(BaseModel):
    """A sweep; ``best`` is the number of its best trial."""

    id: str
    name: str
    stage: str
    state: str
    reason: str
    plan: dict[str, Any]
    model: str
    datasets: list[str]
    output: str
    best: int | None
    best_value: float | None
    made: int
    created_at: float
    ended_at: float | None


class SweepDetail(SweepView):
    """A sweep with its trials; ``importance`` is each field's share, where it was asked for."""

    trials: list[TrialView]
    importance: dict[str, float]


@router.post("", status_code=202, dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def start_sweep(request: SweepRequest, studio: TheStudio, actor: TheActor) -> SweepView:
    """Begin a sweep; its trials are runs that wait in the queue like any other."""
    return _view(studio.sweeps.start(actor, request.sweep, request.request_id), studio, actor)


@router.get("", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def list_sweeps(
    studio: TheStudio, actor: TheActor, limit: int = Query(100, ge=1, le=1000)
) -> list[SweepView]:
    """The newest sweeps first."""
    return [_view(sweep, studio, actor) for sweep in studio.sweeps.list(actor, limit)]


@router.get("/{sweep_id}", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def get_sweep(
    sweep_id: str,
    studio: TheStudio,
    actor: TheActor,
    importance: bool = Query(False, description="Also how much each field mattered."),
) -> SweepDetail:
    """One sweep with its trials."""
    sweep = studio.sweeps.get(actor, sweep_id)
    shares = studio.sweeps.insight(actor, sweep_id).importance if importance else {}
    trials = [_trial(trial) for trial in studio.sweeps.trials(actor, sweep_id)]
    return SweepDetail(**_view(sweep, studio, actor).model_dump(), trials=trials, importance=shares)


@router.post("/{sweep_id}/stop", dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def stop_sweep(sweep_id: str, studio: TheStudio, actor: TheActor) -> SweepView:
    """Start no more trials and ask those under way to save and stop."""
    return _view(studio.sweeps.stop(actor, sweep_id), studio, actor)


@router.post("/{sweep_id}/resume", dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def resume_sweep(sweep_id: str, studio: TheStudio, actor: TheActor) -> SweepView:
    """Go on with a sweep that was stopped, its trials where they were."""
    return _view(studio.sweeps.resume(actor, sweep_id), studio, actor)


@router.post(
    "/{sweep_id}/train-best", status_code=202, dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)]
)
def train_best(
    sweep_id: str, studio: TheStudio, actor: TheActor, request: BestRequest | None = None
) -> RunView:
    """Start a run with the best trial's recipe."""
    asked = request or BestRequest()
    run = studio.sweeps.train_best(actor, sweep_id, asked.epochs, asked.request_id)
    return run_view(run, studio, actor)


def _view(sweep: Sweep, studio: TheStudio, actor: TheActor) -> SweepView:
    trials = studio.sweeps.trials(actor, sweep.id)
    best = best_of(sweep, trials)
    return SweepView(
        id=sweep.id,
        name=sweep.name,
        stage=sweep.stage.value,
        state=sweep.state.value,
        reason=sweep.reason,
        plan=sweep.plan.model_dump(mode="json"),
        model=studio.registry.version(actor, sweep.model_version_id).reference,
        datasets=[studio.datasets.version(actor, key).reference for key in sweep.dataset_version_ids],
        output=sweep.output,
        best=best.number if best else None,
        best_value=best.value if best else None,
        made=len(trials),
        created_at=sweep.created_at,
        ended_at=sweep.ended_at,
    )


def _trial(trial: Trial) -> TrialView:
    values = {key: value for key, value in vars(trial).items() if key != "sweep_id"}
    return TrialView(**values | {"state": trial.state.value})
