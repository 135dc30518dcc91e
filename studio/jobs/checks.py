"""What a job must be to be accepted, and when two submissions mean the same job."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from studio.core.errors import InvalidInput
from studio.jobs.devices import Devices
from studio.jobs.records import JobSpec, Slot

#: What a job's priority may be.
PRIORITIES = range(-1000, 1001)

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def accept(
    spec: JobSpec, job_id: str | None, devices: Devices, awaited: Callable[[str], tuple[str, ...]]
) -> None:
    """Refuse what cannot run.

    Args:
        spec: What was submitted.
        job_id: The caller's own id, if there is one.
        devices: The GPUs of this studio.
        awaited: The subjects that the waiting jobs of a subject wait for.

    Raises:
        InvalidInput: It says what is wrong.
    """
    # The id names a directory.
    if job_id is not None and not _ID.fullmatch(job_id):
        raise InvalidInput(f"{job_id!r} cannot be the id of a job.", "Use up to 64 letters, digits, _ and -.")
    if not all(part.isidentifier() for part in spec.module.split(".")):
        raise InvalidInput(f"{spec.module!r} is not the name of a module.")
    for name, value in spec.environment.items():
        if not name or "=" in name or "\0" in name + value:
            raise InvalidInput(f"{name!r} cannot be set in the environment of a job.")
    if spec.priority not in PRIORITIES:
        raise InvalidInput(f"{spec.priority} is no priority.", "Use a whole number from -1000 to 1000.")
    try:
        _canonical(spec)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"The payload of a {spec.kind} job cannot be written as JSON: {error}.") from error
    _accept_devices(spec, devices)
    _accept_order(spec, awaited)


def same(stored: JobSpec | None, spec: JobSpec) -> bool:
    """Whether what was submitted under an id is submitted again.

    Priority and expected memory may differ: the one is changed while the job waits, the other is an
    estimate that the next run improves.
    """
    return stored is not None and _canonical(stored) == _canonical(spec)


def _accept_devices(spec: JobSpec, devices: Devices) -> None:
    if (
        min(spec.devices, default=0) < 0
        or len(set(spec.devices)) < len(spec.devices)
        or spec.device_count < 0
    ):
        raise InvalidInput("The GPUs of a job are different numbers from 0 on.", "Correct the list.")
    chosen = bool(spec.devices) or spec.device_count > 1
    if spec.slot is not Slot.TRAINING or not chosen or not devices.all():
        return
    there = devices.all()
    absent = [str(one) for one in spec.devices if one not in there]
    if absent or spec.device_count > len(there):
        asked = f"GPU {', '.join(absent)}" if absent else f"{spec.device_count} GPUs"
        has = ", ".join(str(one) for one in there)
        raise InvalidInput(
            f"The job asks for {asked}; this studio may use GPU {has}.", "Choose among these, or none."
        )


def _accept_order(spec: JobSpec, awaited: Callable[[str], tuple[str, ...]]) -> None:
    """Nothing may wait for itself, be it through others."""
    seen: set[str] = set()
    open_ends = list(spec.after)
    while open_ends:
        subject = open_ends.pop()
        if subject == spec.subject:
            raise InvalidInput(
                f"{spec.subject} would wait for itself.",
                "Leave out one of the runs that it is to come after.",
            )
        if subject not in seen:
            seen.add(subject)
            open_ends += awaited(subject)


def _canonical(spec: JobSpec) -> str:
    order = (spec.after, spec.after_any, spec.devices, spec.device_count)
    parts = (spec.kind, spec.module, spec.subject, spec.slot, spec.payload, spec.environment, *order)
    return json.dumps(parts, sort_keys=True)
