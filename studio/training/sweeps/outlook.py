"""About how long a sweep takes, from what past runs on the same model and data needed.

It is the time of training alone, at the pace of the newest run that fits, one trial after another: loading
and evaluating come on top, and trials with other sizes take more or less. Where no run fits, nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from studio.datasets import Split
from studio.jobs import JobState
from studio.training.plan import Plan
from studio.training.recipes import Recipe, parse_recipe
from studio.training.records import Run
from studio.training.sweeps.records import Outlook


def outlook(trials: int, plan: Plan, runs: Sequence[Run], trained: Callable[[Run], float | None]) -> Outlook:
    """The outlook of ``trials`` runs of ``plan``.

    Args:
        trials: How many.
        plan: What each of them trains, about.
        runs: Past ones, the newest first.
        trained: How many seconds a run trained.
    """
    for run in runs:
        passed = trained(run) if _fits(run, plan) else None
        if passed is None:
            continue
        rows = plan.dataset.rows.get(Split.TRAIN, 0)
        seconds = passed * _rows(plan.recipe, rows) / _rows(parse_recipe(run.stage, run.recipe), rows)
        return Outlook(trials, seconds, seconds * trials, run.name)
    return Outlook(trials, None, None)


def _fits(run: Run, plan: Plan) -> bool:
    ids = tuple(dataset.id for dataset in plan.datasets)
    same = run.model_version_id == plan.model.id and run.dataset_version_ids == ids
    return same and run.stage is plan.recipe.STAGE and run.state is JobState.SUCCEEDED


def _rows(recipe: Recipe, rows: int) -> float:
    """How many rows a recipe trains on, counted as often as they come."""
    step = recipe.batch_size * recipe.gradient_accumulation * recipe.processes
    most = recipe.max_steps * step if recipe.max_steps > 0 else math.inf
    return min(rows * recipe.epochs, most)
