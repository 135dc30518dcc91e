"""The two charts of a project's lead: how many labels there are, and how far people agree, over time."""

from __future__ import annotations

from typing import Any

from pages.components.chart import Panel
from pages.components.review_dashboard import signed
from pages.components.wording import count
from studio.annotation.review_records import AgreementPoint, Dashboard, Estimate

_MILLISECONDS = 1000
_DAY = 86400


def panels(found: Dashboard) -> tuple[Panel, ...]:
    """Both charts."""
    return _labels(found), _agreement(found)


def _labels(found: Dashboard) -> Panel:
    title = "Labels"
    if not found.days:
        return Panel("labels", title, "Nobody has labelled anything yet.")
    days = [day.start * _MILLISECONDS for day in found.days]
    end = found.at * _MILLISECONDS
    totals = [day.total for day in found.days]
    # A day's labels are all there at its end, or by now.
    until = [min((day.start + _DAY) * _MILLISECONDS, end) for day in found.days]
    bars = {
        "type": "bar",
        "x": [(start + stop) / 2 for start, stop in zip(days, until, strict=True)],
        "width": [max(stop - start, 1) * 0.8 for start, stop in zip(days, until, strict=True)],
        "y": [day.labels for day in found.days],
        "marker": {"color": "--tandem-run-1/35"},
        "customdata": [count(day.labels, "label") for day in found.days],
        "hovertemplate": "%{x|%e %b}: %{customdata}<extra></extra>",
    }
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [days[0], *until],
        "y": [0, *totals],
        "line": {"color": "--tandem-run-1", "width": 2},
        "marker": {"size": 5, "color": "--tandem-run-1"},
        "hovertemplate": "%{y} in all by %{x|%e %b}<extra></extra>",
    }
    goal = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": found.needed,
        "y1": found.needed,
        "line": {"color": "--body-text-color-subdued", "width": 1, "dash": "dot"},
    }
    near = found.needed <= 3 * totals[-1]
    words = f"{found.labels:,} of {found.needed:,} labels on {count(len(days), 'day')}; bars are single days."
    layout = {
        "xaxis": {"type": "date", "tickformat": "%e %b", "nticks": 5, "tickangle": 0},
        "yaxis": {"rangemode": "tozero", "title": {"text": "labels", "font": {"size": 11}}},
        "shapes": [goal] if near else [],
    }
    more = " The dotted line is what the project asks for." if near else ""
    return Panel("labels", title, words + more, [bars, line], layout)


def _agreement(found: Dashboard) -> Panel:
    title = "Agreement (Krippendorff's alpha)"
    points = [point for point in found.alpha_over_time if point.alpha.value is not None]
    if not points:
        return Panel("agreement", title, _no_curve(found.alpha))
    ends = [point.end * _MILLISECONDS for point in points]
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": ends,
        "y": [point.alpha.value for point in points],
        "line": {"color": "--tandem-run-2", "width": 2},
        "marker": {"size": 6, "color": "--tandem-run-2"},
        "customdata": [_about(point) for point in points],
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    layout = {
        "xaxis": {"type": "date", "nticks": 4, "tickangle": 0},
        "yaxis": {"range": [_lowest(points), 1.05], "title": {"text": "alpha", "font": {"size": 11}}},
    }
    caption = (
        "Each point stands for the items finished since the one before it; the band is its 95% interval. "
        "1 is full agreement, 0 is chance."
    )
    return Panel("agreement", title, caption, [*_band(points), line], layout)


def _no_curve(alpha: Estimate) -> str:
    if alpha.value is None:
        return alpha.why or "Nothing can be said about agreement yet."
    return (
        f"Alpha is {signed(alpha.value)} over {count(alpha.count, 'item')}. It is drawn over time once more "
        "items are finished."
    )


def _band(points: list[AgreementPoint]) -> list[dict[str, Any]]:
    """The interval as two lines with the space between them filled."""
    known = [point for point in points if point.alpha.interval is not None]
    if not known:
        return []
    ends = [point.end * _MILLISECONDS for point in known]
    lows = [point.alpha.interval.low for point in known if point.alpha.interval]
    highs = [point.alpha.interval.high for point in known if point.alpha.interval]
    if len(known) == 1:
        both = {"x": [ends[0], ends[0]], "y": [lows[0], highs[0]], "hoverinfo": "skip"}
        return [
            {**both, "type": "scatter", "mode": "lines", "line": {"color": "--tandem-run-2/45", "width": 4}}
        ]
    edge = {"type": "scatter", "mode": "lines", "x": ends, "line": {"width": 0}, "hoverinfo": "skip"}
    return [
        {**edge, "y": lows},
        {**edge, "y": highs, "fill": "tonexty", "fillcolor": "--tandem-run-2/18"},
    ]


def _lowest(points: list[AgreementPoint]) -> float:
    lows = [point.alpha.interval.low if point.alpha.interval else point.alpha.value for point in points]
    return min(-0.05, *(low - 0.05 for low in lows if low is not None))


def _about(point: AgreementPoint) -> str:
    interval = point.alpha.interval
    span = f" ({signed(interval.low)} to {signed(interval.high)})" if interval else ""
    return f"{signed(point.alpha.value or 0.0)}{span}, {count(point.items, 'item')}"
