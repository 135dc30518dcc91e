"""What a sweep's trials tell, in three charts: the best so far, what mattered, and every trial's values.

The last one is a chart of parallel coordinates, drawn as plain lines: Plotly's own kind needs WebGL, which
a browser on a machine without a GPU may not have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pages.components.chart import Panel
from pages.components.sweep_words import field_words, objective_words, value_words
from studio.training.sweeps import Insight, Sweep, Trial, TrialState
from studio.training.sweeps.reading import checked
from studio.training.sweeps.records import Choices, Span, Value

#: Lines of trials in one chart; more are a thicket.
_MOST_LINES = 120
_COMPLETE, _PRUNED = "--tandem-run-1", "--body-text-color-subdued"


def panels(sweep: Sweep, trials: Sequence[Trial], insight: Insight) -> tuple[Panel, ...]:
    """The charts of a sweep."""
    return _history(sweep, trials, insight), _importance(insight), _parallel(sweep, trials)


def _history(sweep: Sweep, trials: Sequence[Trial], insight: Insight) -> Panel:
    title, name = "Best so far", objective_words(sweep)
    if not insight.best:
        return Panel("history", title, "No trial has come to its end yet.")
    points = [_points(trials, TrialState.COMPLETE, _COMPLETE, "circle")]
    points.append(_points(trials, TrialState.PRUNED, _PRUNED, "x-thin-open"))
    ordered = sorted(insight.best)
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": [number + 1 for number, _ in ordered],
        "y": _running(sweep, [value for _, value in ordered]),
        "line": {"color": _COMPLETE, "width": 2, "shape": "hv"},
        "hoverinfo": "skip",
    }
    layout = {
        "xaxis": {"title": {"text": "trial", "font": {"size": 11}}, "tickformat": "d", "nticks": 8},
        "yaxis": {"title": {"text": name, "font": {"size": 11}}},
    }
    best = insight.best[-1][1]
    said = f"The best {name} so far is {value_words(best)}. Crosses are trials that were ended early."
    return Panel("history", title, said, [line, *points], layout)


def _running(sweep: Sweep, values: Sequence[float]) -> list[float]:
    """The best up to each place: trials side by side may end in another order than they began."""
    found: list[float] = []
    for value in values:
        worse = found and not sweep.plan.objective.better(value, found[-1])
        found.append(found[-1] if worse else value)
    return found


def _points(trials: Sequence[Trial], state: TrialState, colour: str, symbol: str) -> dict[str, Any]:
    shown = [trial for trial in trials if trial.state is state and trial.value is not None]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [trial.number + 1 for trial in shown],
        "y": [trial.value for trial in shown],
        "marker": {"size": 8, "color": colour, "symbol": symbol, "line": {"color": colour, "width": 2}},
        "customdata": [_about(trial) for trial in shown],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _importance(insight: Insight) -> Panel:
    title = "What mattered"
    if not insight.importance:
        return Panel(
            "importance", title, "Four trials that came to their end are needed to say what mattered."
        )
    ordered = sorted(insight.importance.items(), key=lambda item: item[1])
    names = [field_words(path) for path, _ in ordered]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [share for _, share in ordered],
        "y": names,
        "marker": {"color": "--tandem-run-2/60"},
        "text": [f"{share:.0%}" for _, share in ordered],
        "textposition": "auto",
        "hovertemplate": "%{y}: %{x:.0%}<extra></extra>",
    }
    layout = {"xaxis": {"tickformat": ".0%", "range": [0, 1], "nticks": 5}, "yaxis": {"type": "category"}}
    said = (
        f"What sets the better trials apart is {names[-1]} by {ordered[-1][1]:.0%} (PED-ANOVA). "
        "With few trials this is a hint and no finding."
    )
    return Panel("importance", title, said, [bars], layout)


def _parallel(sweep: Sweep, trials: Sequence[Trial]) -> Panel:
    title = "Every trial's values"
    shown = [one for one in trials if one.state is TrialState.COMPLETE and one.value is not None]
    if not shown:
        return Panel("parallel", title, "Each trial becomes a line once it has come to its end.")
    space = checked(sweep.plan).space
    ordered = sorted(shown, key=lambda one: one.value or 0.0, reverse=not sweep.plan.objective.lowest)
    drawn = ordered[:_MOST_LINES]
    values = [one.value or 0.0 for one in drawn]
    low, high = min(values), max(values)
    lines = [_line(space, one, (low, high), place) for place, one in reversed(list(enumerate(drawn)))]
    names = [*(field_words(path) for path in space), objective_words(sweep)]
    ends = [*(_ends(span) for span in space.values()), (value_words(low), value_words(high))]
    layout = {
        "xaxis": {
            "tickvals": list(range(len(names))),
            "ticktext": [name.replace(" ", "<br>") for name in names],
            "range": [-0.25, len(names) - 0.75],
            "tickangle": 0,
        },
        "yaxis": {"visible": False, "range": [-0.14, 1.14]},
        "shapes": [_axis(place) for place in range(len(names))],
        "annotations": [note for place, end in enumerate(ends) for note in _notes(place, end)],
    }
    best = drawn[0]
    said = f"One line a trial; the strong one is the best, trial {best.number + 1}: {_params(best.params)}."
    return Panel("parallel", title, said, lines, layout)


def _line(space: Mapping[str, Span], trial: Trial, ends: tuple[float, float], place: int) -> dict[str, Any]:
    heights = [_height(span, trial.params[path]) for path, span in space.items()]
    low, high = ends
    heights.append(((trial.value or 0.0) - low) / (high - low) if high > low else 0.5)
    colour = _COMPLETE if place == 0 else f"{_COMPLETE}/55" if place < 3 else f"{_PRUNED}/40"
    return {
        "type": "scatter",
        "mode": "lines+markers" if place == 0 else "lines",
        "x": list(range(len(heights))),
        "y": heights,
        "line": {"color": colour, "width": 3 if place == 0 else 1.5},
        "marker": {"size": 6, "color": colour},
        "text": [_about(trial)] * len(heights),
        "hovertemplate": "%{text}<extra></extra>",
    }


def _height(span: Span, value: Value) -> float:
    """Where a value stands on its axis, from 0 to 1."""
    if isinstance(span, Choices):
        place = span.values.index(value) if value in span.values else 0
        return place / (len(span.values) - 1) if len(span.values) > 1 else 0.5
    number = float(value)
    if span.log:
        return math.log(number / span.low) / math.log(span.high / span.low)
    return (number - span.low) / (span.high - span.low)


def _ends(span: Span) -> tuple[str, str]:
    if isinstance(span, Choices):
        return value_words(span.values[0]), value_words(span.values[-1]) if len(span.values) > 1 else ""
    return value_words(span.low), value_words(span.high)


def _axis(place: int) -> dict[str, Any]:
    line = {"color": "--border-color-primary", "width": 1}
    return {"type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "line": line, "layer": "below"}


def _notes(place: int, ends: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {"x": place, "y": y, "text": text, "showarrow": False, "font": {"size": 10}}
        for text, y in zip(ends, (-0.08, 1.08), strict=True)
        if text
    ]


def _about(trial: Trial) -> str:
    value = "" if trial.value is None else f": {value_words(trial.value)}"
    return f"Trial {trial.number + 1}{value}<br>{_params(trial.params).replace(', ', '<br>')}"


def _params(params: Mapping[str, Value]) -> str:
    return ", ".join(f"{field_words(path)} {value_words(value)}" for path, value in params.items())
