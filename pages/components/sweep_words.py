"""Sweeps, trials and their fields in words."""

from __future__ import annotations

from markupsafe import Markup

from pages.components.markup import chip
from pages.components.recipe_form import FIELDS
from studio.training.sweeps import Objective, Sweep, SweepState, TrialState

_LABELS = {field.path: field.label for field in FIELDS}
_SWEEPS = {
    SweepState.RUNNING: ("td-busy", "running"),
    SweepState.FINISHED: ("td-good", "finished"),
    SweepState.STOPPED: ("td-idle", "stopped"),
    SweepState.FAILED: ("td-bad", "failed"),
}
_TRIALS = {
    TrialState.WAITING: ("td-idle", "waiting"),
    TrialState.RUNNING: ("td-busy", "under way"),
    TrialState.HELD: ("td-idle", "stopped with the sweep"),
    TrialState.COMPLETE: ("td-good", "complete"),
    TrialState.PRUNED: ("td-idle", "ended early"),
    TrialState.FAILED: ("td-bad", "failed"),
    TrialState.STOPPED: ("td-idle", "stopped"),
}


def sweep_chip(state: SweepState) -> Markup:
    """The chip of a sweep's state."""
    kind, word = _SWEEPS[state]
    return chip(word, kind)


def trial_chip(state: TrialState) -> Markup:
    """The chip of a trial's state."""
    kind, word = _TRIALS[state]
    return chip(word, kind)


def objective_words(sweep: Sweep) -> str:
    """What the trials of a sweep are judged by."""
    return "held-out loss" if sweep.plan.objective is Objective.EVAL_LOSS else "pairs ranked right"


def field_words(path: str) -> str:
    """A field of a recipe by its path, as the form calls it."""
    label = _LABELS.get(path, path)
    return label if label[:2].isupper() or label.startswith("Lo") else label[0].lower() + label[1:]


def value_words(value: object) -> str:
    """A value as a person would write it, numbers with four digits at most."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
