"""Findings about prompts that must not meet: protected ones, and those that another dataset holds out.

They are compared by the digests in the token files, a row group at a time; of the held-out prompts eight
bytes each are kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from studio.core import SYSTEM, Actor, StudioError
from studio.datasets import DatasetVersion, Split
from studio.datasets.protection_store import ProtectionStore
from studio.training.preflight.records import Finding, Severity
from studio.training.preflight.row_checks import TokenFolder
from studio.training.preflight.token_files import read_columns

_EXAMPLES = 10


class Versions(Protocol):
    """What is asked of the dataset room."""

    def version(self, actor: Actor, reference: str) -> DatasetVersion:
        """The version that a reference stands for."""
        ...


def check_protected(
    actor: Actor, folder: TokenFolder, protections: ProtectionStore, versions: Versions
) -> Iterator[Finding]:
    """Training rows whose prompt serves to measure models or people."""
    digests = protections.all()
    if not digests:
        return
    number, first = 0, b""
    places: list[int] = []
    for start, key in _keys(folder.file(Split.TRAIN)):
        hits = [place for place, one in enumerate(key) if one in digests]
        first = first or (bytes(key[hits[0]]) if hits else b"")
        number += len(hits)
        places += [start + place + 1 for place in hits[: _EXAMPLES - len(places)]]
    if not number:
        return
    purposes = dict.fromkeys(
        f"{one.purpose} ({_name(actor, versions, one.version_id)})" for one in protections.of(first)
    )
    yield Finding(
        Severity.ERROR,
        folder.field,
        f"{_have(number, '')} a prompt that models or people are measured with, the first for "
        f"{', '.join(purposes)}.",
        "Build a version without these rows; scores of a model that learns them would say nothing.",
        tuple(places),
        Split.TRAIN,
        folder.source,
    )


def check_between(folders: Sequence[TokenFolder]) -> Iterator[Finding]:
    """Training rows whose prompt another dataset of the run holds out."""
    if len(folders) < 2:
        return
    for holder in folders:
        held_out = np.unique(_numbers(holder.file(Split.VALIDATION)))
        for folder in folders:
            if folder is not holder and len(held_out):
                yield from _met(folder, holder, held_out)


def _met(folder: TokenFolder, holder: TokenFolder, held_out: Any) -> Iterator[Finding]:
    number = 0
    places: list[int] = []
    for start, key in _keys(folder.file(Split.TRAIN)):
        hits = np.flatnonzero(np.isin(_as_numbers(key), held_out))
        number += len(hits)
        places += (hits[: _EXAMPLES - len(places)] + start + 1).tolist()
    if number:
        yield Finding(
            Severity.WARNING,
            folder.field,
            f"{_have(number, f' of {folder.source}')} a prompt that {holder.source} holds out, so the "
            "held-out loss will look better than it is.",
            "Join the two datasets into one version; the studio then keeps a prompt on one side.",
            tuple(places),
            Split.TRAIN,
            folder.source,
        )


def _have(number: int, whose: str) -> str:
    return f"1 training row{whose} has" if number == 1 else f"{number:,} training rows{whose} have"


def _keys(path: Path) -> Iterator[tuple[int, Any]]:
    for start, columns in read_columns(path, ("key",)):
        yield start, columns["key"]


def _numbers(path: Path) -> Any:
    parts = [_as_numbers(key) for _, key in _keys(path)]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def _as_numbers(keys: Any) -> Any:
    """The first half of each digest: 64 bits, so that two of a million meet by chance in no lifetime."""
    return np.frombuffer(b"".join(keys), np.uint64)[::2]


def _name(actor: Actor, versions: Versions, version_id: str) -> str:
    try:
        return versions.version(actor, version_id).reference
    except StudioError:
        return "a private dataset" if actor != SYSTEM else version_id
