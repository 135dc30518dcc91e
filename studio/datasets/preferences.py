"""Preference versions: pairs made of verdicts, joined by pairs that were imported, with their lineage.

Joined pairs keep their side of the split, and a new pair on one of their prompts takes the same side,
so that no prompt stands on both. Where two pairs contradict each other (the same two answers, preferred
both ways) neither is used. Everything that is left out is counted with its reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from studio.core.actors import Actor
from studio.core.audit import Audit
from studio.core.errors import Conflict, InvalidInput, NotFound
from studio.core.lineage import Edge, Lineage, Node
from studio.datasets.canonical import Row, canonical_json, prompt_key
from studio.datasets.joining import joined_licence
from studio.datasets.naming import check_name
from studio.datasets.pairing import Mark, Pair, Weighed, weigh
from studio.datasets.parquet_files import read_rows
from studio.datasets.protection import PROTECTED, PromptGuard
from studio.datasets.records import (
    DatasetVersion,
    Judgement,
    LeftOut,
    NewVersion,
    Opinion,
    PreferenceReport,
    PreferenceResult,
    PreferenceSettings,
    SchemaKind,
    Split,
)
from studio.datasets.splits import check_fraction, split

DUPLICATE = "a joined pair that is there already"
CONTRADICTION = "two pairs that contradict each other (neither is used)"

Sides = dict[Split, list[Row]]


class Versions(Protocol):
    """What the builder needs of ``DatasetService``."""

    def version(self, actor: Actor, reference: str) -> DatasetVersion:
        """A version by reference."""
        ...

    def create(self, actor: Actor, new: NewVersion) -> DatasetVersion:
        """Make a version of canonical rows."""
        ...


@dataclass(frozen=True)
class _Kept:
    """The pairs that go into a version: new ones, and joined ones with the side they had."""

    pairs: list[Pair]
    joined: list[tuple[Split, Pair]]


class PreferenceBuilder:
    """Builds preference and unpaired versions for ``DatasetService``, which has checked the role."""

    def __init__(self, versions: Versions, lineage: Lineage, audit: Audit, guard: PromptGuard) -> None:
        self._versions = versions
        self._guard = guard
        self._lineage = lineage
        self._audit = audit

    def build(
        self,
        actor: Actor,
        dataset: str,
        judgements: Sequence[Judgement],
        opinions: Sequence[Opinion],
        settings: PreferenceSettings,
        join: tuple[str, ...],
        *,
        leave_out_protected: bool,
    ) -> PreferenceResult:
        """Make the versions; the same verdicts and settings again give the same versions.

        Raises:
            InvalidInput: No pair remains (with the report as details), a version to join holds no pairs, or
                a protected prompt would be trained on and is not to be left out.
            NotFound: A version to join does not exist.
            Conflict: A dataset of that name holds other rows.
        """
        unpaired_name = f"{dataset}-unpaired"
        self._check(actor, {dataset: SchemaKind.PREFERENCE, unpaired_name: SchemaKind.UNPAIRED}, settings)
        parents = self._parents(actor, join)
        weighed = weigh(judgements, opinions, settings)
        kept = _keep(weighed, _joined_pairs(parents), weighed.left_out)
        sides, kept = self._cleared(actor, dataset, kept, weighed, settings, leave_out=leave_out_protected)
        single = self._single(actor, unpaired_name, weighed, sides, settings, leave_out=leave_out_protected)
        report = _report(len(judgements), kept, weighed, sum(map(len, single.values())))
        if not report.pairs:
            raise _no_pair(report)
        step: dict[str, Any] = {
            "step": "build preferences",
            "settings": asdict(settings),
            "report": asdict(report),
        }
        new = NewVersion(
            dataset=dataset,
            kind=SchemaKind.PREFERENCE,
            rows=sides,
            steps=({**step, "joined": [parent.reference for parent in parents]},),
            parents=tuple(parent.id for parent in parents),
            licence=joined_licence(parents),
        )
        version = self._make(actor, new, (pair.verdicts for pair in kept.pairs))
        unpaired = self._unpaired(actor, unpaired_name, weighed.marks, single, step)
        return PreferenceResult(version, unpaired, report)

    def _cleared(
        self,
        actor: Actor,
        dataset: str,
        kept: _Kept,
        weighed: Weighed,
        settings: PreferenceSettings,
        *,
        leave_out: bool,
    ) -> tuple[Sides, _Kept]:
        """The sides and the pairs on them, without protected prompts among those to train on."""
        sides, shield = self._guard.clear(actor, dataset, _sides(kept, settings), leave_out=leave_out)
        if not shield.rows:
            return sides, kept
        weighed.left_out[PROTECTED] += shield.rows
        # A prompt stands on one side only, so all of its pairs go.
        return sides, _Kept(
            [pair for pair in kept.pairs if prompt_key(pair.row) not in shield.met],
            [(side, pair) for side, pair in kept.joined if prompt_key(pair.row) not in shield.met],
        )

    def _single(
        self,
        actor: Actor,
        dataset: str,
        weighed: Weighed,
        pairs: Sides,
        settings: PreferenceSettings,
        *,
        leave_out: bool,
    ) -> Sides:
        """The sides of the answers that were judged one by one; none protected is trained on."""
        taken = {prompt_key(row): side for side in Split for row in pairs[side]}
        rows = _divide([mark.row for mark in weighed.marks], taken, settings)
        sides, shield = self._guard.clear(actor, dataset, rows, leave_out=leave_out)
        if shield.rows:
            weighed.left_out[PROTECTED] += shield.rows
        return sides

    def _check(self, actor: Actor, targets: dict[str, SchemaKind], settings: PreferenceSettings) -> None:
        """Refuse before anything is made."""
        check_fraction(settings.validation_fraction)
        if not 0 <= settings.minimum_agreement <= 1:
            raise InvalidInput(
                f"A minimum agreement of {settings.minimum_agreement} is no share.",
                "Use 0.5 (a majority) to 1.",
            )
        for name, kind in targets.items():
            check_name(name)
            try:
                there = self._versions.version(actor, name)
            except NotFound:
                continue
            if there.kind is not kind:
                raise Conflict(f"{name} holds {there.kind.value} rows.", "Give the dataset another name.")

    def _parents(self, actor: Actor, join: tuple[str, ...]) -> list[DatasetVersion]:
        found = {v.id: v for v in (self._versions.version(actor, reference) for reference in join)}
        wrong = [v for v in found.values() if v.kind is not SchemaKind.PREFERENCE]
        if wrong:
            raise InvalidInput(
                "Only preference versions can be joined to a preference version.",
                "Leave the others out.",
                tuple(f"{version.reference} holds {version.kind.value} rows" for version in wrong),
            )
        return list(found.values())

    def _unpaired(
        self,
        actor: Actor,
        dataset: str,
        marks: Sequence[Mark],
        rows: Sides,
        step: dict[str, Any],
    ) -> DatasetVersion | None:
        there = {canonical_json(row) for side in Split for row in rows[side]}
        if not there:
            return None
        new = NewVersion(dataset=dataset, kind=SchemaKind.UNPAIRED, rows=rows, steps=(step,))
        used = (mark.verdicts for mark in marks if canonical_json(mark.row) in there)
        return self._make(actor, new, used)

    def _make(self, actor: Actor, new: NewVersion, verdicts: Iterable[tuple[Node, ...]]) -> DatasetVersion:
        version = self._versions.create(actor, new)
        node = Node("dataset_version", version.id)
        judged_by = sorted({verdict for several in verdicts for verdict in several})
        self._lineage.link(Edge(node, verdict, "judged_by") for verdict in judged_by)
        self._audit.record(actor, "built preferences", node, f"{len(judged_by)} verdicts")
        return version


def _joined_pairs(parents: Sequence[DatasetVersion]) -> list[tuple[Split, Pair]]:
    return [
        (side, _joined_pair(row))
        for parent in parents
        for side in Split
        for row in read_rows(parent.file(side))
    ]


def _joined_pair(row: Row) -> Pair:
    prompt, chosen, rejected = (canonical_json(row[name]) for name in ("prompt", "chosen", "rejected"))
    return Pair(prompt, chosen, rejected, row, ())


def _keep(weighed: Weighed, joined: list[tuple[Split, Pair]], left_out: Counter[str]) -> _Kept:
    """Each pair once, the voted one before the joined one, and none that another contradicts."""
    preferred: dict[object, set[str]] = defaultdict(set)
    for pair in (*weighed.pairs, *(pair for _, pair in joined)):
        preferred[pair.answers].add(pair.chosen)
    seen = {(pair.answers, pair.chosen) for pair in weighed.pairs}
    kept = _Kept([pair for pair in weighed.pairs if len(preferred[pair.answers]) == 1], [])
    left_out[CONTRADICTION] += len(weighed.pairs) - len(kept.pairs)
    for side, pair in joined:
        if (pair.answers, pair.chosen) in seen:
            left_out[DUPLICATE] += 1
        elif len(preferred[pair.answers]) > 1:
            left_out[CONTRADICTION] += 1
        else:
            seen.add((pair.answers, pair.chosen))
            kept.joined.append((side, pair))
    return kept


def _sides(kept: _Kept, settings: PreferenceSettings) -> Sides:
    """The split: joined pairs where they were, held-out prompts held out, new prompts drawn."""
    # Two joined versions may disagree; what is held out anywhere is held out here, so it comes last.
    in_order = sorted(kept.joined, key=lambda placed: placed[0] is Split.VALIDATION)
    taken = {prompt_key(pair.row): side for side, pair in in_order}
    joined = [pair.row for _, pair in kept.joined]
    return _divide([*(pair.row for pair in kept.pairs), *joined], taken, settings)


def _divide(rows: Sequence[Row], taken: dict[str, Split], settings: PreferenceSettings) -> Sides:
    fresh = [row for row in rows if prompt_key(row) not in taken]
    sides = split(fresh, settings.validation_fraction, settings.seed)
    for row in rows:
        side = taken.get(prompt_key(row))
        if side is not None:
            sides[side].append(row)
    return sides


def _report(judgements: int, kept: _Kept, weighed: Weighed, unpaired: int) -> PreferenceReport:
    reasons = sorted(weighed.left_out.items(), key=lambda item: (-item[1], item[0]))
    return PreferenceReport(
        judgements=judgements,
        pairs=len(kept.pairs) + len(kept.joined),
        unpaired=unpaired,
        left_out=tuple(LeftOut(why, count) for why, count in reasons if count),
        joined_pairs=len(kept.joined),
    )


def _no_pair(report: PreferenceReport) -> InvalidInput:
    looked_at = (
        f"{report.judgements} judgements were looked at, {report.unpaired} unpaired rows would come of them"
    )
    return InvalidInput(
        "No pair remains, so there is no preference dataset to build.",
        "Collect more blind verdicts that prefer one answer, or relax the rules of the build.",
        (looked_at, *(f"{reason.count} left out: {reason.why}" for reason in report.left_out)),
    )
