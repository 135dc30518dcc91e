"""Which process is meant: a pid alone may belong to someone else tomorrow.

A process is known by pid, start time in clock ticks since boot (field 22 of ``/proc/<pid>/stat``) and
boot id; the three together never come twice. The processes of a job are known by its token, which its
child hands down in the environment. A signal goes only to a process that was recognised, through a pidfd
that was opened before it was recognised, so it cannot reach a later owner of the number.

It needs Linux. It does not see processes of another pid namespace, so all processes that share one home
belong on one machine in one container; nor does it find a descendant that left its group *and* threw the
token out of its environment.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOKEN_VARIABLE = "STUDIO_JOB_TOKEN"  # noqa: S105  the name of a variable, not a secret

_PROC = Path("/proc")


@dataclass(frozen=True)
class Identity:
    """One process of one boot of this machine; ``start_ticks`` counts from that boot."""

    pid: int
    start_ticks: int
    boot_id: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        stat = self._stat()
        return stat is not None and not stat.ended

    @property
    def holds_number(self) -> bool:
        """Whether the pid is still this process's, alive or as a zombie, so that nobody else has it."""
        return self._stat() is not None

    def record(self) -> dict[str, Any]:
        """The identity as JSON can hold it."""
        return {"pid": self.pid, "start_ticks": self.start_ticks, "boot_id": self.boot_id}

    def _stat(self) -> _Stat | None:
        stat = _stat(self.pid)
        if stat is None or stat.start_ticks != self.start_ticks or self.boot_id != boot_id():
            return None
        return stat


@dataclass(frozen=True)
class _Stat:
    """What of ``/proc/<pid>/stat`` matters here."""

    state: str
    group: int
    start_ticks: int

    @property
    def ended(self) -> bool:
        return self.state in "ZX"


def boot_id() -> str:
    """The random id that the kernel drew at boot."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> Identity | None:
    """The identity of the process that has this pid now (a zombie has one too), or None."""
    stat = _stat(pid)
    return None if stat is None else Identity(pid, stat.start_ticks, boot_id())


def from_record(record: dict[str, Any] | None) -> Identity | None:
    """The identity that ``Identity.record`` wrote, or None where it is missing or damaged."""
    if record is None:
        return None
    try:
        return Identity(int(record["pid"]), int(record["start_ticks"]), str(record["boot_id"]))
    except (KeyError, TypeError, ValueError):
        return None


def members(leader: Identity | None, token: str) -> tuple[int, ...]:
    """The pids of a job's living processes.

    They are those which carry the token, and their process groups. The leader's group counts while the
    leader still holds its number, be it as a zombie. A group that merely has the same number is left
    alone, and so is one that a marked process joined but someone else leads.
    """
    stats = {pid: stat for pid in _pids() if (stat := _stat(pid)) is not None and not stat.ended}
    marked = {pid for pid in stats if _carries(pid, token)}
    groups = {stats[pid].group for pid in marked}
    ours = {group for group in groups if group in marked or group not in stats}
    if leader is not None and leader.holds_number:
        ours.add(leader.pid)
    return tuple(sorted(marked | {pid for pid, stat in stats.items() if stat.group in ours}))


def signal_members(leader: Identity | None, token: str, number: signal.Signals) -> int:
    """Send a signal to each living process of a job; returns how many there were."""
    with ExitStack() as stack:
        held = {pid: _hold(pid, stack) for pid in members(leader, token)}
        # Recognised again now that the numbers are held: what was reused in between is not among them.
        recognised = members(leader, token)
        for pid in recognised:
            descriptor = held.get(pid)
            if descriptor is not None:
                with suppress(ProcessLookupError):  # It ended by itself, which is what was wanted.
                    signal.pidfd_send_signal(descriptor, number)
    return len(recognised)


def _hold(pid: int, stack: ExitStack) -> int | None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    stack.callback(os.close, descriptor)
    return descriptor


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the command in parentheses and may itself hold spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return _Stat(state=fields[0], group=int(fields[2]), start_ticks=int(fields[19]))


def _carries(pid: int, token: str) -> bool:
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False  # Gone, or someone else's: not ours either way.
    return f"{TOKEN_VARIABLE}={token}".encode() in environment.split(b"\0")
