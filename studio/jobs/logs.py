"""Reads a job's log by byte offset, so that a page fetches only what it has not seen.

Bytes that are no UTF-8 become U+FFFD; a character that is half written is left for the next call.
"""

from __future__ import annotations

import codecs
import os
from pathlib import Path

from studio.jobs.records import LogChunk

_TAIL_BYTES = 4096
_TAIL_LINES = 6
_TAIL_CHARACTERS = 1000


def read_log(path: Path, offset: int, limit: int) -> LogChunk:
    """At most ``limit`` bytes from ``offset`` on; a negative offset counts from the end."""
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        return LogChunk("", 0)
    with handle:
        size = os.fstat(handle.fileno()).st_size
        start = max(0, size + offset) if offset < 0 else min(offset, size)
        handle.seek(start)
        data = handle.read(limit)
    if offset < 0:
        start, data = _whole_characters(start, data)
    return _decode(start, data)


def last_lines(path: Path) -> str:
    """The last few lines that are not empty, for an error message."""
    text = read_log(path, -_TAIL_BYTES, _TAIL_BYTES).text
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-_TAIL_LINES:])[-_TAIL_CHARACTERS:]


def _whole_characters(start: int, data: bytes) -> tuple[int, bytes]:
    """Drop what is left of a character that the cut went through."""
    cut = 0
    while start > 0 and cut < min(3, len(data)) and data[cut] & 0xC0 == 0x80:
        cut += 1
    return start + cut, data[cut:]


def _decode(start: int, data: bytes) -> LogChunk:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    unfinished, _ = decoder.getstate()
    return LogChunk(text, start + len(data) - len(unfinished))
