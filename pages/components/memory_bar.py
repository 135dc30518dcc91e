"""What a run needs at its peak, as one stacked bar with its parts in words and bytes.

The parts share one hue, as none of them is good or bad; only not fitting has a state's colour. A list
under the bar says every part again, so nothing hangs on telling shades apart.
"""

from __future__ import annotations

from markupsafe import Markup

from pages.components.markup import note
from pages.components.wording import count
from studio.training.memory import MemoryEstimate, Part

_WORDS = {
    "weights": "Weights",
    "adapters": "Adapters",
    "gradients": "Gradients",
    "optimizer": "Optimizer",
    "activations": "Activations",
    "logits": "Logits",
    "overhead": "Libraries and reserve",
}
_PLACES = {"cpu": "free on this machine", "cuda": "free on the GPU"}


def memory_bar(estimate: MemoryEstimate, measured: int | None = None) -> Markup:
    """The estimate; with ``measured`` (bytes, after the run) also how right it was."""
    return Markup('<div class="td-memory">{}{}{}{}{}</div>').format(
        _headline(estimate),
        _bar(estimate, measured),
        _legend(estimate.parts),
        _verdict(estimate),
        _trust(estimate),
    ) + memory_result(estimate.total, measured)


def memory_result(predicted: int | None, measured: int | None) -> Markup:
    """Predicted against measured peak, as one sentence; nothing where one of them is not known."""
    if not predicted or not measured:
        return Markup()
    off = predicted / measured - 1
    how = (
        "as predicted"
        if abs(off) < 0.005
        else f"{abs(off):.0%} {'less' if off > 0 else 'more'} than predicted"
    )
    return Markup('<p class="td-memory-result">Peak memory {}, {} ({}).</p>').format(
        memory_size(measured), how, memory_size(predicted)
    )


def memory_size(number: float) -> str:
    """Bytes with three digits: ``1.83 GB``, ``412 MB``."""
    unit = 0
    units = ("B", "KB", "MB", "GB", "TB")
    while number >= 999.5 and unit < len(units) - 1:
        number /= 1000
        unit += 1
    return f"{number:.3g} {units[unit]}" if unit else f"{number:.0f} B"


def _headline(estimate: MemoryEstimate) -> Markup:
    return Markup('<p class="td-memory-head"><strong>About {}</strong> at its peak, of {} {}.</p>').format(
        memory_size(estimate.total), memory_size(estimate.available), _PLACES[estimate.device]
    )


def _bar(estimate: MemoryEstimate, measured: int | None) -> Markup:
    """The bar spans what is needed or what is there, whichever is more."""
    span = max(estimate.total, estimate.available, measured or 0, 1)
    shown = (part for part in estimate.parts if part.bytes > 0)
    pieces = Markup().join(
        Markup('<span class="td-memory-{}" style="--part: {:.4f}" title="{}: {}"></span>').format(
            part.name, part.bytes / span, _word(part), memory_size(part.bytes)
        )
        for part in shown
    )
    marks = (
        _mark(estimate.available / span, "td-memory-limit", "What is free") if not estimate.fits else Markup()
    )
    if measured:
        marks += _mark(measured / span, "td-memory-measured", f"Measured: {memory_size(measured)}")
    said = "; ".join(f"{_word(part)} {memory_size(part.bytes)}" for part in estimate.parts if part.bytes > 0)
    return Markup('<div class="td-memory-bar" role="img" aria-label="{}">{}{}</div>').format(
        said, pieces, marks
    )


def _mark(place: float, kind: str, title: str) -> Markup:
    return Markup('<i class="{}" style="--part: {:.4f}" title="{}"></i>').format(kind, min(place, 1.0), title)


def _legend(parts: tuple[Part, ...]) -> Markup:
    items = Markup().join(
        Markup(
            '<li><span class="td-memory-swatch td-memory-{}"></span><span>{}</span>'
            '<span class="td-num">{}</span><span class="td-sub">{}</span></li>'
        ).format(part.name, _word(part), memory_size(part.bytes), part.why)
        for part in parts
        if part.bytes > 0
    )
    return Markup('<ul class="td-memory-parts">{}</ul>').format(items)


def _verdict(estimate: MemoryEstimate) -> Markup:
    if estimate.fits:
        return Markup()
    short = memory_size(estimate.total - estimate.available)
    if estimate.fix is None:
        return note(
            f"This does not fit: {short} are missing, and no change of the recipe makes up for them. Take a "
            "smaller model or a larger machine.",
            "td-bad",
        )
    lines = [f"{path}: {_value(value)}" for path, value in estimate.fix.changes.items()]
    sentence = Markup(
        "<strong>This does not fit: {} are missing.</strong> {} It then needs about {}."
    ).format(short, estimate.fix.sentence, memory_size(estimate.fix.total))
    return note(sentence, "td-busy", lines)


def _trust(estimate: MemoryEstimate) -> Markup:
    known = (
        f"Corrected by {count(estimate.observed, 'past run')} of this machine."
        if estimate.observed
        else "Not yet corrected by a run of this machine; it may be off by a fifth."
    )
    return Markup('<p class="td-sub">{}</p>').format(known)


def _word(part: Part) -> str:
    return _WORDS.get(part.name, part.name)


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
