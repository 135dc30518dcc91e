"""The loop as a picture: eight stations on one closed line, each a link, and what moves between them.

It is an ordered list in the markup, so a screen reader hears the stations in order with their counts; the
style sheet lays it out as a ring on a wide screen and as a vertical line on a phone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Station:
    """One stop of the loop.

    ``count`` says what there is, ``state`` what is going on (both may be empty). ``reached`` is whether
    anything has come this far, ``busy`` whether something works here now, ``proposed`` whether the
    next sensible step starts here. ``part`` (0 to 1) is how far a job is on its way to the next
    station, None where nothing is moving.
    """

    name: str
    href: str
    count: str
    state: str = ""
    reached: bool = False
    busy: bool = False
    proposed: bool = False
    part: float | None = None


def draw_loop(stations: Sequence[Station], middle: str) -> Markup:
    """The stations as a ring; ``middle`` is a short line inside it (wide screens only)."""
    drawn = Markup().join(_station(station) for station in stations)
    inside = Markup('<li class="td-loop-middle td-sub" aria-hidden="true">{}</li>').format(middle)
    return Markup(
        '<ol class="td-loop" aria-label="The loop, from data to traffic and back">{}{}</ol>'
    ).format(drawn, inside)


def _station(station: Station) -> Markup:
    classes = ["td-station"]
    classes += ["td-has"] if station.reached else []
    classes += ["td-now"] if station.busy else []
    classes += ["td-proposed"] if station.proposed else []
    mover = Markup()
    if station.part is not None:
        mover = Markup('<span class="td-mover" style="--part: {:.3f}" aria-hidden="true"></span>').format(
            min(max(station.part, 0.0), 1.0)
        )
    return Markup(
        '<li class="{}">{}<a href="{}" data-go><span class="td-mark" aria-hidden="true"></span>'
        '<strong>{}</strong><span class="td-count">{}</span><span class="td-sub">{}</span></a></li>'
    ).format(" ".join(classes), mover, station.href, station.name, station.count, station.state)
