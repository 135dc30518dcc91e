"""Each annotator as the lead should see them: numbers, each with its uncertainty."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.annotation.records import Entry, ItemKind, Standing, Task, Verdict
from studio.annotation.review_flags import flagged
from studio.annotation.review_records import Estimate, PersonReport
from studio.annotation.verdict_table import VerdictTable, ratings_of
from studio.stats import Interval, ratio_interval, wilson_interval

_ERASED = "erased-"


def reports(
    task: Task,
    entries: Sequence[Entry],
    firsts: Sequence[Entry],
    table: VerdictTable,
    truths: Mapping[int, Standing],
) -> tuple[PersonReport, ...]:
    """One report a person, in alphabetical order.

    Args:
        task: What was asked.
        entries: Standing labels of every kind.
        firsts: First answers to gold, repeats and what was repeated; gold and repeats are scored by these.
        table: The values of those that count for agreement.
        truths: The known verdict of gold items, by position.
    """
    own: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        own[entry.label.annotator].append(entry)
    scored: dict[str, list[Entry]] = defaultdict(list)
    for entry in firsts:
        scored[entry.label.annotator].append(entry)
    agreement = _agreement(task, table)
    alone = Estimate(None, None, 0, "Nobody else has labelled the same items.")
    plain = [
        _report(name, own[name], _gold(scored[name], truths), _consistency(task, scored[name]), agreed)
        for name in sorted(own)
        for agreed in (agreement.get(name, alone),)
    ]
    return flagged(plain)


def _report(
    name: str, own: Sequence[Entry], gold: Estimate, consistency: Estimate, agreement: Estimate
) -> PersonReport:
    data = [entry for entry in own if entry.kind is ItemKind.DATA]
    skipped = sum(entry.standing is Standing.SKIP for entry in data)
    seconds = [
        entry.label.active_seconds
        for entry in own
        if entry.label.active_seconds is not None and entry.standing is not Standing.SKIP
    ]
    return PersonReport(
        name=name,
        labels=len(data) - skipped,
        skipped=skipped,
        median_seconds=median(seconds) if seconds else None,
        gold=gold,
        position=_position(own),
        consistency=consistency,
        agreement=agreement,
        last_at=max(entry.label.labelled_at for entry in own),
        erased=name.startswith(_ERASED),
    )


def _gold(firsts: Iterable[Entry], truths: Mapping[int, Standing]) -> Estimate:
    right = [
        entry.standing is truths[entry.position]
        for entry in firsts
        if entry.kind is ItemKind.GOLD and entry.position in truths and entry.standing is not Standing.SKIP
    ]
    return _share(right, "No gold item was answered.")


def _position(own: Iterable[Entry]) -> Estimate:
    # An imported label does not know on which side an answer stood.
    chose_a = [
        entry.label.verdict is Verdict.A
        for entry in own
        if entry.label.verdict in (Verdict.A, Verdict.B) and entry.label.origin != "import"
    ]
    return _share(chose_a, "No label chose between A and B.")


def _consistency(task: Task, firsts: Sequence[Entry]) -> Estimate:
    first = {entry.position: entry for entry in firsts if entry.kind is ItemKind.DATA}
    same = [
        _same(task, first[entry.position], entry)
        for entry in firsts
        if entry.kind is ItemKind.REPEAT
        and entry.position in first
        and Standing.SKIP not in (entry.standing, first[entry.position].standing)
    ]
    return _share(same, "No item was shown twice.")


def _same(task: Task, first: Entry, again: Entry) -> bool:
    if task is not Task.RATING:
        return first.standing is again.standing
    pairs = zip(ratings_of(first), ratings_of(again), strict=True)
    # One point up or down is within what people mean by the same.
    return all(abs(one - two) <= 1 for one, two in pairs if one is not None and two is not None)


def _share(hits: Sequence[bool], why: str) -> Estimate:
    if not hits:
        return Estimate(None, None, 0, why)
    return Estimate(sum(hits) / len(hits), wilson_interval(sum(hits), len(hits)), len(hits))


def _agreement(task: Task, table: VerdictTable) -> dict[str, Estimate]:
    """The share of others' values on the same items that equal a person's own, by name."""
    if task is Task.EDIT or not len(table.item):
        return {}
    counts = table.counts
    equal = counts[table.item, table.part, table.value] - 1
    others = counts.sum(axis=2)[table.item, table.part] - 1
    found = {}
    for number, name in enumerate(table.names):
        rows = (table.person == number) & (others > 0)
        if rows.any():
            # What a person says about the two answers of one item hangs together: the item is the unit.
            _, item = np.unique(table.item[rows], return_inverse=True)
            found[name] = _ratio(np.bincount(item, equal[rows]), np.bincount(item, others[rows]))
    return found


def _ratio(totals: NDArray[Any], sizes: NDArray[Any]) -> Estimate:
    value = float(totals.sum() / sizes.sum())
    if 0 < value < 1:
        wide = ratio_interval(totals.tolist(), sizes.tolist())
        interval = Interval(max(0.0, wide.low), min(1.0, wide.high), wide.confidence) if wide else None
    else:
        # All or nothing has no spread of its own; Wilson's interval still knows how few items it was.
        interval = wilson_interval(value * len(totals), len(totals))
    return Estimate(value, interval, len(totals))
