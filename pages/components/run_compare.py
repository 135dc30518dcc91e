"""Runs beside each other: their numbers, and where their recipes differ, in tables that sort.

The address holds which runs are compared and how the tables are sorted, so that whoever gets it sees
the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from pages.components.live_plot import MOST_RUNS, run_colour
from pages.components.markup import address, link, state_chip
from pages.components.record_list import Column, Entry, record_list
from pages.components.wording import duration, significant, size
from studio.training import Comparison, Run

#: The part of the address that says how these tables are sorted.
ORDER = "order"

_NUMBERS = {
    "train/loss": "Train loss",
    "eval/loss": "Held-out loss",
    "eval/rewards_accuracy": "Held-out accuracy",
    "train/rewards_margin": "Reward margin",
    "train/tokens_per_second": "Tokens/s",
    "run/seconds": "Took",
    "memory/peak_bytes": "Peak memory",
}
_SECONDS, _BYTES = "run/seconds", "memory/peak_bytes"
#: Fields that say who a run is and not how it learns.
_NAMES = ("output",)
_WIDEST = 40


def comparison_panel(comparison: Comparison, asked: Mapping[str, str]) -> Markup:
    """The two tables of at least two runs."""
    places = _sorted(comparison, asked.get(ORDER, ""))
    return Markup('<section class="td-compare" aria-label="Comparison">{}{}</section>').format(
        _part("The runs in numbers", _numbers(comparison, places, asked)),
        _differences(comparison, places, asked),
    )


def _part(title: str, table: Markup) -> Markup:
    return Markup('<h2 class="td-title">{}</h2><div class="td-scroll">{}</div>').format(title, table)


def _numbers(comparison: Comparison, places: Sequence[int], asked: Mapping[str, str]) -> Markup:
    there = [name for name in _NUMBERS if any(value is not None for value in comparison.table.get(name, ()))]
    figures = (Column(_NUMBERS[name], name, "td-num") for name in there)
    columns = [_FIRST, Column("State", bare=True), *figures]
    rows = [
        Entry(
            (
                _name(comparison.runs[place], place, asked),
                state_chip(comparison.runs[place].state),
                *(_figure(name, comparison.table[name][place]) for name in there),
            )
        )
        for place in places
    ]
    return record_list("Numbers of the runs", columns, rows, asked, parameter=ORDER)


def _differences(comparison: Comparison, places: Sequence[int], asked: Mapping[str, str]) -> Markup:
    paths = [path for path in comparison.differences if path not in _NAMES]
    if not paths:
        said = "Their recipes say the same in every field, so what differs is chance or the machine."
        return Markup('<p class="td-sub">{}</p>').format(said)
    columns = [_FIRST, *(Column(path.replace("_", " "), path, "td-num") for path in paths)]
    rows = [
        Entry(
            (
                _name(comparison.runs[place], place, asked),
                *(_value(comparison.differences[path][place]) for path in paths),
            )
        )
        for place in places
    ]
    table = record_list("Where their recipes differ", columns, rows, asked, parameter=ORDER)
    return _part("Where their recipes differ", table)


_FIRST = Column("Run", "name", "td-main", bare=True)


def _name(run: Run, place: int, asked: Mapping[str, str]) -> Markup:
    swatch = Markup()
    if place < MOST_RUNS:
        swatch = Markup('<span class="td-swatch" style="background: {}"></span>').format(run_colour(place))
    others = {key: asked[key] for key in ("q", "sort", "with", ORDER) if key in asked}
    return Markup("{}{}").format(swatch, link(run.name, address("runs", run=run.id, **others)))


def _sorted(comparison: Comparison, wanted: str) -> list[int]:
    """The places of the runs in the order that the address asks for; what is missing stands last."""
    places = list(range(len(comparison.runs)))
    name, falling = wanted.lstrip("-"), wanted.startswith("-")
    if name == "name":
        return sorted(places, key=lambda place: comparison.runs[place].name.casefold(), reverse=falling)
    values = comparison.table.get(name) or comparison.differences.get(name)
    if not values:
        return places
    there = [place for place in places if values[place] is not None]
    ordered = sorted(there, key=lambda place: _rank(values[place]), reverse=falling)
    return [*ordered, *(place for place in places if values[place] is None)]


def _rank(value: object) -> tuple[int, float, str]:
    if isinstance(value, bool | int | float) and not math.isnan(value):
        return 0, float(value), ""
    return 1, 0.0, str(value)


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    if name == _SECONDS:
        return duration(value)
    if name == _BYTES:
        return size(value)
    return f"{value:.0%}" if name.endswith("accuracy") else significant(value)


def _value(value: object) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
