"""JSON from strangers: what ``json.loads`` accepts or dies of is found and named here.

NaN and Infinity, a key given twice, integers of any length, nesting without end: each becomes a
``RowError`` with the path of the field. A parsed row is plain JSON, at most ``depth`` levels deep.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from studio.datasets.canonical import Row, RowError, kind_of, text_flaw

#: Deeper than any conversation; far from Python's own limit of about a thousand.
MAX_DEPTH = 32

# 64-bit integers have at most 19 digits; longer ones neither Parquet nor SQLite can hold.
_MAX_DIGITS = 19


@dataclass(frozen=True)
class _Unusable:
    """Stands in a parsed value where something was wrong, so that its path can be told."""

    why: str


def parse_row(text: str) -> Row:
    """The object in ``text``.

    Raises:
        RowError: It is not JSON, not an object, or holds what cannot be kept.
    """
    value = parse_value(text)
    if not isinstance(value, dict):
        raise RowError("", f"the row is {kind_of(value)}, not an object")
    return value


def parse_value(text: str) -> Any:
    """Any JSON value in ``text``, checked as by ``parse_row``.

    Raises:
        RowError: It is not JSON or holds what cannot be kept.
    """
    if not text.strip():
        raise RowError("", "the row is empty")
    try:
        value = json.loads(
            text,
            parse_int=_integer,
            parse_float=_real,
            parse_constant=lambda name: _Unusable(f"is {name}, which is not JSON"),
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise RowError("", f"is nested deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        flaw = text_flaw(text)
        raise RowError("", f"the row {flaw}" if flaw else _explain(error)) from None
    check_value(value)
    return value


def _explain(error: json.JSONDecodeError) -> str:
    return f"is not JSON: {error.msg.lower()} at character {error.pos + 1}"


def _integer(digits: str) -> int | _Unusable:
    if len(digits.lstrip("-")) > _MAX_DIGITS:
        return _Unusable(
            f"is an integer of {len(digits.lstrip('-'))} digits; at most {_MAX_DIGITS} can be kept"
        )
    return int(digits)


def _real(digits: str) -> float | _Unusable:
    value = float(digits)
    return value if math.isfinite(value) else _Unusable("is a number too large to keep")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                found[name] = _Unusable("is given twice in one object")
            seen.add(name)
    return found


def check_value(value: Any) -> None:
    """Look at every part of a parsed value, without recursion.

    Raises:
        RowError: A part cannot be kept; the path names it (``messages[2].content``).
    """
    left: list[tuple[Any, str, int]] = [(value, "", 0)]
    while left:
        item, path, depth = left.pop()
        if depth > MAX_DEPTH:
            raise RowError(path.split(".")[0].split("[")[0], f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(item, _Unusable):
            raise RowError(path, item.why)
        if isinstance(item, str) and (flaw := text_flaw(item)):
            raise RowError(path, flaw)
        if isinstance(item, dict):
            for name in item:
                if flaw := text_flaw(name):
                    raise RowError(path, f"a key {flaw}")
            children = [(v, f"{path}.{k}" if path else k, depth + 1) for k, v in item.items()]
        elif isinstance(item, list):
            children = [(v, f"{path}[{place}]", depth + 1) for place, v in enumerate(item)]
        else:
            continue
        # Reversed, so that the first flaw of the row is the one that is named.
        left.extend(reversed(children))
