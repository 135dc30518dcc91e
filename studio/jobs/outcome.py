"""From what lies in a job's directory to how the job ended; nothing here guesses.

A job has an outcome only where its supervisor left an exit record with the job's token, or where its
start was withdrawn before any supervisor had it. For the rest see ``reconcile``.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.clock import now
from studio.jobs import directory as files
from studio.jobs.child import STOPPED_EXIT
from studio.jobs.logs import last_lines
from studio.jobs.records import JobState

_HINTS = {"SIGKILL": " Where nobody did that by hand, the machine ran out of memory: use smaller batches."}


@dataclass(frozen=True)
class Outcome:
    """A final state and why; ``exit_code`` is negative for a signal, times are seconds since the epoch."""

    state: JobState
    reason: str
    ended_at: float
    exit_code: int | None = None
    pid: int | None = None
    started_at: float | None = None


def recorded(directory: Path, token: str) -> Outcome | None:
    """The outcome that the supervisor wrote, or None where it has not (or not for this job)."""
    record = files.read(directory / files.EXIT)
    if record is None or record.get("token") != token:
        return None
    child = files.read(directory / files.CHILD) or {}
    state, reason = _judge(directory, record)
    return Outcome(state, reason, record["at"], record["code"], child.get("pid"), child.get("at"))


def lost(directory: Path) -> Outcome:
    """The outcome of a job whose supervisor is gone and left no record."""
    said = last_lines(directory / files.SUPERVISOR_LOG)
    why = (
        f"Its supervisor failed:\n{said}\n"
        if said
        else "Its supervisor was killed or the machine went down. "
    )
    return Outcome(JobState.LOST, f"{why}How the job ended is not known: start it again.", now())


def withdraw(directory: Path, state: JobState, reason: str) -> None:
    """Take the claim of a job that no supervisor has, so that none can ever start it."""
    claim = {"withdrawn": {"state": state.value, "reason": reason, "at": now()}}
    files.write_once(directory / files.SUPERVISOR, claim)


def withdrawn(claim: dict[str, Any]) -> Outcome | None:
    """The outcome that ``withdraw`` left in the claim, or None where a supervisor holds it."""
    record = claim.get("withdrawn")
    return record and Outcome(JobState(record["state"]), record["reason"], record["at"])


def _judge(directory: Path, record: dict[str, Any]) -> tuple[JobState, str]:
    code, forced = record["code"], record["forced"]
    if record["error"]:
        return JobState.FAILED, record["error"]
    if code is None:
        return JobState.STOPPED, "Stopped before it started."
    if code == 0:
        return JobState.SUCCEEDED, ""
    if code == STOPPED_EXIT:
        asked = record["stop_requested"]
        return JobState.STOPPED, "" if asked else "It stopped of its own accord, after saving."
    if forced:
        return JobState.STOPPED, f"It did not save and end in time after the stop and was ended by {forced}."
    return JobState.FAILED, _explain(directory, code)


def _explain(directory: Path, code: int) -> str:
    said = files.read(directory / files.FAILURE)
    if code > 0 and said is not None:
        head = f"{said.get('message', '')} {said.get('todo', '')}".strip()
        return "\n".join((head, *(f"- {line}" for line in said.get("details", ()))))
    tail = last_lines(directory / files.LOG)
    ended = f"It ended with exit code {code}." if code > 0 else _killed(-code)
    return f"{ended} Its last lines:\n{tail}" if tail else f"{ended} It wrote nothing to its log."


def _killed(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"It was ended by {name}.{_HINTS.get(name, '')}"
