"""Whose turn it is: a pure function over the jobs that wait and those that run.

The queue is gone through in its order. A job that waits for another subject takes nothing from those
behind it. One that waits for devices or for a slot keeps what it waits for: what is free of it goes to
nobody behind it, or a large job would wait for ever while small ones pass it. One that is held (for memory)
keeps its devices or its slot; others may start on what is left, so whoever holds has to let go in time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from studio.jobs.queue_store import Standing
from studio.jobs.records import JobState, Slot
from studio.jobs.store import OpenJob

_AT_ONCE = "Starts in a moment"


@dataclass(frozen=True)
class Resources:
    """What training jobs share: these GPUs, or without any (and for jobs that want none) CPU slots."""

    slots: int
    devices: tuple[int, ...] = ()


@dataclass(frozen=True)
class Turn:
    """A waiting job; where ``ready`` it may start now on ``devices``, else ``waits_for`` says why not."""

    found: OpenJob
    ready: bool
    waits_for: str
    devices: tuple[int, ...] = ()


def order(found: Iterable[OpenJob]) -> list[OpenJob]:
    """The jobs that wait, the next one first."""
    waiting = (one for one in found if one.job.state is JobState.QUEUED)
    return sorted(waiting, key=lambda one: (-one.job.priority, one.place))


def line_up(
    found: Sequence[OpenJob],
    resources: Resources,
    standing: Callable[[str], Standing | None],
    *,
    prefer: Callable[[Iterable[int]], tuple[int, ...]] = tuple,
    hold: Callable[[OpenJob], str] = lambda _: "",
) -> list[Turn]:
    """Every waiting job's turn, in the order of the queue.

    Args:
        found: The open jobs.
        resources: What there is in all.
        standing: What the newest job of a subject came to.
        prefer: Orders free devices, the best first.
        hold: Asked about each job that could start; an answer says what it "Waits for" all the same.
    """
    return list(each_turn(found, resources, standing, prefer=prefer, hold=hold))


def each_turn(
    found: Sequence[OpenJob],
    resources: Resources,
    standing: Callable[[str], Standing | None],
    *,
    prefer: Callable[[Iterable[int]], tuple[int, ...]] = tuple,
    hold: Callable[[OpenJob], str] = lambda _: "",
) -> Iterator[Turn]:
    """``line_up`` one by one: a job is asked about when whoever starts them has started those before it."""
    desk = _Desk(found, resources, prefer)
    return (_turn(one, desk, standing, hold) for one in order(found))


def _turn(
    one: OpenJob, desk: _Desk, standing: Callable[[str], Standing | None], hold: Callable[[OpenJob], str]
) -> Turn:
    awaited = [words for name in one.after if (words := _awaited(name, standing(name), one.after_any))]
    if awaited:
        return Turn(one, ready=False, waits_for=f"Waits for {' and for '.join(awaited)}")
    if one.job.slot is not Slot.TRAINING:
        devices: tuple[int, ...] = ()
    else:
        lacking, devices = desk.serve(one)
        if lacking:
            return Turn(one, ready=False, waits_for=f"Waits for {lacking}")
    held = hold(one)
    return Turn(one, not held, held or _AT_ONCE, devices)


def _awaited(name: str, standing: Standing | None, ended_is_enough: bool) -> str:
    """What is still awaited of a subject; empty where nothing is."""
    if standing is None:
        return f"{name}, which was not submitted yet"
    # What a job made is there only when whoever acts on its end has done so.
    if not standing.state.final or not standing.settled:
        return f"{name} to {'end' if ended_is_enough else 'succeed'}"
    if ended_is_enough or standing.state is JobState.SUCCEEDED:
        return ""
    came_to = {JobState.STOPPED: "was stopped", JobState.LOST: "was lost"}.get(standing.state, "failed")
    return f"{name} to succeed: it {came_to}, so start it again or stop this one"


class _Desk:
    """What is left while the queue is gone through."""

    def __init__(
        self,
        found: Sequence[OpenJob],
        resources: Resources,
        prefer: Callable[[Iterable[int]], tuple[int, ...]],
    ) -> None:
        live = [one for one in found if takes_part(one)]
        self._resources = resources
        self._prefer = prefer
        self._holders = {device: f"{one.job.subject} uses" for one in live for device in one.job.devices}
        self._in_slots = [one.job.subject for one in live if not one.job.devices]
        self._kept_slots: list[str] = []

    def serve(self, one: OpenJob) -> tuple[str, tuple[int, ...]]:
        """What ``one`` lacks (empty where nothing), and its devices; either way it keeps what it wants."""
        if not self._resources.devices or not (one.devices or one.device_count):
            return self._slot(one), ()
        if one.devices:
            return self._exact(one)
        return self._any(one)

    def _slot(self, one: OpenJob) -> str:
        lacking = ""
        running, kept = len(self._in_slots), len(self._kept_slots)
        if running + kept >= self._resources.slots:
            lacking = f"its turn after {self._kept_slots[-1]}" if kept else _one_of(self._in_slots)
        self._kept_slots.append(one.job.subject)
        return lacking

    def _exact(self, one: OpenJob) -> tuple[str, tuple[int, ...]]:
        absent = [device for device in one.devices if device not in self._resources.devices]
        if absent:
            return f"GPU {_listed(absent)}, which this studio does not have", ()
        held = [device for device in one.devices if device in self._holders]
        lacking = f"GPU {held[0]}, which {self._holders[held[0]]}" if held else ""
        return lacking, self._keep(one, one.devices)

    def _any(self, one: OpenJob) -> tuple[str, tuple[int, ...]]:
        wanted, there = one.device_count, len(self._resources.devices)
        if wanted > there:
            return f"{wanted} GPUs; this studio has {there}", ()
        free = [device for device in self._resources.devices if device not in self._holders]
        if len(free) >= wanted:
            return "", self._keep(one, self._prefer(free)[:wanted])
        self._keep(one, free)
        return f"{wanted} free GPUs; {len(free)} of {there} are free" if wanted > 1 else "a free GPU", ()

    def _keep(self, one: OpenJob, devices: Sequence[int]) -> tuple[int, ...]:
        for device in devices:
            self._holders.setdefault(device, f"{one.job.subject} gets first")
        return tuple(devices)


def takes_part(one: OpenJob) -> bool:
    """Whether a job occupies what training jobs share."""
    live = one.job.state is not JobState.QUEUED and not one.job.state.final
    return live and one.job.slot is Slot.TRAINING


def _one_of(subjects: Sequence[str]) -> str:
    return f"{subjects[0]} to end" if len(subjects) == 1 else f"one of {', '.join(subjects)} to end"


def _listed(devices: Iterable[int]) -> str:
    return ", ".join(str(device) for device in devices)
