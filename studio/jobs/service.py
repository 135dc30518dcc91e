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
from pathlib import Path

from studio.core.actors import EVERYONE, Actor, Role, require
from studio.core.audit import Audit
from studio.core.clock import now
from studio.core.database import Database
from studio.core.errors import Conflict, InvalidInput, NotFound
from studio.core.ids import new_id
from studio.core.lineage import Node
from studio.jobs import directory as files
from studio.jobs.identity import from_record
from studio.jobs.launchers import Launcher
from studio.jobs.launchers.local import LocalLauncher
from studio.jobs.logs import read_log
from studio.jobs.reconcile import Reconciler, this_process
from studio.jobs.records import Job, JobSpec, JobState, LogChunk, Progress
from studio.jobs.store import JobStore, OpenJob

_WAIT_SECONDS = 0.05
_LOG_LIMIT = 1 << 20
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class JobService:
    """A durable queue of supervised subprocesses.

    Args:
        database: Where the rows lie.
        home: The studio's home; jobs get directories under ``home/jobs``.
        audit: Where submissions and stops are recorded.
        training_slots: How many jobs of the training slot run at once.
        stop_grace_seconds: How long a job may take to save after it was asked to stop.
        launcher: What starts supervisors.
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
    ) -> None:
        self._audit = audit
        self._store = JobStore(database, home / "jobs")
        self._reconciler = Reconciler(
            self._store, launcher or LocalLauncher(), training_slots, stop_grace_seconds
        )
        self._hides: Callable[[Actor, Job], bool] = _hides_nothing
        self._receiver = json.dumps({**this_process().record(), "service": secrets.token_hex(8)})

    def hide_when(self, hides: Callable[[Actor, Job], bool]) -> None:
        """From now on, a job for which ``hides`` is true is not there for that actor.

        This room does not know what its jobs work for; whoever wires the studio does.
        """
        self._hides = hides

    def submit(self, actor: Actor, spec: JobSpec, *, job_id: str | None = None) -> Job:
        """Queue a job; when this returns it is on disk, and the next ``tick`` may start it.

        Args:
            actor: Who asks.
            spec: What to run; payload and environment are stored as they are, so they hold no secrets.
            job_id: The caller's own id; the same id with the same spec again returns the same job.

        Raises:
            InvalidInput: The id, the module or the payload cannot be used.
            Conflict: The id belongs to another job.
        """
        require(actor, Role.RESEARCHER)
        _check(spec, job_id)
        chosen = job_id or new_id("job")
        if self._store.add(chosen, secrets.token_hex(16), spec, now()):
            self._audit.record(actor, "submitted", Node("job", chosen), f"{spec.kind} for {spec.subject}")
        elif _canonical(self._store.spec(chosen)) != _canonical(spec):
            raise Conflict(f"There is another job with the id {chosen}.", "Choose another id.")
        return self._known(chosen)

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


def _check(spec: JobSpec, job_id: str | None) -> None:
    # The id names a directory.
    if job_id is not None and not _ID.fullmatch(job_id):
        raise InvalidInput(f"{job_id!r} cannot be the id of a job.", "Use up to 64 letters, digits, _ and -.")
    if not all(part.isidentifier() for part in spec.module.split(".")):
        raise InvalidInput(f"{spec.module!r} is not the name of a module.")
    for name, value in spec.environment.items():
        if not name or "=" in name or "\0" in name + value:
            raise InvalidInput(f"{name!r} cannot be set in the environment of a job.")
    try:
        _canonical(spec)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"The payload of a {spec.kind} job cannot be written as JSON: {error}.") from error


def _canonical(spec: JobSpec | None) -> str:
    if spec is None:
        return ""
    parts = (spec.kind, spec.module, spec.subject, spec.slot, spec.payload, spec.environment)
    return json.dumps(parts, sort_keys=True)
