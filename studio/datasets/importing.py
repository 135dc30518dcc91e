"""The import itself: a file in, a staging directory with Parquet, rejects and an outcome out.

It is one pure function of a plan, used at once for small files and by the job for large ones. Two
passes: the first converts row by row into a spool and learns the prompts, the second draws the sides
and writes the Parquet files. In memory are digests and one row group, never the file. Nothing of it
counts until the service renames the directory.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from studio.core.errors import InvalidInput
from studio.core.files import file_digest, sync_directory
from studio.datasets.canonical import (
    Row,
    RowError,
    canonical_json,
    key_digest,
    prompt_key,
    row_digest,
    version_digest,
)
from studio.datasets.conversion import FORMATS, check_mapping, convert_row
from studio.datasets.parquet_files import RowWriter
from studio.datasets.readers import CSV_SUFFIXES, Budget, Meter, SourceRow, open_rows
from studio.datasets.records import ColumnMap, RejectedRow, SchemaKind, SourceFormat, Split
from studio.datasets.splits import draw_validation

REJECTS = "rejects.jsonl"
_SPOOL = "spool.jsonl"

#: How many rejected rows a report shows; the file has all of them.
SHOWN_REJECTS = 50
# An error is a note, not a table.
_NAMED_IN_ERROR = 20

#: Told the phase in words, and how much is done of how much.
Progress = Callable[[str, float, float], None]


@dataclass(frozen=True)
class ImportPlan:
    """Everything an import depends on; goes into a job's payload as JSON.

    ``protected`` are the digests of the prompts that should not be trained on.
    """

    source: Path
    format: SourceFormat
    mapping: ColumnMap
    validation_fraction: float
    seed: int
    budget: Budget
    protected: frozenset[bytes] = frozenset()

    def payload(self) -> dict[str, Any]:
        """The plan as JSON."""
        protected = sorted(key.hex() for key in self.protected)
        written = {"source": str(self.source), "format": self.format.value, "protected": protected}
        return {**asdict(self), **written}

    @classmethod
    def parse(cls, payload: dict[str, Any]) -> ImportPlan:
        """The plan that ``payload`` was made of."""
        return cls(
            source=Path(payload["source"]),
            format=SourceFormat(payload["format"]),
            mapping=ColumnMap(dict(payload["mapping"]["columns"])),
            validation_fraction=payload["validation_fraction"],
            seed=payload["seed"],
            budget=Budget(**payload["budget"]),
            protected=frozenset(bytes.fromhex(key) for key in payload.get("protected", ())),
        )


@dataclass(frozen=True)
class ImportOutcome:
    """What a conversion made; ``rejected`` holds the first of the rejected rows."""

    format: SourceFormat
    kind: SchemaKind
    digest: str
    rows: dict[Split, int]
    rejected_rows: int
    rejected: tuple[RejectedRow, ...]
    unused_columns: tuple[str, ...]
    source_digest: str
    protected_rows: int = 0

    def payload(self) -> dict[str, Any]:
        """The outcome as JSON."""
        return asdict(self)

    @classmethod
    def parse(cls, payload: dict[str, Any]) -> ImportOutcome:
        """The outcome that ``payload`` was made of."""
        return cls(
            format=SourceFormat(payload["format"]),
            kind=SchemaKind(payload["kind"]),
            digest=payload["digest"],
            rows={Split(name): count for name, count in payload["rows"].items()},
            rejected_rows=payload["rejected_rows"],
            rejected=tuple(RejectedRow(**row) for row in payload["rejected"]),
            unused_columns=tuple(payload["unused_columns"]),
            source_digest=payload["source_digest"],
            protected_rows=payload.get("protected_rows", 0),
        )


@dataclass
class _Taken:
    """What the first pass learnt."""

    digests: dict[bytes, int] = field(default_factory=dict)  # row digest -> source row number
    keys: list[bytes] = field(default_factory=list)  # the prompt of each spooled row
    columns: dict[str, None] = field(default_factory=dict)
    rejected_rows: int = 0
    rejected: list[RejectedRow] = field(default_factory=list)
    protected_rows: int = 0


def run_import(plan: ImportPlan, staging: Path, progress: Progress) -> ImportOutcome:
    """Convert the plan's file into ``staging``, which must not exist.

    Raises:
        InvalidInput: The file is not readable, the columns do not fit, or no row could be used.
        TooLarge: It holds more than the budget when it is unpacked.
    """
    staging.mkdir(parents=True)
    taken = _Taken()
    with (staging / _SPOOL).open("w+", encoding="utf-8") as spool:
        _convert(plan, staging, spool, taken, progress)
        if not taken.keys:
            raise _no_row(plan, taken)
        spool.seek(0)
        sides = _write_sides(plan, staging, spool, taken, progress)
    (staging / _SPOOL).unlink()
    sync_directory(staging)
    kind = FORMATS[plan.format].kind
    return ImportOutcome(
        format=plan.format,
        kind=kind,
        digest=version_digest(kind, sides),
        rows={split: len(digests) for split, digests in sides.items()},
        rejected_rows=taken.rejected_rows,
        rejected=tuple(taken.rejected),
        unused_columns=tuple(name for name in taken.columns if name not in plan.mapping.columns.values()),
        source_digest=file_digest(plan.source),
        protected_rows=taken.protected_rows,
    )


def _convert(plan: ImportPlan, staging: Path, spool: TextIO, taken: _Taken, progress: Progress) -> None:
    rows, meter = open_rows(plan.source, plan.budget)
    rejects = _Rejects(staging / REJECTS, taken)
    with rejects:
        for row in rows:
            try:
                _take(plan, row, spool, taken)
            except RowError as error:
                rejects.add(row, error)
            if row.number % 500 == 0:
                _tell(progress, meter)
    if taken.columns:
        check_mapping(plan.format, plan.mapping, tuple(taken.columns))


def _tell(progress: Progress, meter: Meter) -> None:
    progress("reading", min(meter.done, meter.size), meter.size)


def _take(plan: ImportPlan, source: SourceRow, spool: TextIO, taken: _Taken) -> None:
    if source.error is not None or source.value is None:
        raise source.error or RowError("", "has no value")
    taken.columns.update(dict.fromkeys(source.value))
    cells = plan.source.suffix.lower() in CSV_SUFFIXES
    row = convert_row(plan.format, plan.mapping, source.value, cells=cells)
    digest = row_digest(row)
    first = taken.digests.setdefault(digest, source.number)
    if first != source.number:
        raise RowError("", f"is the same as row {first}")
    taken.keys.append(key_digest(prompt_key(row)))
    spool.write(canonical_json(row) + "\n")


class _Rejects:
    """Writes the reject file; there is none where nothing was rejected."""

    def __init__(self, path: Path, taken: _Taken) -> None:
        self._path = path
        self._taken = taken
        self._handle: TextIO | None = None

    def __enter__(self) -> _Rejects:
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle:
            self._handle.close()

    def add(self, row: SourceRow, error: RowError) -> None:
        """Set a row aside with its number, the field and why; ASCII, so that any text survives."""
        self._taken.rejected_rows += 1
        if len(self._taken.rejected) < SHOWN_REJECTS:
            self._taken.rejected.append(
                RejectedRow(row.number, _printable(error.field), _printable(error.why))
            )
        if self._handle is None:
            self._handle = self._path.open("w", encoding="ascii")
        original = row.raw if row.value is None else row.value
        line = {"row": row.number, "field": error.field, "why": error.why, "original": original}
        self._handle.write(json.dumps(line, default=str) + "\n")


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _no_row(plan: ImportPlan, taken: _Taken) -> InvalidInput:
    name = plan.source.name
    if not taken.rejected_rows:
        return InvalidInput(f"{name} has no rows.", "Give a file with at least one row.")
    named = taken.rejected[:_NAMED_IN_ERROR]
    details = [f"row {row.row}{f', {row.field}' if row.field else ''}: {row.why}" for row in named]
    if taken.rejected_rows > len(named):
        details.append(f"and {taken.rejected_rows - len(named):,} more")
    return InvalidInput(
        f"None of the {taken.rejected_rows} rows of {name} could be used as {plan.format.value}.",
        "Check the format and the columns, or mend the file.",
        tuple(details),
    )


def _write_sides(
    plan: ImportPlan, staging: Path, spool: TextIO, taken: _Taken, progress: Progress
) -> dict[Split, list[bytes]]:
    held_out = draw_validation(Counter(taken.keys), plan.validation_fraction, plan.seed)
    kind = FORMATS[plan.format].kind
    sides: dict[Split, list[bytes]] = {split: [] for split in Split}
    with (
        RowWriter(staging / f"{Split.TRAIN.value}.parquet", kind) as train,
        RowWriter(staging / f"{Split.VALIDATION.value}.parquet", kind) as validation,
    ):
        writers = {Split.TRAIN: train, Split.VALIDATION: validation}
        # The digests were put in while the rows were spooled, so they stand in the same order.
        spooled = zip(spool, taken.digests, taken.keys, strict=True)
        for done, (line, digest, key) in enumerate(spooled):
            split = Split.VALIDATION if key in held_out else Split.TRAIN
            row: Row = json.loads(line)
            writers[split].write(row, len(line))
            sides[split].append(digest)
            taken.protected_rows += split is Split.TRAIN and key in plan.protected
            if done % 500 == 0:
                progress("writing", done, len(taken.keys))
    return sides
