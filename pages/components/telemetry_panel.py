"""What the machine did while a run trained: small curves with their newest and highest values in words.

Each curve is an SVG that the server draws from at most ``_POINTS`` samples; a gap between two attempts
is a gap in the line. The words under it say the same as the curve.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pages.components.memory_bar import memory_size
from pages.components.wording import duration
from studio.training.telemetry import EVERY_SECONDS, Sample

_POINTS = 240
_WIDTH, _HEIGHT = 240.0, 48.0
#: Two samples further apart than this belong to two attempts, seconds; more where samples were thinned.
_GAP = 10 * EVERY_SECONDS

Value = Callable[[Sample], float | None]


@dataclass(frozen=True)
class _Curve:
    """One small chart: its title, its values, what its top stands for, and how a value is said."""

    title: str
    value: Value
    top: float | None
    said: Callable[[float], str]


def telemetry_panel(samples: Sequence[Sample]) -> Markup:
    """The panel for samples in the order of time; an empty one says that nothing has come yet."""
    if not samples:
        return Markup(
            '<p class="td-sub">No figures yet: the first come a few seconds after a run starts.</p>'
        )
    thinned = _thinned(samples)
    charts = Markup().join(_chart(curve, thinned) for curve in _curves(samples[-1]))
    span = duration(samples[-1].at - samples[0].at)
    return Markup(
        '<div class="td-telemetry"><div class="td-telemetry-charts">{}</div><p class="td-sub">{} of samples; '
        "{} free of {} on the disk.</p></div>"
    ).format(charts, span, memory_size(samples[-1].disk_free), memory_size(samples[-1].disk_total))


def _curves(newest: Sample) -> list[_Curve]:
    whole = float(newest.memory_total)
    host = [
        _Curve("Processor", lambda one: one.cpu_percent, 100.0, _percent),
        _Curve("Memory of this run", lambda one: float(one.run_memory), whole, memory_size),
        _Curve("Memory of the machine", lambda one: float(one.memory_used), whole, memory_size),
    ]
    for place, gpu in enumerate(newest.gpus):
        name = f"GPU {gpu.index}"
        host += [
            _Curve(name, _of_gpu(place, "use_percent"), 100.0, _percent),
            _Curve(f"{name} memory", _of_gpu(place, "memory_used"), float(gpu.memory_total), memory_size),
            _Curve(f"{name} temperature", _of_gpu(place, "temperature"), 100.0, _degrees),
            _Curve(f"{name} power", _of_gpu(place, "power_watts"), None, _watts),
        ]
    return host


def _of_gpu(place: int, name: str) -> Value:
    def value(sample: Sample) -> float | None:
        found = getattr(sample.gpus[place], name) if place < len(sample.gpus) else None
        return None if found is None else float(found)

    return value


def _chart(curve: _Curve, samples: Sequence[Sample]) -> Markup:
    points = [(one.at, value) for one in samples if (value := curve.value(one)) is not None]
    if not points:
        return Markup()
    now, most = points[-1][1], max(value for _, value in points)
    words = f"{curve.said(now)} now, {curve.said(most)} at most"
    top = curve.top or max(most, 1.0)
    lines = Markup().join(
        Markup('<polyline points="{}"/>').format(line) for line in _lines(points, top, _gap(samples))
    )
    return Markup(
        '<figure class="td-telemetry-chart"><figcaption>{}</figcaption>'
        '<svg viewBox="0 0 {:.0f} {:.0f}" preserveAspectRatio="none" role="img" aria-label="{}: {}">{}</svg>'
        '<span class="td-sub">{}</span></figure>'
    ).format(curve.title, _WIDTH, _HEIGHT, curve.title, words, lines, words)


def _lines(points: Sequence[tuple[float, float]], top: float, gap: float) -> Iterable[str]:
    """The points of each unbroken stretch, in the chart's own units."""
    first, last = points[0][0], points[-1][0]
    wide = _WIDTH / max(last - first, 1.0)
    stretch: list[str] = []
    before = first
    for at, value in points:
        if at - before > gap and stretch:
            yield " ".join(stretch)
            stretch = []
        height = _HEIGHT - 1 - min(max(value / top, 0.0), 1.0) * (_HEIGHT - 2)
        stretch.append(f"{(at - first) * wide:.1f},{height:.1f}")
        before = at
    yield " ".join(stretch)


def _gap(samples: Sequence[Sample]) -> float:
    """Thinned samples stand further apart; twice the usual distance is no gap yet."""
    steps = sorted(after.at - one.at for one, after in itertools.pairwise(samples))
    return max(_GAP, 3 * steps[len(steps) // 2]) if steps else _GAP


def _thinned(samples: Sequence[Sample]) -> list[Sample]:
    """At most so many samples; of each group the one with the most memory, as peaks are what matters."""
    size = -(-len(samples) // _POINTS)
    if size <= 1:
        return list(samples)
    groups = [samples[start : start + size] for start in range(0, len(samples), size)]
    return [max(group, key=lambda one: one.run_memory) for group in groups[:-1]] + [samples[-1]]


def _percent(value: float) -> str:
    return f"{value:.0f} %"


def _degrees(value: float) -> str:
    return f"{value:.0f} °C"


def _watts(value: float) -> str:
    return f"{value:.0f} W"
