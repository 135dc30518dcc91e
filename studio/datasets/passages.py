"""Plain text as training passages: paragraphs packed up to a length, none cut where it can be helped.

A passage holds whole paragraphs; a heading starts a new one where the present one is half full. A
paragraph longer than the limit is cut at white space. Order and wording stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from studio.datasets.canonical import RowError, text_flaw
from studio.datasets.readers import Meter, SourceRow

#: Characters; about 500 tokens of English, so that a passage fits the context of small models.
TARGET = 2000

_LINE = 64 << 10


def read_text(source: Path, meter: Meter) -> Iterator[SourceRow]:
    """The passages of a text file as rows ``{"text": …}``."""
    with source.open(encoding="utf-8-sig", errors="surrogateescape", newline=None) as handle:
        for number, passage in enumerate(pack(_paragraphs(handle, meter)), 1):
            flaw = text_flaw(passage)
            if flaw:
                yield SourceRow(number, None, passage, RowError("text", flaw))
            else:
                yield SourceRow(number, {"text": passage})


def _paragraphs(handle: TextIO, meter: Meter) -> Iterator[str]:
    held = ""
    while line := handle.readline(_LINE):
        meter.add(len(line.encode("utf-8", "surrogateescape")))
        if line.strip():
            held += line
        elif held:
            yield held.strip("\n")
            held = ""
        while len(held) > 2 * TARGET:
            piece, held = _cut(held)
            yield piece
    if held.strip():
        yield held.strip("\n")


def _cut(text: str) -> tuple[str, str]:
    places = (text.rfind(mark, TARGET // 2, TARGET) for mark in ("\n", ". ", " "))
    place = next((place + 1 for place in places if place > 0), TARGET)
    return text[:place].rstrip(), text[place:].lstrip(" ")


def pack(paragraphs: Iterator[str]) -> Iterator[str]:
    """Join paragraphs into passages of at most ``TARGET`` characters, single long ones apart."""
    held: list[str] = []
    length = 0
    for paragraph in paragraphs:
        full = length + len(paragraph) > TARGET
        heading = paragraph.startswith("#") and length > TARGET // 2
        if held and (full or heading):
            yield "\n\n".join(held)
            held, length = [], 0
        held.append(paragraph)
        length += len(paragraph) + 2
    if held:
        yield "\n\n".join(held)
