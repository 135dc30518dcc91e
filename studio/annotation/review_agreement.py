"""Agreement within a project: alpha overall and over time, and kappa of every two people.

What cannot be estimated is said in words. Blocks in time hold about the same number of items, so that
one point of the curve is as sure as the next.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from studio.annotation.records import Task
from studio.annotation.review_records import AgreementPoint, Estimate, PairAgreement
from studio.annotation.verdict_table import VerdictTable
from studio.stats import Agreement, Ints, Scale, Undefined, alpha_with_interval, kappa_with_interval

_MOST_BLOCKS = 10
#: Alpha of fewer items moves by tenths from one block to the next.
_BLOCK_ITEMS = 20
#: With 25 people every two of them are 300 pairs; of a larger team those with the most common items
#: among its busiest people.
_MOST_PAIRS = 300
_MOST_PEOPLE = 60

_WHY = {
    Undefined.NO_OVERLAP: "No item has labels from two people yet.",
    Undefined.NO_VARIATION: "Everyone gave the same verdict to everything, so agreement cannot be told "
    "from chance.",
}
_WHY_PAIR = {
    Undefined.NO_OVERLAP: "They have labelled no item in common.",
    Undefined.NO_VARIATION: "Both gave the same verdict to everything, so agreement cannot be told "
    "from chance.",
}
_WRITES = "People write answers here; there are no verdicts to agree on."


def alpha(task: Task, table: VerdictTable) -> Estimate:
    """Krippendorff's alpha of the whole project."""
    if task is Task.EDIT:
        return Estimate(None, None, 0, _WRITES)
    return _estimate(alpha_with_interval(table.counts, table.scale), _WHY)


def alpha_over_time(task: Task, table: VerdictTable) -> tuple[AgreementPoint, ...]:
    """Alpha of the items that two or more people labelled, in blocks by when their last label came."""
    if task is Task.EDIT:
        return ()
    counts = table.counts
    last = np.zeros(len(counts))
    np.maximum.at(last, table.item, table.at)
    shared = np.flatnonzero((counts.sum(axis=2) > 1).any(axis=1))
    if len(shared) < _BLOCK_ITEMS:
        return ()
    ordered = shared[np.argsort(last[shared], kind="stable")]
    blocks = np.array_split(ordered, min(_MOST_BLOCKS, len(ordered) // _BLOCK_ITEMS))
    return tuple(_point(table, counts, last, block) for block in blocks)


def _point(table: VerdictTable, counts: Ints, last: NDArray[np.float64], block: Ints) -> AgreementPoint:
    found = _estimate(alpha_with_interval(counts[block], table.scale), _WHY)
    return AgreementPoint(float(last[block[0]]), float(last[block[-1]]), len(block), found)


def kappas(task: Task, table: VerdictTable) -> tuple[PairAgreement, ...]:
    """Cohen's kappa of every two people with an item in common; squared distance weighs ratings."""
    if task is Task.EDIT or len(table.names) < 2:
        return ()
    values = _values(table)
    given = np.asarray((values >= 0).any(axis=2), dtype=np.float64)
    common: NDArray[np.float64] = np.triu(np.asarray(given @ given.T), 1)
    pairs = [(int(i), int(j)) for i, j in np.argwhere(common > 0)]
    pairs = sorted(pairs, key=lambda pair: -common[pair])[:_MOST_PAIRS]
    names = _busiest(table)
    return tuple(_pair(table, values, (i, j), (names[i], names[j])) for i, j in sorted(pairs))


def _busiest(table: VerdictTable) -> tuple[str, ...]:
    """The people with the most labels, in alphabetical order."""
    given = np.bincount(table.person, minlength=len(table.names))
    chosen = np.argsort(-given, kind="stable")[:_MOST_PEOPLE]
    return tuple(table.names[number] for number in sorted(chosen))


def _values(table: VerdictTable) -> NDArray[np.int8]:
    """The category that each of the busiest gave, -1 for none; shape (people, items, parts)."""
    names = _busiest(table)
    row_of = np.array([names.index(name) if name in names else -1 for name in table.names], dtype=np.int64)
    person = row_of[table.person]
    rows = person >= 0
    found = np.full((len(names), *table.shape[:2]), -1, dtype=np.int8)
    found[person[rows], table.item[rows], table.part[rows]] = table.value[rows]
    return found


def _pair(
    table: VerdictTable, values: NDArray[np.int8], pair: tuple[int, int], names: tuple[str, str]
) -> PairAgreement:
    one, two = values[pair[0]], values[pair[1]]
    both = (one >= 0) & (two >= 0)
    items = np.flatnonzero(both.any(axis=1))
    categories = table.shape[2]
    tables = np.zeros((len(items), categories, categories), dtype=np.int64)
    for part in range(table.shape[1]):
        rows = np.flatnonzero(both[items, part])
        tables[rows, one[items[rows], part], two[items[rows], part]] += 1
    found = kappa_with_interval(tables, quadratic=table.scale is Scale.ORDINAL)
    return PairAgreement(*names, _estimate(found, _WHY_PAIR))


def _estimate(found: Agreement, words: dict[Undefined, str]) -> Estimate:
    why = words[found.undefined] if found.undefined else ""
    return Estimate(found.value, found.interval, found.items, why)
