"""The list on the Sweeps page: every sweep, searched and sorted as the address asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from pages.components.markup import address, button, empty, link, tag
from pages.components.record_list import Column, Entry, matches, no_match, record_list
from pages.components.sweep_words import sweep_chip, value_words
from pages.components.wording import ago
from studio.studio import Studio
from studio.training.sweeps import Sweep, best_of

_COLUMNS = (
    Column("Sweep", "name", "td-main", bare=True),
    Column("State", "state", bare=True),
    Column("Stage", "stage", bare=True),
    Column("Trials", "trials", "td-num"),
    Column("Best", "", "td-num"),
    Column("Started", "when", "td-num"),
)


def listing(studio: Studio, sweeps: Sequence[Sweep], asked: Mapping[str, str]) -> Markup:
    """The list, searched and sorted as the address asks; an empty state where there is no sweep at all."""
    if not sweeps:
        return empty(
            "No sweeps yet.",
            "A sweep of twelve short runs finds a good learning rate for your data before you train in full.",
            button("Set up a sweep", address("sweeps", new="1")),
        )
    found = [one for one in sweeps if matches(asked.get("q", ""), one.name, one.stage, one.state, one.id)]
    if not found:
        return no_match("No sweep matches. Search for a name, a stage, a state or an id.")
    sorts = {
        "name": lambda one: one.name.casefold(),
        "state": lambda one: one.state.value,
        "stage": lambda one: one.stage.value,
        "trials": lambda one: one.plan.trials,
        "when": lambda one: one.created_at,
    }
    wanted = asked.get("sort", "")
    if wanted.lstrip("-") in sorts:
        found.sort(key=sorts[wanted.lstrip("-")], reverse=wanted.startswith("-"))
    entries = [_entry(studio, one, asked) for one in found]
    return record_list("Sweeps", _COLUMNS, entries, asked, compact=bool(asked.get("sweep")))


def _entry(studio: Studio, sweep: Sweep, asked: Mapping[str, str]) -> Entry:
    trials = studio.sweeps.trials(studio.actor, sweep.id)
    best = best_of(sweep, trials)
    ended = sum(trial.state.final for trial in trials)
    kept = {key: asked[key] for key in ("q", "sort") if key in asked}
    cells = (
        link(sweep.name, address("sweeps", sweep=sweep.id, **kept)),
        sweep_chip(sweep.state),
        tag(sweep.stage.value.upper()),
        f"{ended} of {sweep.plan.trials}",
        "–" if best is None else value_words(best.value),
        ago(sweep.created_at),
    )
    return Entry(cells, asked.get("sweep") == sweep.id)
