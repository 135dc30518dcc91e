"""Sweeps: many runs of one recipe with other values, to find which of them serve best.

A search (Optuna, in a SQLite file a sweep) proposes the values of each trial, each trial is a run like any
other, and the heartbeat of the studio moves sweeps on: it starts what has a place, ends early what does
badly, and tells the search what came of it. A restart of the studio at any point changes nothing.
"""

from __future__ import annotations

from studio.training.sweeps.records import (
    Insight,
    Method,
    Objective,
    Outlook,
    Pruning,
    Sweep,
    SweepPlan,
    SweepState,
    Trial,
    TrialState,
)
from studio.training.sweeps.service import SweepService, best_of

__all__ = [
    "Insight",
    "Method",
    "Objective",
    "Outlook",
    "Pruning",
    "Sweep",
    "SweepPlan",
    "SweepService",
    "SweepState",
    "Trial",
    "TrialState",
    "best_of",
]
