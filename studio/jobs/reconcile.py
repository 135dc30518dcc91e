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
from collections.abc import Callable
from functools import partial

from studio.core.clock import now
from studio.jobs import directory as files
from studio.jobs.devices import Devices
from studio.jobs.identity import Identity, from_record, identify, signal_members
from studio.jobs.launchers import Launcher
from studio.jobs.logs import last_lines
from studio.jobs.outcome import lost, recorded, withdraw, withdrawn
from studio.jobs.queue_store import QueueStore, Standing
from studio.jobs.records import Job, JobSpec, JobState, Slot
from studio.jobs.store import JobStore, OpenJob
from studio.jobs.turns import Resources, Turn, each_turn, line_up

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
        self,
        store: JobStore,
        queue: QueueStore,
        launcher: Launcher,
        devices: Devices,
        training_slots: int,
        grace_seconds: float,
        stall_seconds: float = 0.0,
    ) -> None:
        self._store = store
        self._queue = queue
        self._launcher = launcher
        self._devices = devices
        self._slots = training_slots
        self._grace = grace_seconds
        self._stall = stall_seconds
        self._hold: Callable[[Job, JobSpec], str] | None = None
        self._judge: Callable[[str], JobState | None] | None = None
        self._held: dict[str, str] = {}
        self._me = this_process()

    def hold_when(self, holds: Callable[[Job, JobSpec], str]) -> None:
        """From now on, a job waits while ``holds`` says what for."""
        self._hold = holds

    def judge_when(self, judges: Callable[[str], JobState | None]) -> None:
        """From now on, a subject has come to what ``judges`` says; None leaves it to its newest job."""
        self._judge = judges

    def advance(self) -> None:
        """See how the live jobs are, then start what is queued and due."""
        found = self._store.unsettled()
        ended = False
        for one in found:
            if one.job.state is not JobState.QUEUED and not one.job.state.final:
                # One job's unreadable directory must not keep the others from moving.
                try:
                    ended |= self._reconcile(one)
                except OSError as error:
                    _LOG.warning("job %s could not be looked after: %s", one.job.id, error)
        # Four times a second: where nothing waits or nothing ended, it reads no more than this.
        if any(one.job.state is JobState.QUEUED for one in found):
            self._pump(self._store.unsettled() if ended else found)

    def turns(self, found: tuple[OpenJob, ...]) -> list[Turn]:
        """What each waiting job waits for; starts nothing and asks nobody."""
        return line_up(
            found,
            self._resources(found),
            self._standing,
            hold=lambda one: self._held.get(one.job.id, ""),
        )

    def _pump(self, found: tuple[OpenJob, ...]) -> None:
        held: dict[str, str] = {}
        # One by one: the memory that a job was just given is not there for the next one.
        turns = each_turn(
            found,
            self._resources(found),
            self._standing,
            prefer=self._devices.emptiest,
            hold=partial(self._ask, held),
        )
        for turn in turns:
            if not turn.ready:
                continue
            # Two of these may look at once, in threads or processes: the claim itself settles who gets what.
            claimed = self._store.claim(turn.found, self._slots, turn.devices, self._me, now())
            if claimed is not None:
                self._spawn(claimed)
        if held != self._held:
            _LOG.info("held back: %s", "; ".join(held.values()) or "nothing any more")
        self._held = held

    def _standing(self, subject: str) -> Standing | None:
        state = self._judge(subject) if self._judge is not None else None
        return self._queue.standing(subject) if state is None else Standing(state, settled=True)

    def _resources(self, found: tuple[OpenJob, ...]) -> Resources:
        # Nobody looks for GPUs in a studio that never trains.
        trains = any(one.job.slot is Slot.TRAINING for one in found)
        return Resources(self._slots, self._devices.all() if trains else ())

    def _ask(self, noted: dict[str, str], found: OpenJob) -> str:
        """What a job that could start waits for all the same, which is ``noted``; empty for nothing."""
        spec = self._store.spec(found.job.id) if self._hold is not None else None
        if self._hold is None or spec is None:
            return ""
        try:
            held = self._hold(found.job, spec)
        except Exception:
            # A fault there must not keep every job from starting.
            _LOG.exception("whether job %s should wait could not be told", found.job.id)
            return ""
        if held:
            noted[found.job.id] = held
        return held

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
                "environment": {**spec.environment, **self._shown(found)},
                "stop_grace_seconds": self._grace,
                "stall_seconds": self._stall if found.job.slot is Slot.TRAINING else 0.0,
            }
            files.write(directory / files.SPEC, wanted)
            self._launcher.launch(directory)
        except OSError as error:
            # The row says STARTING and no claim appears: it is tried again like any spawn that was lost.
            _LOG.warning("job %s could not be started yet: %s", found.job.id, error)

    def _shown(self, found: OpenJob) -> dict[str, str]:
        """The devices that a job sees; light jobs see what the studio itself sees."""
        training = found.job.slot is Slot.TRAINING
        return self._devices.environment(found.job.devices) if training else {}

    def _reconcile(self, found: OpenJob) -> bool:
        """Look after a live job; whether it may have ended."""
        directory = found.job.directory
        claim = files.read(directory / files.SUPERVISOR)
        if claim is None and found.job.pid is None:
            self._revive(found)
            return False
        outcome = recorded(directory, found.token) or withdrawn(claim or {})
        if outcome is not None:
            return self._store.finish(found, outcome)
        supervisor = from_record(claim)
        if supervisor is None or not supervisor.alive:
            return self._bury(found)
        self._follow(found)
        return False

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

    def _bury(self, found: OpenJob) -> bool:
        """The supervisor is gone: end what it left, and say LOST when a later look finds nothing."""
        directory = found.job.directory
        child = from_record(files.read(directory / files.CHILD))
        if signal_members(child, found.token, signal.SIGKILL):
            return False
        # It may have written its record and ended between the first look and the second.
        return self._store.finish(found, recorded(directory, found.token) or lost(directory))


def _would_not_start(found: OpenJob) -> str:
    said = last_lines(found.job.directory / files.SUPERVISOR_LOG)
    why = f" It said:\n{said}" if said else ""
    return f"Its supervisor did not start in {found.attempts} attempts.{why}"
