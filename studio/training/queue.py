"""The queue as researchers see it: which runs wait, in what order, and what each waits for.

The order itself is the job room's, and places count everybody's jobs. What stands here is the way from
runs to their jobs and back; a run that is hidden from somebody is never named to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from studio.core import Actor, Conflict, Node, StudioError
from studio.jobs import JobState, Slot
from studio.training.desk import KIND, RunDesk
from studio.training.records import QueuedRun
from studio.training.store import Entry

_RUN_ID = re.compile(r"run_[0-9a-z]+")


class RunQueue:
    """Shows and changes the order of the runs that wait."""

    def __init__(self, desk: RunDesk) -> None:
        self._desk = desk

    def waiting(self, actor: Actor) -> tuple[QueuedRun, ...]:
        """The runs that wait and that the actor may see, the next one first."""
        queued = [one for one in self._desk.jobs.queue(actor, Slot.TRAINING) if one.job.kind == KIND]
        entries = {one.job.id: self._desk.store.get(one.job.subject) for one in queued}
        seen = {entry.id for entry in self._desk.seen(actor, (e for e in entries.values() if e))}
        found = []
        for one in queued:
            entry = entries[one.job.id]
            if entry is not None and entry.id in seen and entry.job_id == one.job.id:
                waits_for = self._words(actor, one.waits_for)
                run = self._desk.shown(actor, self._desk.run(entry))[0]
                found.append(QueuedRun(run, one.place, waits_for))
        return tuple(found)

    def move(self, actor: Actor, run_id: str, before: str | None) -> None:
        """Put a waiting run before another one, or at the end (None).

        Raises:
            NotFound: There is no such run.
            Conflict: One of them does not wait.
        """
        entry = self._waiting(actor, run_id)
        other = self._waiting(actor, before) if before is not None else None
        self._desk.jobs.move(actor, entry.job_id, other.job_id if other else None)
        where = f"before {other.id}" if other else "to the end"
        self._desk.audit.record(actor, "moved", Node("run", run_id), where)
        job = self._desk.job(entry)
        if job is not None:
            self._desk.store.prioritise(run_id, job.priority)

    def prioritise(self, actor: Actor, run_id: str, priority: int) -> None:
        """Give a waiting run another priority; higher ones go first.

        Raises:
            NotFound: There is no such run.
            Conflict: It does not wait.
            InvalidInput: The priority is out of range.
        """
        entry = self._waiting(actor, run_id)
        self._desk.jobs.prioritise(actor, entry.job_id, priority)
        self._desk.store.prioritise(run_id, priority)
        self._desk.audit.record(actor, "prioritised", Node("run", run_id), str(priority))

    def check_after(self, actor: Actor, runs: Iterable[str]) -> list[str]:
        """What is wrong with the runs that another one is to wait for, a line each."""
        errors = []
        for run_id in runs:
            try:
                self._desk.known(actor, run_id)
            except StudioError as error:
                errors.append(f"after: {error.message} {error.todo}")
        return errors

    def _waiting(self, actor: Actor, run_id: str) -> Entry:
        entry = self._desk.known(actor, run_id)
        state = self._desk.run(entry).state
        if state is not JobState.QUEUED:
            raise Conflict(f"{entry.name} is {state.value} and does not wait.", "Look at the queue again.")
        if self._desk.job(entry) is None:
            self._desk.submit(entry)
        return entry

    def _words(self, actor: Actor, said: str) -> str:
        """What a run waits for, with names in place of ids; a hidden run is only "another run"."""
        ids = set(_RUN_ID.findall(said))
        entries = [entry for run_id in ids if (entry := self._desk.store.get(run_id)) is not None]
        names = {entry.id: entry.name for entry in self._desk.seen(actor, entries)}
        known = {entry.id: names.get(entry.id, "another run") for entry in entries}
        return _RUN_ID.sub(lambda found: known.get(found.group(), found.group()), said)
