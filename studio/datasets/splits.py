"""Which rows are held out: a seeded draw of prompts, so that no prompt stands on both sides.

The draw depends on the seed and on the set of rows, not on their order. Where many rows share one
prompt the held-out share may be smaller than asked for, never larger (save that a share above 0 holds
out at least one prompt, where there are two). A share of 1 holds everything out: an evaluation set.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from studio.core.errors import InvalidInput
from studio.datasets.canonical import Row, key_digest, prompt_key
from studio.datasets.records import Split


def split(rows: Iterable[Row], fraction: float, seed: int) -> dict[Split, list[Row]]:
    """Divide canonical rows by prompt; the order within a side is that of ``rows``.

    Args:
        rows: Canonical rows of one kind.
        fraction: Share of the rows to hold out, from 0 to 1; 1 holds out everything.
        seed: The same seed and rows give the same sides.

    Raises:
        InvalidInput: The fraction is outside its range.
    """
    rows = list(rows)
    keys = [key_digest(prompt_key(row)) for row in rows]
    held_out = draw_validation(Counter(keys), fraction, seed)
    return _divide(rows, keys, held_out)


def _divide(rows: Sequence[Row], keys: Sequence[bytes], held_out: frozenset[bytes]) -> dict[Split, list[Row]]:
    sides: dict[Split, list[Row]] = {side: [] for side in Split}
    for row, key in zip(rows, keys, strict=True):
        sides[Split.VALIDATION if key in held_out else Split.TRAIN].append(row)
    return sides


def draw_validation(sizes: Mapping[bytes, int], fraction: float, seed: int) -> frozenset[bytes]:
    """Draw the prompts to hold out, given how many rows each has.

    Raises:
        InvalidInput: The fraction is not between 0 and 1.
    """
    check_fraction(fraction)
    total = sum(sizes.values())
    if fraction == 1:
        return frozenset(sizes)
    if fraction == 0 or len(sizes) < 2:
        return frozenset()
    target = min(max(1, round(fraction * total)), total - 1)
    order = sorted(sizes, key=lambda key: hashlib.sha256(f"{seed}:".encode() + key).digest())
    taken: list[bytes] = []
    rows = 0
    for key in order:
        if rows + sizes[key] <= target:
            taken.append(key)
            rows += sizes[key]
    # Every prompt has more rows than the target: hold out the smallest rather than nothing.
    return frozenset(taken or [min(order, key=lambda key: sizes[key])])


def check_fraction(fraction: float) -> None:
    """Refuse what is no share (NaN included).

    Raises:
        InvalidInput: The fraction is not between 0 and 1.
    """
    if not 0 <= fraction <= 1:
        raise InvalidInput(
            f"A validation fraction of {fraction} cannot be held out.",
            "Use 0 (nothing) to 1 (everything, for an evaluation set).",
        )
