"""The chat gives way to training when memory asks, and says to whom.

A job that says how much memory it needs is held back while less is free and a model server could end:
idle ones end first, then busy ones when they have written their answers. It is not held for ever: it
starts when no server is left, and after ten minutes in any case. While such a job lives, a model server
starts only where both fit.

How much a job still needs is what it was expected to need less what its processes hold already, so a
studio that was started anew knows as much as the one before. All numbers are estimates: this keeps a chat
from ending a training run by accident, it does not make memory certain. On GPUs only the devices' own
free memory is looked at; that part was never run on one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from studio.core.actors import SYSTEM, Actor, Role
from studio.core.errors import NotFound
from studio.jobs import Job, JobService, JobSpec, JobState, LiveJob, Slot
from studio.jobs.devices import Devices, free_memory
from studio.serving import ServingService
from studio.training import TrainingService

#: Seconds after which a job starts even though some model server has not ended.
PATIENCE_SECONDS = 600.0

# Python, torch and a small cache beside the weights.
_ENGINE_BYTES = 600_000_000
_WEIGHTS = "*.safetensors"
_NOBODY = Actor("somebody", Role.STAKEHOLDER)


class GivingWay:
    """Wires the memory of jobs to the model servers; see the module.

    Args:
        jobs: Tells what runs, and asks ``hold``.
        serving: Ends model servers, and asks ``refuses``.
        training: Knows the names of runs.
        devices: The GPUs of this studio.
        free: Tells how many bytes of main memory are free.
    """

    def __init__(
        self,
        jobs: JobService,
        serving: ServingService,
        training: TrainingService,
        devices: Devices,
        free: Callable[[], int] = free_memory,
    ) -> None:
        self._jobs = jobs
        self._serving = serving
        self._training = training
        self._devices = devices
        self._free = free
        self._asked_at: dict[str, float] = {}
        self._lock = threading.Lock()
        self._needy: set[str] = set()

    def hold(self, job: Job, spec: JobSpec) -> str:
        """What a job whose turn it is waits for; empty where it may start."""
        if spec.memory_bytes <= 0 or self._fits(job, spec):
            return ""
        began = self._asked_at.setdefault(job.id, time.monotonic())
        if time.monotonic() - began > PATIENCE_SECONDS:
            return ""
        awaited = self._serving.give_way(SYSTEM, self._name(job))
        if not awaited:
            return ""
        self._note(job)
        return f"Waits for memory, which {awaited}"

    def refuses(self, base_path: Path) -> str:
        """Who needs the memory that serving the model in ``base_path`` would take; empty for nobody."""
        expecting = [live for live in self._jobs.live(SYSTEM) if live.memory_bytes > 0]
        if not expecting:
            return ""
        wanted = _ENGINE_BYTES + sum(path.stat().st_size for path in base_path.glob(_WEIGHTS))
        on_device = [live for live in expecting if live.job.devices]
        in_way = self._beside(on_device, wanted) if self._devices.all() else None
        if in_way is None and not self._devices.all() and self._left(expecting) < wanted:
            in_way = max(expecting, key=lambda live: live.memory_bytes)
        if in_way is None:
            return ""
        self._note(in_way.job)
        return self._name(in_way.job)

    def tick(self) -> None:
        """Let the model servers be when whoever they gave way to has started, and forget it when it ended."""
        with self._lock:
            needy = tuple(self._needy)
        if not needy:
            return
        states = {job_id: self._state(job_id) for job_id in needy}
        if any(state is JobState.QUEUED for state in states.values()):
            return
        over = {job_id for job_id, state in states.items() if state is None or state.final}
        with self._lock:
            self._needy -= over
        for job_id in over:
            self._asked_at.pop(job_id, None)
        if over == set(needy):
            self._serving.take_back(SYSTEM)
        else:
            self._serving.keep(SYSTEM)

    def _note(self, job: Job) -> None:
        with self._lock:
            self._needy.add(job.id)

    def _fits(self, job: Job, spec: JobSpec) -> bool:
        if spec.slot is Slot.TRAINING and self._devices.all() and (spec.devices or spec.device_count):
            return self._fits_devices(job, spec)
        live = [one for one in self._jobs.live(SYSTEM) if one.job.id != job.id]
        return self._left(live) >= spec.memory_bytes

    def _fits_devices(self, job: Job, spec: JobSpec) -> bool:
        """Whether each device that it would get has enough; ``memory_bytes`` is for one device."""
        memory = self._devices.memory()
        taken = {one for live in self._jobs.live(SYSTEM) for one in live.job.devices if live.job.id != job.id}
        among = spec.devices or tuple(index for index in memory if index not in taken)
        free = sorted((memory[index].free_bytes for index in among if index in memory), reverse=True)
        wanted = len(spec.devices) or spec.device_count
        # Where the library tells nothing, nothing can be waited for.
        return len(free) < wanted or free[wanted - 1] >= spec.memory_bytes

    def _left(self, live: Sequence[LiveJob]) -> int:
        """Free main memory, without what live jobs have yet to take."""
        due = sum(
            max(0, one.memory_bytes - _held(one.job.pid))
            for one in live
            if one.memory_bytes > 0 and not one.job.devices
        )
        return self._free() - due

    def _beside(self, live: Sequence[LiveJob], wanted: int) -> LiveJob | None:
        """The job that a model server on the first GPU would not fit beside."""
        first = min(self._devices.all())
        memory = self._devices.memory().get(first)
        for one in live:
            if first in one.job.devices and memory and memory.total_bytes - one.memory_bytes < wanted:
                return one
        return None

    def _name(self, job: Job) -> str:
        """How everybody may hear of a job: by its run's name, unless that is private."""
        if job.kind != "training":
            return "a job"
        with suppress(NotFound):
            if not self._training.hides(_NOBODY, job.subject):
                return f"the run “{self._training.get(SYSTEM, job.subject).name}”"
        return "a training run"

    def _state(self, job_id: str) -> JobState | None:
        try:
            return self._jobs.get(SYSTEM, job_id).state
        except NotFound:
            return None


def _held(pid: int | None) -> int:
    """Bytes of main memory that a process and its descendants hold."""
    if pid is None:
        return 0
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += int(one.memory_info().rss)
    return total
