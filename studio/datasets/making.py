"""Versions that the studio makes of its own rows, checked as strictly as a stranger's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from studio.core.errors import InvalidInput
from studio.core.files import sync_directory
from studio.datasets.canonical import (
    EXTRAS,
    Row,
    RowError,
    canonical_json,
    check_row,
    prompt_key,
    row_digest,
    version_digest,
)
from studio.datasets.naming import check_name
from studio.datasets.parquet_files import RowWriter
from studio.datasets.records import NewVersion, Split
from studio.datasets.store import Draft
from studio.datasets.strict_json import check_value

_SHOWN_ERRORS = 20


@dataclass(frozen=True)
class CheckedRows:
    """Canonical rows by split, each once, and how many duplicates were left out."""

    rows: Mapping[Split, list[Row]]
    digests: Mapping[Split, list[bytes]]
    duplicates: int


def check_new_version(new: NewVersion) -> CheckedRows:
    """The rows in canonical form, each once.

    Raises:
        InvalidInput: A row is not canonical, a prompt is on both sides, or there is no row.
    """
    check_name(new.dataset)
    rows: dict[Split, list[Row]] = {split: [] for split in Split}
    digests: dict[Split, list[bytes]] = {split: [] for split in Split}
    wrong: list[str] = []
    seen: set[bytes] = set()
    given = 0
    for split in Split:
        for number, row in enumerate(new.rows.get(split, ()), 1):
            given += 1
            try:
                checked = _checked(new, row)
            except RowError as error:
                wrong.append(f"{split.value} row {number}, {error}")
                continue
            digest = row_digest(checked)
            if digest not in seen:
                seen.add(digest)
                rows[split].append(checked)
                digests[split].append(digest)
    if wrong:
        raise InvalidInput(
            f"{len(wrong)} rows for {new.dataset} are not usable.", "", tuple(wrong[:_SHOWN_ERRORS])
        )
    if not seen:
        raise InvalidInput(f"There are no rows for {new.dataset}.", "Give at least one.")
    _refuse_leak(new.dataset, rows)
    return CheckedRows(rows, digests, given - len(seen))


def _checked(new: NewVersion, row: Row) -> Row:
    checked = check_row(new.kind, row)
    check_value(checked)
    return checked


def _refuse_leak(dataset: str, rows: Mapping[Split, list[Row]]) -> None:
    sides = {split: {prompt_key(row) for row in rows[split]} for split in Split}
    both = sorted(sides[Split.TRAIN] & sides[Split.VALIDATION])
    if both:
        raise InvalidInput(
            f"{len(both)} prompts of {dataset} are both trained on and held out.",
            "Divide the rows by prompt.",
            tuple(key[:120] for key in both[:_SHOWN_ERRORS]),
        )


def write_version(new: NewVersion, checked: CheckedRows, staging: Path, parents: tuple[str, ...]) -> Draft:
    """Write the Parquet files of checked rows into ``staging`` and describe the version."""
    staging.mkdir(parents=True)
    extras = any(name in row for rows in checked.rows.values() for row in rows for name in EXTRAS)
    for split in Split:
        with RowWriter(staging / f"{split.value}.parquet", new.kind, extras=extras) as writer:
            for row in checked.rows[split]:
                writer.write(row, len(canonical_json(row)))
    sync_directory(staging)
    steps = list(new.steps)
    if checked.duplicates:
        steps.append({"step": "leave out duplicates", "rows": checked.duplicates})
    if new.extra:
        steps.append({"step": "note", **new.extra})
    return Draft(
        dataset=new.dataset,
        description=new.description,
        kind=new.kind,
        digest=version_digest(new.kind, checked.digests),
        rows={split: len(checked.rows[split]) for split in Split},
        parents=parents,
        steps=tuple(steps),
        licence=new.licence,
    )
