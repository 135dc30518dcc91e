"""The list on the Runs page: every run, searched and sorted as the address asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from pages.components.live_plot import MOST_RUNS, run_colour
from pages.components.markup import address, button, chip, empty, link, state_chip, tag
from pages.components.record_list import Column, Entry, matches, no_match, record_list, tick_box
from pages.components.run_compare import ORDER
from pages.components.wording import ago, significant
from studio.jobs import JobState
from studio.training import Run, Stage

#: Runs that are searched, and rows that are shown of what was found.
LISTED, SHOWN = 2000, 200

_COLUMNS = (
    Column("Run", "name", "td-main", bare=True),
    Column("State", "state", bare=True),
    Column("Stage", "stage", bare=True),
    Column("Train loss", "loss", "td-num"),
    Column("Held-out", "held_out", "td-num"),
    Column("Started", "when", "td-num"),
)
_SORTS = {
    "name": lambda run: run.name.casefold(),
    "state": lambda run: run.state.value,
    "stage": lambda run: run.stage.value,
    "loss": lambda run: run.summary.get("train/loss", float("inf")),
    "held_out": lambda run: _held_out(run) or 0.0,
    "when": lambda run: run.created_at,
}
_JUDGED_BY_ACCURACY = (Stage.DPO, Stage.REWARD)


def ticked(asked: Mapping[str, str]) -> list[str]:
    """The runs that the address lays over the open one."""
    names = dict.fromkeys(asked.get("with", "").split(","))
    return [name for name in names if name and name != asked.get("run")]


def listing(runs: Sequence[Run], asked: Mapping[str, str], opened: str | None) -> Markup:
    """The list, searched and sorted as the address asks; an empty state where there is no run at all."""
    if not runs:
        return empty(
            "No runs yet.",
            "Fine-tune the sample assistant: a few minutes on this machine, and the curve grows here.",
            button("Set up a run", address("train", stage="sft")),
        )
    found = [run for run in runs if matches(asked.get("q", ""), run.name, run.stage, run.state, run.id)]
    if not found:
        return no_match("No run matches. Search for a name, a stage, a state or an id.")
    wanted = asked.get("sort", "")
    if wanted.lstrip("-") in _SORTS:
        found.sort(key=_SORTS[wanted.lstrip("-")], reverse=wanted.startswith("-"))
    places = {identity: place for place, identity in enumerate(([opened] if opened else []) + ticked(asked))}
    entries = [_entry(run, asked, opened, places) for run in found[:SHOWN]]
    drawn = record_list("Runs", _COLUMNS, entries, asked, compact=opened is not None)
    if len(found) <= SHOWN:
        return drawn
    more = f"{SHOWN} of {len(found):,} runs. Search for a name, a stage or a state to find others."
    return Markup('{}<p class="td-sub">{}</p>').format(drawn, more)


def _entry(run: Run, asked: Mapping[str, str], opened: str | None, places: Mapping[str, int]) -> Entry:
    here = run.id == opened
    tick = (
        Markup()
        if asked.get("run") == run.id
        else tick_box("with", run.id, f"Add the curve of {run.name}", run.id in places)
    )
    swatch = Markup()
    if run.id in places and opened and places[run.id] < MOST_RUNS:
        colour = run_colour(places[run.id])
        swatch = Markup('<span class="td-swatch" style="background: {}"></span>').format(colour)
    others = {key: asked[key] for key in ("q", "sort", "with", ORDER) if key in asked}
    name = Markup("{}{}{}").format(tick, swatch, link(run.name, address("runs", run=run.id, **others)))
    loss = run.summary.get("train/loss")
    paused = run.paused and run.state is JobState.STOPPED
    cells = (
        name,
        chip("paused", "td-idle") if paused else state_chip(run.state),
        tag(run.stage.value.upper()),
        "–" if loss is None else significant(loss),
        _held_out_words(run, _held_out(run)),
        ago(run.created_at),
    )
    return Entry(cells, here)


def _held_out(run: Run) -> float | None:
    """The number that judges a run: the share of pairs it ranks right, or its held-out loss."""
    name = "eval/rewards_accuracy" if run.stage in _JUDGED_BY_ACCURACY else "eval/loss"
    return run.summary.get(name)


def _held_out_words(run: Run, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0%} right" if run.stage in _JUDGED_BY_ACCURACY else significant(value)
