"""Labels as arrays: who gave which category to which item, for everything that counts agreement.

Only labels on data items count, without skips: gold is known beforehand, and a repeat is one person twice.
A rating is two values of one item (one for each answer); every other task has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studio.annotation.records import Entry, ItemKind, Standing, Task
from studio.stats import Ints, Scale

#: What people can say, by task, in a fixed order. The rating of a single answer accepts or rejects it.
CATEGORIES: dict[Task, tuple[Standing, ...]] = {
    Task.PREFERENCE: (Standing.FIRST, Standing.SECOND, Standing.TIE, Standing.BOTH_BAD),
    Task.RATING: (Standing.FIRST, Standing.SECOND, Standing.TIE, Standing.ACCEPT, Standing.REJECT),
    Task.ACCEPT: (Standing.ACCEPT, Standing.REJECT),
    Task.EDIT: (Standing.EDITED, Standing.ACCEPT),
}

_RATINGS = 5


@dataclass(frozen=True)
class VerdictTable:
    """One row a value; the five arrays have the same length.

    Attributes:
        positions: The position of each item, by item number.
        names: Everyone who labelled, in alphabetical order, by person number.
        item: Item numbers; likewise ``person``, ``part`` (which answer was rated) and ``value``.
        at: When the label was given, seconds since the epoch.
        shape: Number of items, of parts and of categories.
    """

    positions: tuple[int, ...]
    names: tuple[str, ...]
    item: Ints
    person: Ints
    part: Ints
    value: Ints
    at: NDArray[np.float64]
    shape: tuple[int, int, int]
    scale: Scale

    @property
    def counts(self) -> Ints:
        """How many people gave each category, shape (items, parts, categories)."""
        return self.counts_of(slice(None))

    def counts_of(self, rows: slice | NDArray[np.bool_]) -> Ints:
        """The same for some of the rows."""
        items, parts, categories = self.shape
        flat = (self.item[rows] * parts + self.part[rows]) * categories + self.value[rows]
        found = np.bincount(flat, minlength=items * parts * categories).astype(np.int64)
        return found.reshape(self.shape)


def counted(task: Task, entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The entries that count for agreement and consensus."""
    known = set(CATEGORIES[task])
    return tuple(entry for entry in entries if entry.kind is ItemKind.DATA and entry.standing in known)


def ratings_of(entry: Entry) -> tuple[int | None, int | None]:
    """The ratings of the first and of the second answer."""
    label = entry.label
    # An only answer stands on A, whatever side was drawn.
    if entry.first_side == "a" or label.rating_b is None:
        return label.rating_a, label.rating_b
    return label.rating_b, label.rating_a


def verdict_table(task: Task, entries: Sequence[Entry]) -> VerdictTable:
    """The values of ``counted`` entries."""
    positions = sorted({entry.position for entry in entries})
    names = sorted({entry.label.annotator for entry in entries})
    item_of = {position: number for number, position in enumerate(positions)}
    person_of = {name: number for number, name in enumerate(names)}
    rows = [
        (item_of[entry.position], person_of[entry.label.annotator], part, value, entry.label.labelled_at)
        for entry in entries
        for part, value in _values(task, entry)
    ]
    columns = list(zip(*rows, strict=True)) if rows else [()] * 5
    item, person, part, value = (np.array(column, dtype=np.int64) for column in columns[:4])
    rated = task is Task.RATING
    return VerdictTable(
        tuple(positions),
        tuple(names),
        item,
        person,
        part,
        value,
        np.array(columns[4], dtype=np.float64),
        (len(positions), 2 if rated else 1, _RATINGS if rated else len(CATEGORIES[task])),
        Scale.ORDINAL if rated else Scale.NOMINAL,
    )


def _values(task: Task, entry: Entry) -> list[tuple[int, int]]:
    """The (part, category) pairs of an entry."""
    if task is Task.RATING:
        rated = enumerate(ratings_of(entry))
        return [(part, rating - 1) for part, rating in rated if rating is not None]
    return [(0, CATEGORIES[task].index(entry.standing))]
