"""The job room's service: submit, look, stop, and the clock that moves everything on.

It holds no state of its own that matters: rows and directories are the truth, so it can be killed and
opened again at any moment, and several processes can each have one on the same home.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from studio.core.actors import EVERYONE, Actor, Role, require
from studio.core.audit import Audit
from studio.core.clock import now
from studio.core.database import Database
from studio.core.errors import Conflict, InvalidInput, NotFound
from studio.core.ids import new_id
from studio.core.lineage import Node
from studio.jobs import directory as files
from studio.jobs.checks import PRIORITIES, accept, same
from studio.jobs.devices import NONE, Devices
from studio.jobs.identity import from_record
from studio.jobs.launchers import Launcher
from studio.jobs.launchers.local import LocalLauncher
from studio.jobs.logs import read_log
from studio.jobs.queue_store import QueueStore
from studio.jobs.reconcile import Reconciler, this_process
from studio.jobs.records import Job, JobSpec, JobState, LiveJob, LogChunk, Progress, QueuedJob, Slot
from studio.jobs.store import JobStore, OpenJob
from studio.jobs.turns import Turn

_WAIT_SECONDS = 0.05
_LOG_LIMIT = 1 << 20


class JobService:
    """A durable queue of supervised subprocesses.

    Args:
        database: Where the rows lie.
        home: The studio's home; jobs get directories under ``home/jobs``.
        audit: Where submissions and stops are recorded.
        training_slots: How many jobs of the training slot run at once where there are no GPUs.
        stop_grace_seconds: How long a job may take to save after it was asked to stop.
        launcher: What starts supervisors.
        devices: The GPUs that training jobs may have; without it none.
        stall_seconds: A training job that says nothing for so long is ended; 0 waits for ever.
    """

    def __init__(
        self,
        database: Database,
        home: Path,
        audit: Audit,
        *,
        training_slots: int,
        stop_grace_seconds: float,
        launcher: Launcher | None = None,
        devices: Devices | None = None,
        stall_seconds: float = 0.0,
    ) -> None:
        self._audit = audit
        self._store = JobStore(database, home / "jobs")
        self._queue = QueueStore(database)
        self._devices = devices or Devices(NONE)
        self._reconciler = Reconciler(
            self._store,
            self._queue,
            launcher or LocalLauncher(),
            self._devices,
            training_slots,
            stop_grace_seconds,
            stall_seconds,
        )
        self._hides: Callable[[Actor, Job], bool] = _hides_nothing
        self._receiver = json.dumps({**this_process().record(), "service": secrets.token_hex(8)})

    def hide_when(self, hides: Callable[[Actor, Job], bool]) -> None:
        """From now on, a job for which ``hides`` is true is not there for that actor.

        This room does not know what its jobs work for; whoever wires the studio does.
        """
        self._hides = hides

    def hold_when(self, holds: Callable[[Job, JobSpec], str]) -> None:
        """From now on, a job whose turn it is waits while ``holds`` gives it a ``QueuedJob.waits_for``.

        It is asked at every tick about each job that could start, and must let every job go in the end.
        """
        self._reconciler.hold_when(holds)

    def judge_when(self, judges: Callable[[str], JobState | None]) -> None:
        """From now on, a subject that jobs wait for has come to what ``judges`` says.

        Where that is None, its newest job tells. The room that a job works for may do more at its end than
        the job did, and fail at that.
        """
        self._reconciler.judge_when(judges)

    def submit(self, actor: Actor, spec: JobSpec, *, job_id: str | None = None) -> Job:
        """Queue a job; when this returns it is on disk, and the next ``tick`` may start it.

        Args:
            actor: Who asks.
            spec: What to run; payload and environment are stored as they are, so they hold no secrets.
            job_id: The caller's own id; the same id with the same spec again returns the same job.

        Raises:
            InvalidInput: The id, the module, the payload or the devices cannot be used, or the job would
                wait for itself.
            Conflict: The id belongs to another job.
        """
        require(actor, Role.RESEARCHER)
        accept(spec, job_id, self._devices, self._queue.awaited)
        chosen = job_id or new_id("job")
        if self._store.add(chosen, secrets.token_hex(16), spec, now()):
            self._audit.record(actor, "submitted", Node("job", chosen), f"{spec.kind} for {spec.subject}")
        elif not same(self._store.spec(chosen), spec):
            raise Conflict(f"There is another job with the id {chosen}.", "Choose another id.")
        return self._known(chosen)

    def check(self, actor: Actor, spec: JobSpec) -> None:
        """Refuse what ``submit`` would refuse.

        Raises:
            InvalidInput: The module, the payload or the devices cannot be used.
        """
        require(actor, Role.RESEARCHER)
        accept(spec, None, self._devices, self._queue.awaited)

    def get(self, actor: Actor, job_id: str) -> Job:
        """The job as it stood at the last tick.

        Raises:
            NotFound: There is no such job.
        """
        require(actor, *EVERYONE)
        return self._seen(actor, job_id)

    def list(self, actor: Actor, kind: str | None = None, limit: int = 100) -> tuple[Job, ...]:
        """The newest jobs first, of one kind or of all; those that the actor may not see are left out."""
        require(actor, Role.RESEARCHER)
        return tuple(job for job in self._store.newest(kind, limit) if not self._hides(actor, job))

    def live(self, actor: Actor) -> tuple[LiveJob, ...]:
        """The jobs whose processes run or are about to, with what they were expected to need."""
        require(actor, Role.RESEARCHER)
        running = (JobState.STARTING, JobState.RUNNING, JobState.STOPPING)
        return tuple(
            LiveJob(one.job, one.memory_bytes)
            for one in self._store.unsettled()
            if one.job.state in running and not self._hides(actor, one.job)
        )

    def queue(self, actor: Actor, slot: Slot = Slot.TRAINING) -> tuple[QueuedJob, ...]:
        """The jobs of a slot that wait, the next one first; those that the actor may not see are left out.

        Places count everybody's jobs.
        """
        require(actor, Role.RESEARCHER)
        hidden: dict[str, bool] = {}
        named = tuple(self._named(actor, one, hidden) for one in self._store.unsettled())
        turns = [turn for turn in self._reconciler.turns(named) if turn.found.job.slot is slot]
        return tuple(
            QueuedJob(turn.found.job, place, self._discreet(actor, turn))
            for place, turn in enumerate(turns, 1)
            if not hidden[turn.found.job.id]
        )

    def move(self, actor: Actor, job_id: str, before: str | None = None) -> Job:
        """Put a job that waits directly before another one, or behind all of them.

        It takes over the priority of the one that it is put beside, or it could not stand there.

        Raises:
            NotFound: There is no such job.
            Conflict: One of them does not wait any more, or they do not wait for the same slot.
        """
        require(actor, Role.RESEARCHER)
        job = self._waiting(actor, job_id)
        if before is not None:
            self._waiting(actor, before)
        if before == job_id:
            return job
        if not self._queue.move(job_id, job.slot, before):
            raise Conflict("These two jobs do not wait in the same queue.", "Look at the queue again.")
        self._audit.record(
            actor, "moved", Node("job", job_id), f"before {before}" if before else "to the end"
        )
        return self._known(job_id)

    def prioritise(self, actor: Actor, job_id: str, priority: int) -> Job:
        """Give a job that waits another priority; higher ones go first.

        Raises:
            NotFound: There is no such job.
            InvalidInput: The priority is not between -1000 and 1000.
            Conflict: The job does not wait any more.
        """
        require(actor, Role.RESEARCHER)
        if priority not in PRIORITIES:
            raise InvalidInput(f"{priority} is no priority.", "Use a whole number from -1000 to 1000.")
        job = self._waiting(actor, job_id)
        if job.priority == priority:
            return job
        if not self._queue.prioritise(job_id, priority):
            raise _not_waiting(self._known(job_id))
        self._audit.record(actor, "prioritised", Node("job", job_id), str(priority))
        return self._known(job_id)

    def request_stop(self, actor: Actor, job_id: str) -> Job:
        """Ask a job to save and end; a queued one is stopped at once, a final one stays as it is.

        Raises:
            NotFound: There is no such job.
        """
        require(actor, Role.RESEARCHER)
        self._seen(actor, job_id)
        if self._store.stop(job_id, now(), "Stopped before it started."):
            self._audit.record(actor, "stopped", Node("job", job_id))
        job = self._known(job_id)
        if job.state is JobState.STOPPING:
            job.directory.mkdir(parents=True, exist_ok=True)
            (job.directory / files.STOP).touch()
        return job

    def log(self, actor: Actor, job_id: str, offset: int = 0, limit: int = 65536) -> LogChunk:
        """What the job wrote from byte ``offset`` on (negative: that many bytes from the end).

        Raises:
            NotFound: There is no such job.
            InvalidInput: ``limit`` is not between 1 byte and 1 MiB.
        """
        require(actor, Role.RESEARCHER)
        if not 1 <= limit <= _LOG_LIMIT:
            raise InvalidInput(f"A log cannot be read {limit} bytes at a time.", "Ask for 1 to 1048576.")
        return read_log(self._seen(actor, job_id).directory / files.LOG, offset, limit)

    def progress(self, actor: Actor, job_id: str) -> Progress | None:
        """How far the job says it is, or None where it has not said anything yet.

        Raises:
            NotFound: There is no such job.
        """
        require(actor, *EVERYONE)
        return _progress(self._seen(actor, job_id).directory)

    def tick(self) -> tuple[Job, ...]:
        """Move every job on; returns those that became final, each to one caller only.

        What ``wait`` saw end is among them. A caller that acts on the end of a job has done so when it
        comes back for the next tick; if its process dies before that, the job is handed to another
        one, so what it does must bear being done twice.
        """
        self._reconciler.advance()
        ended = [found for found in self._store.unsettled() if found.job.state.final]
        if any(found.handed_to == self._receiver for found in ended):
            self._store.settle(self._receiver)
        return tuple(found.job for found in ended if self._take(found))

    def wait(self, actor: Actor, job_id: str, timeout: float) -> Job:
        """Move jobs on until this one is final or ``timeout`` seconds are over; returns it as it stands.

        Raises:
            NotFound: There is no such job.
        """
        require(actor, *EVERYONE)
        self._seen(actor, job_id)
        deadline = time.monotonic() + timeout
        while True:
            self._reconciler.advance()
            job = self._known(job_id)
            if job.state.final or time.monotonic() >= deadline:
                return job
            time.sleep(_WAIT_SECONDS)

    def close(self) -> None:
        """Note that what the last tick returned was acted on; jobs that run go on running."""
        if any(found.handed_to == self._receiver for found in self._store.unsettled()):
            self._store.settle(self._receiver)

    def _take(self, found: OpenJob) -> bool:
        if found.handed_to == self._receiver:
            return False
        holder = from_record(json.loads(found.handed_to or "null"))
        if holder is not None and holder.alive:
            return False
        return self._store.hand_over(found, self._receiver)

    def _named(self, actor: Actor, one: OpenJob, hidden: dict[str, bool]) -> OpenJob:
        """``one`` as the actor may hear of it."""
        hidden[one.job.id] = self._hides(actor, one.job)
        return replace(one, job=replace(one.job, subject="another job")) if hidden[one.job.id] else one

    def _discreet(self, actor: Actor, turn: Turn) -> str:
        """What a job waits for, without the names of subjects that the actor may not hear of."""
        words = turn.waits_for
        for subject in turn.found.after:
            awaited = self._store.newest_of(subject)
            if awaited is not None and self._hides(actor, awaited):
                words = re.sub(rf"\b{re.escape(subject)}\b", "another job", words)
        return words

    def _waiting(self, actor: Actor, job_id: str) -> Job:
        job = self._seen(actor, job_id)
        if job.state is not JobState.QUEUED:
            raise _not_waiting(job)
        return job

    def _seen(self, actor: Actor, job_id: str) -> Job:
        job = self._store.job(job_id)
        if job is None or self._hides(actor, job):
            raise _not_there(job_id)
        return job

    def _known(self, job_id: str) -> Job:
        job = self._store.job(job_id)
        if job is None:
            raise _not_there(job_id)
        return job


def _hides_nothing(actor: Actor, job: Job) -> bool:  # noqa: ARG001
    return False


def _not_there(job_id: str) -> NotFound:
    return NotFound(f"There is no job {job_id}.", "Look it up in the list of jobs.")


def _not_waiting(job: Job) -> Conflict:
    return Conflict(f"The job is {job.state.value}.", "Only a job that still waits has a place in the queue.")


def _progress(directory: Path) -> Progress | None:
    said = files.read(directory / files.PROGRESS)
    if said is None:
        return None
    try:
        eta = said["eta_seconds"]
        return Progress(
            str(said["phase"]),
            float(said["done"]),
            float(said["total"]),
            None if eta is None else float(eta),
        )
    except (KeyError, TypeError, ValueError):
        return None  # A child of another version wrote it; it will write another one.
