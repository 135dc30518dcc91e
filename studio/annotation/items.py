"""Items as they are made from rows and as people see them.

Ids and sides come from a secret of the project, so neither tells an item's place or kind, and what one
person sees does not give away what another does. A repeat has an id of its own, so its sides are
drawn anew.
"""

from __future__ import annotations

import hashlib
import json
import random
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from studio.annotation.records import Item, ItemKind, Standing, StoredItem, Suggestion, Verdict
from studio.core import SYSTEM
from studio.datasets import DatasetService, DatasetVersion, Message, SchemaKind, Split

_CHUNK = 500
_ID_DIGITS = 16

Answers = tuple[tuple[Message, ...], tuple[Message, ...], tuple[Message, ...]]


def item_id(salt: str, position: int) -> str:
    """The id of a project's item."""
    return f"item_{hashlib.sha256(f'{salt}|{position}'.encode()).hexdigest()[:_ID_DIGITS]}"


def repeat_id() -> str:
    """An id for an item that one person is to see once more; it looks like any other."""
    return f"item_{secrets.token_hex(_ID_DIGITS // 2)}"


def first_side(salt: str, item: str, annotator: str) -> str:
    """The side on which ``annotator`` sees an item's first answer."""
    digest = hashlib.sha256(f"{salt}|{item}|{annotator}".encode()).digest()
    return "ab"[digest[0] & 1]


def due(salt: str, annotator: str, what: str, every: int, given: int) -> int:
    """How many items of a kind belong among the first ``given`` of a person: one drawn in each ``every``."""
    blocks, rest = divmod(given, every)
    digest = hashlib.sha256(f"{salt}|{annotator}|{what}|{blocks}".encode()).digest()
    return blocks + (rest > int.from_bytes(digest[:4], "big") % every)


def seen_from(standing: Standing, side: str) -> Verdict:
    """What a standing is for somebody who sees the first answer on ``side``."""
    if standing is Standing.FIRST:
        return Verdict(side)
    if standing is Standing.SECOND:
        return Verdict("b" if side == "a" else "a")
    return Verdict(standing.value)


def shown(
    project_id: str,
    item: str,
    texts: Answers,
    side: str,
    until: float | None,
    suggestion: Suggestion | None = None,
) -> Item:
    """An item as somebody sees it who has its first answer on ``side``."""
    prompt, first, second = texts
    a, b = (first, second) if side == "a" or not second else (second, first)
    return Item(item, project_id, prompt, a, b, until, suggestion)


def dump_texts(prompt: Sequence[Message], first: Sequence[Message], second: Sequence[Message]) -> str:
    """An item's texts as they are stored."""
    return json.dumps([prompt, first, second], ensure_ascii=False, separators=(",", ":"))


def load_texts(content: str) -> Answers:
    """The inverse of ``dump_texts``."""
    prompt, first, second = json.loads(content)
    return tuple(prompt), tuple(first), tuple(second)


def sampled(total: int, target: int | None, seed: str) -> list[int]:
    """The rows of a version that a project takes, in their order: all, or a seeded sample."""
    if target is None or target >= total:
        return list(range(total))
    return sorted(random.Random(seed).sample(range(total), target))  # noqa: S311 - it only draws a sample


def read_items(
    datasets: DatasetService, version: DatasetVersion, rows: Sequence[int], kind: ItemKind, *, single: bool
) -> list[StoredItem]:
    """The items of some rows of a version, which count through training and then validation rows.

    ``single`` takes one answer of a pair, the one that the dataset prefers. Ids and positions are left to
    the store.
    """
    found = _read(datasets, version, rows)
    return [_from_row(version.kind, row, kind, single) for row in found]


def _from_row(schema: SchemaKind, row: Mapping[str, Any], kind: ItemKind, single: bool) -> StoredItem:
    first: Sequence[Message]
    second: Sequence[Message] = ()
    truth = Standing.FIRST
    if schema is SchemaKind.INSTRUCTION:
        prompt, first = row["messages"][:-1], row["messages"][-1:]
    elif schema is SchemaKind.UNPAIRED:
        prompt, first = row["prompt"], row["completion"]
        truth = Standing.ACCEPT if row["label"] else Standing.REJECT
    else:
        prompt, first = row["prompt"], row["chosen"]
        second = () if single else row["rejected"]
    known = truth if kind is ItemKind.GOLD else None
    return StoredItem("", 0, kind, tuple(prompt), tuple(first), tuple(second), known)


def _read(datasets: DatasetService, version: DatasetVersion, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
    first = 0
    for split in (Split.TRAIN, Split.VALIDATION):
        inside = version.rows.get(split, 0)
        wanted = [row - first for row in rows if first <= row < first + inside]
        for start, length, places in _stretches(wanted):
            page = datasets.page(SYSTEM, version.id, split, start, length)
            for place in places:
                yield page.rows[place - start]
        first += inside


def _stretches(places: Iterable[int]) -> Iterator[tuple[int, int, list[int]]]:
    """Cut sorted places into few reads (start, length, places); a read may cover rows nobody asked for."""
    held: list[int] = []
    for place in places:
        if held and place >= held[0] + _CHUNK:
            yield held[0], held[-1] - held[0] + 1, held
            held = []
        held.append(place)
    if held:
        yield held[0], held[-1] - held[0] + 1, held
