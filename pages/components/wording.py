"""Numbers, sizes and times as people say them."""

from __future__ import annotations

import time
from datetime import datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SIZES = ("B", "KB", "MB", "GB", "TB")


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 run``, ``1,204 runs``; ``plural`` where adding an s is wrong."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """A span of time in its two largest units: ``48 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(max(seconds, 0))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _two(whole, _MINUTE, "min", 1, "s")
    if whole < _DAY:
        return _two(whole, _HOUR, "h", _MINUTE, "min")
    return _two(whole, _DAY, "d", _HOUR, "h")


def _two(whole: int, large: int, large_unit: str, small: int, small_unit: str) -> str:
    first, rest = divmod(whole, large)
    second = rest // small
    return f"{first} {large_unit} {second} {small_unit}" if second else f"{first} {large_unit}"


def ago(moment: float, now: float | None = None) -> str:
    """How long ago ``moment`` (seconds since the epoch) was, and the date beyond a week."""
    passed = (time.time() if now is None else now) - moment
    if passed < 10:
        return "just now"
    if passed < _MINUTE:
        return f"{int(passed)} s ago"
    if passed < _HOUR:
        return f"{int(passed // _MINUTE)} min ago"
    if passed < _DAY:
        return f"{int(passed // _HOUR)} h ago"
    if passed < 7 * _DAY:
        return f"{int(passed // _DAY)} d ago"
    return stamp(moment)


def stamp(moment: float) -> str:
    """Date and time of ``moment`` in the server's time zone: ``2026-03-04 17:05``."""
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M")


def size(number: float) -> str:
    """Bytes in decimal units: ``269 MB``."""
    unit = 0
    while number >= 1000 and unit < len(_SIZES) - 1:
        number /= 1000
        unit += 1
    return f"{number:.0f} {_SIZES[unit]}" if number >= 10 or unit == 0 else f"{number:.1f} {_SIZES[unit]}"


def parameters(number: int) -> str:
    """Model parameters: ``134.5 M``, ``7.24 B``."""
    for limit, unit in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= limit:
            return f"{number / limit:.4g} {unit}"
    return str(number)


def significant(number: float, digits: int = 4) -> str:
    """A measured value with ``digits`` significant digits, all of a large one; ``e`` only for tiny ones."""
    return f"{number:,.0f}" if abs(number) >= 10**digits else f"{number:.{digits}g}"
