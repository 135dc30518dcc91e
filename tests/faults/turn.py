"""A trainer that trains nothing: it notes when it began and when it ended, beside every job's directory."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def note(word: str) -> None:
    """One line, appended in one write."""
    path = Path(sys.argv[1]).parent / "turns.txt"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(handle, f"{time.monotonic()} {word} {os.getpid()}\n".encode())
    os.close(handle)


if __name__ == "__main__":
    note("began")
    time.sleep(0.15)
    note("ended")
