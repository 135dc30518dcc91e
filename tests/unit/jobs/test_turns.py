"""Whose turn it is, as a function of what waits and what runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.jobs import Job, JobState, Slot
from studio.jobs.queue_store import Standing
from studio.jobs.store import OpenJob
from studio.jobs.turns import Resources, Turn, line_up

QUEUED, RUNNING = JobState.QUEUED, JobState.RUNNING


def job(
    subject: str,
    place: float,
    *,
    state: JobState = QUEUED,
    priority: int = 0,
    slot: Slot = Slot.TRAINING,
    has: tuple[int, ...] = (),
    wants: tuple[int, ...] = (),
    count: int = 1,
    after: tuple[str, ...] = (),
    after_any: bool = False,
) -> OpenJob:
    it = Job(subject, "k", subject, slot, state, Path(), 0, 0, None, None, "", None, priority, has)
    return OpenJob(it, "t", 0, 0, None, None, place, after, after_any, wants, count, 0)


def turns(*found: OpenJob, slots: int = 1, gpus: tuple[int, ...] = (), **more) -> list[Turn]:
    known = more.pop("known", {})
    return line_up(found, Resources(slots, gpus), known.get, **more)


def told(found: list[Turn]) -> dict[str, str | tuple[int, ...]]:
    """What each waits for, or the devices that it gets."""
    return {
        turn.found.job.id: turn.devices if turn.ready else turn.waits_for.removeprefix("Waits for ")
        for turn in found
    }


def test_priority_then_place():
    found = [job("a", 1), job("b", 2, priority=5), job("c", 0.5), job("d", 3, priority=5)]
    assert [turn.found.job.id for turn in turns(*found)] == ["b", "d", "c", "a"]


def test_slots_are_for_the_first_and_everybody_is_told_what_for():
    found = turns(job("r", 1, state=RUNNING), job("a", 2), job("b", 3), job("c", 4), slots=2)
    assert told(found) == {"a": (), "b": "its turn after a", "c": "its turn after b"}
    assert told(turns(job("r", 1, state=RUNNING), job("a", 2))) == {"a": "r to end"}
    two = (job("r", 1, state=RUNNING), job("s", 2, state=JobState.STOPPING))
    assert told(turns(*two, job("a", 3), slots=2)) == {"a": "one of r, s to end"}


def test_what_is_said_is_a_sentence():
    ready, waiting = turns(job("a", 1), job("b", 2))
    assert (ready.waits_for, waiting.waits_for) == ("Starts in a moment", "Waits for its turn after a")


def test_light_jobs_do_not_wait_for_slots():
    assert told(turns(job("r", 1, state=RUNNING), job("a", 2, slot=Slot.LIGHT))) == {"a": ()}


@pytest.mark.parametrize(
    ("standing", "any_end", "waits"),
    [
        (None, False, "x, which was not submitted yet"),
        (Standing(RUNNING, settled=False), False, "x to succeed"),
        (Standing(RUNNING, settled=False), True, "x to end"),
        # What it made is not there before its end was acted on.
        (Standing(JobState.SUCCEEDED, settled=False), False, "x to succeed"),
        (Standing(JobState.SUCCEEDED, settled=True), False, ()),
        (Standing(JobState.FAILED, settled=False), True, "x to end"),
        (Standing(JobState.FAILED, settled=True), True, ()),
        (
            Standing(JobState.FAILED, settled=True),
            False,
            "x to succeed: it failed, so start it again or stop this one",
        ),
        (
            Standing(JobState.STOPPED, settled=True),
            False,
            "x to succeed: it was stopped, so start it again or stop this one",
        ),
    ],
)
def test_dependencies(standing: Standing | None, any_end: bool, waits: object):
    found = turns(job("a", 1, after=("x",), after_any=any_end), known={"x": standing})
    assert told(found) == {"a": waits}


def test_a_job_that_waits_for_another_subject_keeps_nothing_from_those_behind_it():
    found = turns(job("a", 1, after=("x", "y")), job("b", 2), known={"x": Standing(RUNNING, settled=False)})
    assert told(found) == {"a": "x to succeed and for y, which was not submitted yet", "b": ()}


def test_a_job_gets_the_devices_it_names_or_any():
    found = turns(
        job("r", 1, state=RUNNING, has=(0,)),
        job("named", 2, wants=(2,)),
        job("any", 3),
        job("more", 4),
        gpus=(0, 1, 2),
    )
    assert told(found) == {"named": (2,), "any": (1,), "more": "a free GPU"}


def test_free_devices_are_taken_in_the_order_of_preference():
    found = turns(job("a", 1, count=2), gpus=(0, 1, 2), prefer=lambda free: tuple(reversed(tuple(free))))
    assert told(found) == {"a": (2, 1)}


def test_who_waits_for_devices_is_not_overtaken_on_them():
    found = turns(job("r", 1, state=RUNNING, has=(0,)), job("big", 2, count=2), job("small", 3), gpus=(0, 1))
    assert told(found) == {"big": "2 free GPUs; 1 of 2 are free", "small": "a free GPU"}
    found = turns(
        job("r", 1, state=RUNNING, has=(0,)),
        job("exact", 2, wants=(0,)),
        job("also", 3, wants=(0, 1)),
        job("other", 4, wants=(1,)),
        job("free", 5),
        gpus=(0, 1, 2),
    )
    assert told(found) == {
        "exact": "GPU 0, which r uses",
        "also": "GPU 0, which r uses",
        "other": "GPU 1, which also gets first",
        "free": (2,),
    }


def test_what_the_studio_does_not_have_keeps_nobody_else_waiting():
    found = turns(job("a", 1, wants=(7,)), job("b", 2, count=3), job("c", 3), gpus=(0, 1))
    assert told(found) == {
        "a": "GPU 7, which this studio does not have",
        "b": "3 GPUs; this studio has 2",
        "c": (0,),
    }


def test_without_gpus_devices_are_ignored_and_slots_count():
    found = turns(job("a", 1, wants=(3,)), job("b", 2, count=4), slots=2)
    assert told(found) == {"a": (), "b": ()}


def test_a_job_that_wants_no_gpu_takes_a_slot_beside_those_that_have_one():
    found = turns(job("r", 1, state=RUNNING, has=(0,)), job("a", 2, count=0), job("b", 3, count=0), gpus=(0,))
    assert told(found) == {"a": (), "b": "its turn after a"}


def test_a_job_that_is_held_keeps_its_slot_and_says_why():
    asked: list[str] = []

    def hold(found: OpenJob) -> str:
        asked.append(found.job.id)
        return "memory"

    found = turns(job("a", 1), job("b", 2), hold=hold)
    assert told(found) == {"a": "memory", "b": "its turn after a"}
    assert asked == ["a"]
