"""The elements of a JSON array, one by one, without parsing or holding the array.

The scanner knows strings, escapes and brackets only; whether an element is JSON is for the parser to
say. What follows the array, or is missing at its end, comes out as an element with a reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

_BLOCK = 1 << 18
_STRUCTURE = re.compile(rb'["\[\]{},]')
_STRING = re.compile(rb'["\\]')


@dataclass(frozen=True)
class Element:
    """One element: its 1-based place, its bytes (cut where they are too many) and its true length.

    ``why`` is set where the array itself is broken here.
    """

    number: int
    data: bytes
    length: int
    why: str = ""


class _Scanner:
    """The state between blocks: inside a string or not, how deep, and the element so far."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_string = False
        self._escaped = False
        self._depth = 0
        self._data = bytearray()
        self._length = 0
        self.number = 0
        self.ended = False

    def feed(self, block: bytes) -> Iterator[Element]:
        """The elements that end in ``block``."""
        place = 0
        while place < len(block) and not self.ended:
            found = self._in_string_end(block, place) if self._in_string else _STRUCTURE.search(block, place)
            if found is None:
                self._keep(block[place:])
                return
            mark, start = found.group(), place
            place = found.end()
            if self._closes_element(mark):
                self._keep(block[start : found.start()])
                yield from self._finish(last=mark == b"]")
            else:
                self._step(mark, block[start:place])
        if self.ended:
            self._keep(block[place:])

    def rest(self) -> Iterator[Element]:
        """What is left when the file ends."""
        why = "stands behind the end of the array" if self.ended else "the file ends inside this row"
        if self._data.strip() or not self.ended:
            yield Element(self.number + 1, bytes(self._data), self._length, why)

    def _in_string_end(self, block: bytes, place: int) -> re.Match[bytes] | None:
        if self._escaped:
            self._escaped = False
            # The escaped byte is never the end of the string; look behind it.
            place += 1
        return _STRING.search(block, place)

    def _closes_element(self, mark: bytes) -> bool:
        return not self._in_string and self._depth == 1 and mark in (b",", b"]")

    def _step(self, mark: bytes, data: bytes) -> None:
        outermost = self._depth == 0
        if mark == b"\\":
            self._escaped = True
        elif mark == b'"':
            self._in_string = not self._in_string
        elif mark in (b"[", b"{"):
            self._depth += 1
        elif mark in (b"]", b"}"):
            self._depth -= 1
        if not outermost:
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        self._length += len(data)
        room = self._limit + 1 - len(self._data)
        if room > 0:
            self._data += data[:room]

    def _finish(self, *, last: bool) -> Iterator[Element]:
        data = bytes(self._data)
        self.ended = last
        self._data = bytearray()
        length, self._length = self._length, 0
        if last and not data.strip() and self.number == 0:
            return  # an empty array has no element
        self.number += 1
        yield Element(self.number, data, length)


def elements(handle: BinaryIO, limit: int, count: Callable[[int], None]) -> Iterator[Element]:
    """The elements of the array in ``handle``, whose first character is ``[``.

    Args:
        handle: The file, at its start.
        limit: An element's data is cut behind this many bytes.
        count: Told the bytes of each block that was read.
    """
    scanner = _Scanner(limit)
    while block := handle.read(_BLOCK):
        count(len(block))
        yield from scanner.feed(block)
    yield from scanner.rest()
