"""Several versions as one, as a stream: in memory are digests and places in a spool, not rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from studio.core.errors import InvalidInput
from studio.core.files import sync_directory
from studio.datasets.canonical import (
    Row,
    canonical_json,
    content_digest,
    key_digest,
    prompt_key,
    row_digest,
    version_digest,
)
from studio.datasets.parquet_files import RowWriter, has_extras, read_rows
from studio.datasets.protection import Shield
from studio.datasets.records import DatasetVersion, SchemaKind, Split
from studio.datasets.store import Draft

_SPOOL = "spool.jsonl"


@dataclass(frozen=True)
class _Placed:
    """A row in the spool: where it begins, its draw for the order, its side and digest."""

    draw: bytes
    offset: int
    split: Split
    digest: bytes


def write_join(
    dataset: str, parents: Sequence[DatasetVersion], staging: Path, seed: int, shield: Shield
) -> Draft:
    """Write the joined rows into ``staging``, which must not exist, and describe the version.

    Rows for training that ``shield`` stops are left out; whether that may be is the caller's to say.

    Raises:
        InvalidInput: Nothing is given to join, or the kinds differ.
    """
    kind = _one_kind(parents)
    held_out = held_out_keys(parents)
    staging.mkdir(parents=True)
    moved = 0
    with (staging / _SPOOL).open("w+b") as spool:
        placed, duplicates, moved = _spool(parents, spool, held_out, seed, shield)
        placed.sort(key=lambda row: row.draw)
        _write(
            placed, spool, staging, kind, extras=any(has_extras(p.file(s)) for p in parents for s in Split)
        )
    (staging / _SPOOL).unlink()
    sync_directory(staging)
    step: dict[str, Any] = {
        "step": "join",
        "versions": [parent.reference for parent in parents],
        "seed": seed,
        "duplicates_left_out": duplicates,
        "moved_to_validation": moved,
    }
    if shield.rows:
        step["protected_left_out"] = shield.rows
    return Draft(
        dataset=dataset,
        description="",
        kind=kind,
        digest=version_digest(kind, {s: [row.digest for row in placed if row.split is s] for s in Split}),
        rows={s: sum(row.split is s for row in placed) for s in Split},
        parents=tuple(parent.id for parent in parents),
        steps=(step,),
        licence=joined_licence(parents),
    )


def _one_kind(parents: Sequence[DatasetVersion]) -> SchemaKind:
    kinds = {parent.kind for parent in parents}
    if not kinds:
        raise InvalidInput("There is nothing to join.", "Name at least one version.")
    if len(kinds) > 1:
        raise InvalidInput(
            "Versions of different kinds cannot be joined.",
            "Choose versions of one kind.",
            tuple(f"{parent.reference} holds {parent.kind.value} rows" for parent in parents),
        )
    return kinds.pop()


def held_out_keys(parents: Sequence[DatasetVersion]) -> set[bytes]:
    """The prompts that are held out in any of the versions."""
    files = (parent.file(Split.VALIDATION) for parent in parents)
    return {key_digest(prompt_key(row)) for file in files for row in read_rows(file)}


def joined_licence(parents: Sequence[DatasetVersion]) -> str:
    """Every licence of the parents, each once."""
    return "; ".join(dict.fromkeys(parent.licence for parent in parents if parent.licence))


def _spool(
    parents: Sequence[DatasetVersion], spool: BinaryIO, held_out: set[bytes], seed: int, shield: Shield
) -> tuple[list[_Placed], int, int]:
    """Each row once into the spool; also how many were there already, and how many changed sides."""
    placed: list[_Placed] = []
    seen: set[bytes] = set()
    duplicates = moved = 0
    for was, row in _all_rows(parents):
        content = content_digest(row)
        if content in seen:
            duplicates += 1
            continue
        seen.add(content)
        split = Split.VALIDATION if key_digest(prompt_key(row)) in held_out else Split.TRAIN
        if split is Split.TRAIN and shield.stops(row):
            continue
        moved += split is not was
        draw = hashlib.sha256(f"{seed}:".encode() + content).digest()[:16]
        placed.append(_Placed(draw, spool.tell(), split, row_digest(row)))
        spool.write(canonical_json(row).encode() + b"\n")
    return placed, duplicates, moved


def _all_rows(parents: Sequence[DatasetVersion]) -> Iterator[tuple[Split, Row]]:
    for parent in parents:
        for split in Split:
            for row in read_rows(parent.file(split)):
                yield split, row


def _write(
    placed: Sequence[_Placed], spool: BinaryIO, staging: Path, kind: SchemaKind, *, extras: bool
) -> None:
    for split in Split:
        with RowWriter(staging / f"{split.value}.parquet", kind, extras=extras) as writer:
            for row in placed:
                if row.split is split:
                    spool.seek(row.offset)
                    line = spool.readline()
                    writer.write(json.loads(line), len(line))
