"""Runs beside each other: the fields in which their recipes differ, and their numbers in one table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from studio.core import InvalidInput
from studio.training.recipes import Recipe
from studio.training.records import Comparison, Run

#: More runs than this are no comparison.
MOST_RUNS = 50


def check_runs(run_ids: Sequence[str]) -> tuple[str, ...]:
    """The runs to compare, each once, in the order they were named.

    Raises:
        InvalidInput: They are none, or too many.
    """
    found = tuple(dict.fromkeys(run_ids))
    if not 1 <= len(found) <= MOST_RUNS:
        raise InvalidInput(f"{len(found)} runs cannot be compared.", f"Name 2 to {MOST_RUNS} of them.")
    return found


def compared(runs: Sequence[Run], recipes: Sequence[Recipe]) -> Comparison:
    """Compare runs by their exact recipes, in the order of ``runs``."""
    paths = [dict(_flat(recipe.model_dump(mode="json"))) for recipe in recipes]
    names = list(dict.fromkeys(name for values in paths for name in values))
    rows = {name: tuple(values.get(name) for values in paths) for name in names}
    differences = {name: row for name, row in rows.items() if any(value != row[0] for value in row)}
    return Comparison(tuple(runs), differences, _table(runs))


def _table(runs: Sequence[Run]) -> dict[str, tuple[float | None, ...]]:
    columns = [{**run.summary, **_measured(run)} for run in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    return {name: tuple(_finite(column.get(name)) for column in columns) for name in names}


def _measured(run: Run) -> dict[str, float]:
    """Numbers that are not among the metrics: attempts, seconds from start to end, memory in bytes."""
    found: dict[str, float] = {"run/attempts": float(run.attempts)}
    if run.ended_at is not None:
        found["run/seconds"] = run.ended_at - run.created_at
    if run.peak_memory_bytes is not None:
        found["memory/peak_bytes"] = float(run.peak_memory_bytes)
    if run.predicted_memory_bytes is not None:
        found["memory/predicted_bytes"] = float(run.predicted_memory_bytes)
    return found


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        path = f"{before}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}.")
        elif isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
            for place, item in enumerate(value):
                yield from _flat(item, f"{path}.{place}.")
        else:
            yield path, value


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
