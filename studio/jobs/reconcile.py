"""Brings the rows of jobs into line with what their processes did, and starts what is due.

The invariants: a job is spawned only by whoever moved its row out of ``queued``; it has at most one child,
because supervisors settle that by an exclusive claim; it becomes final only by an exit record, or as LOST
when its supervisor and all its processes are gone. Every step can be cut short by a crash and is taken up
by the next call, in this process or another.
"""

from __future__ import annotations

import logging
import os
import signal

from studio.core.clock import now
from studio.jobs import directory as files
from studio.jobs.identity import Identity, from_record, identify, signal_members
from studio.jobs.launchers import Launcher
from studio.jobs.logs import last_lines
from studio.jobs.outcome import lost, recorded, withdraw, withdrawn
from studio.jobs.records import JobState, Slot
from studio.jobs.store import JobStore, OpenJob

_LOG = logging.getLogger(__name__)

#: Seconds after which a supervisor that did not claim its job is given up; it takes 0.1 on a quiet machine.
CLAIM_SECONDS = 10.0
_ATTEMPTS = 3


def this_process() -> Identity:
    """The identity of the process that asks."""
    found = identify(os.getpid())
    if found is None:
        raise OSError("/proc is not mounted, and the studio knows its processes by it")
    return found


class Reconciler:
    """One pass over the open jobs at a time; safe to run in several threads and processes at once."""

    def __init__(
        self, store: JobStore, launcher: Launcher, training_slots: int, grace_seconds: float
    ) -> None:
        self._store = store
        self._launcher = launcher
        self._slots = training_slots
        self._grace = grace_seconds
        self._me = this_process()

    def advance(self) -> None:
        """See how the live jobs are, then start what is queued and due."""
        for found in self._store.unsettled():
            if found.job.state is not JobState.QUEUED and not found.job.state.final:
                # One job's unreadable directory must not keep the others from moving.
                try:
                    self._reconcile(found)
                except OSError as error:
                    _LOG.warning("job %s could not be looked after: %s", found.job.id, error)
        self._pump()

    def _pump(self) -> None:
        found = self._store.unsettled()
        busy = sum(_takes_slot(one) for one in found)
        for one in found:
            if one.job.state is not JobState.QUEUED:
                continue
            training = one.job.slot is Slot.TRAINING
            # Only a hint that saves a transaction; the claim itself counts again.
            if training and busy >= self._slots:
                continue
            claimed = self._store.claim(one, self._slots, self._me, now())
            if claimed is not None:
                busy += training
                self._spawn(claimed)

    def _spawn(self, found: OpenJob) -> None:
        directory = found.job.directory
        spec = self._store.spec(found.job.id)
        if spec is None:
            return
        try:
            directory.mkdir(parents=True, exist_ok=True)
            files.write(directory / files.PAYLOAD, spec.payload)
            wanted = {
                "token": found.token,
                "module": spec.module,
                "environment": spec.environment,
                "stop_grace_seconds": self._grace,
            }
            files.write(directory / files.SPEC, wanted)
            self._launcher.launch(directory)
        except OSError as error:
            # The row says STARTING and no claim appears: it is tried again like any spawn that was lost.
            _LOG.warning("job %s could not be started yet: %s", found.job.id, error)

    def _reconcile(self, found: OpenJob) -> None:
        directory = found.job.directory
        claim = files.read(directory / files.SUPERVISOR)
        if claim is None and found.job.pid is None:
            self._revive(found)
            return
        outcome = recorded(directory, found.token) or withdrawn(claim or {})
        if outcome is not None:
            self._store.finish(found, outcome)
            return
        supervisor = from_record(claim)
        if supervisor is not None and supervisor.alive:
            self._follow(found)
        else:
            self._bury(found)

    def _revive(self, found: OpenJob) -> None:
        """Nobody has claimed the job yet: wait, or start another supervisor, or give up."""
        directory = found.job.directory
        if found.job.state is JobState.STOPPING:
            directory.mkdir(parents=True, exist_ok=True)
            withdraw(directory, JobState.STOPPED, "Stopped before it started.")
            return
        spawner_lives = found.spawner is not None and found.spawner.alive
        if spawner_lives and now() - found.spawned_at < CLAIM_SECONDS:
            return
        if found.attempts >= _ATTEMPTS:
            directory.mkdir(parents=True, exist_ok=True)
            withdraw(directory, JobState.FAILED, _would_not_start(found))
            return
        claimed = self._store.claim_again(found, self._me, now())
        if claimed is not None:
            self._spawn(claimed)

    def _follow(self, found: OpenJob) -> None:
        """The supervisor lives: note its child, and repeat a stop whose file was not written."""
        directory = found.job.directory
        if found.job.state is JobState.STOPPING:
            (directory / files.STOP).touch()
        if found.job.pid is None:
            child = files.read(directory / files.CHILD)
            if child is not None:
                self._store.started(found, child["pid"], child["at"])

    def _bury(self, found: OpenJob) -> None:
        """The supervisor is gone: end what it left, and say LOST when a later look finds nothing."""
        directory = found.job.directory
        child = from_record(files.read(directory / files.CHILD))
        if signal_members(child, found.token, signal.SIGKILL):
            return
        # It may have written its record and ended between the first look and the second.
        self._store.finish(found, recorded(directory, found.token) or lost(directory))


def _takes_slot(found: OpenJob) -> bool:
    live = found.job.state is not JobState.QUEUED and not found.job.state.final
    return live and found.job.slot is Slot.TRAINING


def _would_not_start(found: OpenJob) -> str:
    said = last_lines(found.job.directory / files.SUPERVISOR_LOG)
    why = f" It said:\n{said}" if said else ""
    return f"Its supervisor did not start in {found.attempts} attempts.{why}"
