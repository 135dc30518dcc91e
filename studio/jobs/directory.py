"""The files of one job, through which the service, the supervisor and the child speak.

Each file has one writer, and a reader finds it whole or not at all:

    spec.json        service     what to run, the token, how long a stop may take
    payload.json     service     what the job works on
    stop             service     its being there means: please stop
    supervisor.json  supervisor  the claim: who supervises this job, written once
    child.json       supervisor  the process that does the work
    exit.json        supervisor  how it ended, written when its whole process group is gone
    supervisor.log   supervisor  what went wrong in the supervisor itself; else empty
    log.txt          child       its output and errors
    progress.json    child       how far it is
    result.json      child       what it made
    failure.json     child       why it failed, in words

This module imports the standard library only: the supervisor has to start fast and stay small, so it
cannot go through ``studio.core``, which brings the database.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

SPEC = "spec.json"
PAYLOAD = "payload.json"
STOP = "stop"
SUPERVISOR = "supervisor.json"
CHILD = "child.json"
EXIT = "exit.json"
SUPERVISOR_LOG = "supervisor.log"
LOG = "log.txt"
PROGRESS = "progress.json"
RESULT = "result.json"
FAILURE = "failure.json"


def read(path: Path) -> dict[str, Any] | None:
    """The JSON object in ``path``, or None where there is none or it is not an object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write(path: Path, value: dict[str, Any], *, durable: bool = True) -> None:
    """Replace ``path`` by ``value`` as JSON in one step.

    Args:
        path: The file; its directory must exist.
        value: What JSON can hold.
        durable: Whether the content must survive a power cut; progress need not.
    """
    temporary = _temporary(path, value, durable=durable)
    temporary.replace(path)
    if durable:
        _sync(path.parent)


def write_once(path: Path, value: dict[str, Any]) -> bool:
    """Write ``path`` unless it is there; of any number of writers exactly one gets True.

    A hard link is exclusive like ``O_EXCL``, and the file has its whole content from the start.
    """
    temporary = _temporary(path, value, durable=True)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    _sync(path.parent)
    return True


def _temporary(path: Path, value: dict[str, Any], *, durable: bool) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    with temporary.open("w", encoding="utf-8") as handle:
        json.dump(value, handle, sort_keys=True)
        if durable:
            handle.flush()
            os.fsync(handle.fileno())
    return temporary


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
