"""The pairs of a queue: which rows they are, and on which side each answer is shown.

Positions count through the training rows and then the validation rows of the queue's dataset version,
which never changes, so a position is enough to find a pair again. Sides depend on a secret of the
queue, the item and the annotator: the same for one person every time, and not to be worked out from ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from studio.annotation.records import Item, Queue
from studio.core import Actor, NotFound, Role
from studio.datasets import DatasetService, Message, Split

#: Reads rows on behalf of annotators, who may see the pairs of a queue but not every dataset.
READER = Actor("annotation", Role.RESEARCHER)

_CHUNK = 200


@dataclass(frozen=True)
class Pair:
    """A preference row by its place in a queue."""

    position: int
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]


def item_id(position: int) -> str:
    """The id of the item at a position."""
    return f"item_{position:06d}"


def position_of(queue: Queue, item: str) -> int:
    """The position of an item.

    Raises:
        NotFound: The queue has no such item.
    """
    digits = item.removeprefix("item_")
    position = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 12 else -1
    if not 0 <= position < queue.items or item != item_id(position):
        raise NotFound(f"The queue {queue.name} has no item {item}.", "Ask for the next items again.")
    return position


def chosen_side(salt: str, item: str, annotator: str) -> str:
    """The side on which ``annotator`` sees the answer that the dataset calls chosen."""
    digest = hashlib.sha256("\0".join((salt, item, annotator)).encode()).digest()
    return "ab"[digest[0] & 1]


def shown(queue: Queue, pair: Pair, side: str) -> Item:
    """A pair as an annotator sees it, with the chosen answer on ``side``."""
    a, b = (pair.chosen, pair.rejected) if side == "a" else (pair.rejected, pair.chosen)
    return Item(item_id(pair.position), queue.id, pair.position, pair.prompt, a, b)


def read_pairs(datasets: DatasetService, version_id: str, positions: Iterable[int]) -> dict[int, Pair]:
    """The pairs at some positions of a version, by position."""
    version = datasets.version(READER, version_id)
    found: dict[int, Pair] = {}
    first = 0
    wanted = sorted(set(positions))
    for split in (Split.TRAIN, Split.VALIDATION):
        rows = version.rows.get(split, 0)
        inside = [position - first for position in wanted if first <= position < first + rows]
        for start, length in _stretches(inside):
            page = datasets.page(READER, version.id, split, start, length)
            for offset, row in enumerate(page.rows):
                position = first + start + offset
                found[position] = Pair(
                    position, tuple(row["prompt"]), tuple(row["chosen"]), tuple(row["rejected"])
                )
        first += rows
    return found


def _stretches(places: list[int]) -> Iterator[tuple[int, int]]:
    """Cut sorted places into few (start, length) reads; a read may cover places nobody asked for."""
    start = end = -1
    for place in places:
        if start >= 0 and place < start + _CHUNK:
            end = place
            continue
        if start >= 0:
            yield start, end - start + 1
        start = end = place
    if start >= 0:
        yield start, end - start + 1
