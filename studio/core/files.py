"""Files that are either whole or not there.

A reader of ``write_json`` never sees half a file, and after it returns the content survives a
power cut. It does not protect against two writers: the last one wins.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

_BLOCK = 1 << 20


def write_text(path: Path, text: str) -> None:
    """Write ``text`` by temporary file, fsync and rename, then sync the directory."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    with temporary.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, sort_keys=True))


def read_json(path: Path) -> Any | None:
    """The JSON in ``path``, or None where there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def sync_directory(path: Path) -> None:
    """Make renames inside ``path`` durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def tree_digest(root: Path, pattern: str = "*") -> str:
    """One SHA-256 over the names and contents of the files directly below ``root``, in name order."""
    digest = hashlib.sha256()
    for path in sorted(p for p in root.glob(pattern) if p.is_file()):
        digest.update(f"{path.name}\0{file_digest(path)}\n".encode())
    return digest.hexdigest()
