"""The queue with real rows and real processes: order, dependencies, devices, holding back."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
import sqlite_utils

from studio.core import (
    LOCAL_ADMIN,
    Actor,
    Conflict,
    Database,
    Forbidden,
    InvalidInput,
    NotFound,
    Role,
    read_json,
)
from studio.jobs import Job, JobService, JobSpec, JobState, Slot
from studio.jobs.devices import Devices, Gpu
from studio.jobs.launchers import Launcher
from studio.jobs.store import migrations
from tests.unit.jobs.conftest import make_service, training, until, until_running

ADMIN = LOCAL_ADMIN


class Nowhere(Launcher):
    """A launcher that starts nothing, for what is about order only."""

    def launch(self, directory: Path) -> None:
        pass


@pytest.fixture
def still(database: Database, home: Path) -> JobService:
    """A service whose only slot is taken and where nothing ever starts or ends."""
    service = make_service(database, home, launcher=Nowhere())
    service.submit(ADMIN, training("running"))
    service.tick()
    return service


def machine(*indices: int) -> Devices:
    gpus = tuple(Gpu(index, f"GPU-{index}", "A card", 100, 50) for index in indices)
    return Devices(",".join(map(str, indices)), read=lambda: gpus)


def subjects(service: JobService) -> list[str]:
    return [one.job.subject for one in service.queue(ADMIN)]


def submitted(service: JobService, *names: str) -> dict[str, Job]:
    return {name: service.submit(ADMIN, training(name)) for name in names}


def test_the_queue_is_in_the_order_of_priority_and_submission(still: JobService):
    jobs = submitted(still, "a", "b", "c")
    urgent = still.submit(ADMIN, training("urgent", priority=2))
    assert urgent.priority == 2
    assert subjects(still) == ["urgent", "a", "b", "c"]
    assert [one.place for one in still.queue(ADMIN)] == [1, 2, 3, 4]
    assert [one.waits_for for one in still.queue(ADMIN)][:2] == [
        "Waits for running to end",
        "Waits for its turn after urgent",
    ]
    assert still.prioritise(ADMIN, jobs["c"].id, 3).priority == 3
    still.prioritise(ADMIN, urgent.id, -1)
    assert subjects(still) == ["c", "a", "b", "urgent"]
    assert still.queue(ADMIN, Slot.LIGHT) == ()


def test_moving(still: JobService):
    jobs = submitted(still, "a", "b", "c", "d")
    still.move(ADMIN, jobs["d"].id, jobs["b"].id)
    assert subjects(still) == ["a", "d", "b", "c"]
    still.move(ADMIN, jobs["b"].id, jobs["a"].id)
    assert subjects(still) == ["b", "a", "d", "c"]
    still.move(ADMIN, jobs["b"].id, None)
    assert subjects(still) == ["a", "d", "c", "b"]
    still.move(ADMIN, jobs["a"].id, jobs["a"].id)
    assert subjects(still) == ["a", "d", "c", "b"]
    # Who comes later still stands behind all that were moved.
    submitted(still, "e")
    assert subjects(still) == ["a", "d", "c", "b", "e"]


def test_a_move_beside_another_priority_takes_it_over(still: JobService):
    jobs = submitted(still, "a", "b")
    still.prioritise(ADMIN, jobs["b"].id, 4)
    moved = still.move(ADMIN, jobs["a"].id, jobs["b"].id)
    assert (subjects(still), moved.priority) == (["a", "b"], 4)
    low = still.submit(ADMIN, training("low", priority=-3))
    moved = still.move(ADMIN, jobs["a"].id, None)
    assert (subjects(still), moved.priority) == (["b", "low", "a"], -3)
    assert low.priority == -3


def test_moving_into_one_gap_again_and_again(still: JobService, database: Database):
    jobs = submitted(still, "a", "b", "c", "d")
    for _ in range(30):
        for name in ("c", "b"):
            still.move(ADMIN, jobs[name].id, jobs["d"].id)
    assert subjects(still) == ["a", "c", "b", "d"]
    for name in ("a", "b") * 30:
        still.move(ADMIN, jobs[name].id, None)
    assert subjects(still) == ["c", "d", "a", "b"]
    places = [row[0] for row in database.rows("SELECT place FROM jobs")]
    assert len(set(places)) == len(places)
    submitted(still, "e")
    assert subjects(still)[-1] == "e"


def test_only_what_waits_has_a_place(still: JobService):
    a = submitted(still, "a")["a"]
    running = still.list(ADMIN)[-1]
    light = still.submit(ADMIN, JobSpec("test", "json.tool", "l", {}, after=("never",)))
    for refused in (
        lambda: still.move(ADMIN, running.id, a.id),
        lambda: still.move(ADMIN, a.id, running.id),
        lambda: still.move(ADMIN, a.id, light.id),
        lambda: still.prioritise(ADMIN, running.id, 1),
    ):
        with pytest.raises(Conflict):
            refused()
    with pytest.raises(NotFound):
        still.move(ADMIN, a.id, "job_none")
    for priority in (-1001, 1001):
        with pytest.raises(InvalidInput):
            still.prioritise(ADMIN, a.id, priority)
    with pytest.raises(InvalidInput):
        still.submit(ADMIN, training("b", priority=5000))


def test_roles_and_the_audit_log(still: JobService, database: Database):
    jobs = submitted(still, "a", "b")
    annotator = Actor("ann", Role.ANNOTATOR)
    for refused in (
        lambda: still.queue(annotator),
        lambda: still.live(annotator),
        lambda: still.move(annotator, jobs["b"].id, None),
        lambda: still.prioritise(annotator, jobs["b"].id, 1),
    ):
        with pytest.raises(Forbidden):
            refused()
    still.move(ADMIN, jobs["b"].id, jobs["a"].id)
    still.prioritise(ADMIN, jobs["a"].id, 1)
    still.prioritise(ADMIN, jobs["a"].id, 1)
    rows = database.rows("SELECT verb, object_id FROM audit WHERE verb != 'submitted'")
    assert [tuple(row) for row in rows] == [("moved", jobs["b"].id), ("prioritised", jobs["a"].id)]


def test_what_is_hidden_stands_in_no_queue_and_has_no_name_there(still: JobService):
    submitted(still, "secret", "mine")
    still.hide_when(lambda _, job: job.subject in ("secret", "running"))
    [one] = still.queue(ADMIN)
    assert (one.job.subject, one.place, one.waits_for) == ("mine", 2, "Waits for its turn after another job")
    assert still.live(ADMIN) == ()


def test_what_is_hidden_has_no_name_where_it_is_waited_for(still: JobService):
    still.submit(ADMIN, training("run_secret"))
    still.submit(ADMIN, training("run_mine", after=("run_secret", "run_secret_2")))
    still.hide_when(lambda _, job: job.subject == "run_secret")
    [one] = still.queue(ADMIN)
    assert one.waits_for == (
        "Waits for another job to succeed and for run_secret_2, which was not submitted yet"
    )


def test_the_same_job_again_after_it_was_moved(still: JobService):
    job = still.submit(ADMIN, training("a"), job_id="job_a")
    still.prioritise(ADMIN, job.id, 7)
    again = still.submit(ADMIN, training("a", memory_bytes=10), job_id="job_a")
    assert again.priority == 7
    with pytest.raises(Conflict):
        still.submit(ADMIN, training("a", after=("x",)), job_id="job_a")


def test_nothing_waits_for_itself(still: JobService):
    with pytest.raises(InvalidInput, match="wait for itself"):
        still.submit(ADMIN, training("a", after=("a",)))
    still.submit(ADMIN, training("b", after=("c",)))
    still.submit(ADMIN, training("c", after=("d",)))
    with pytest.raises(InvalidInput, match="d would wait for itself"):
        still.submit(ADMIN, training("d", after=("b",)))


def test_jobs_run_in_the_order_of_the_queue(service: JobService):
    first = service.submit(ADMIN, training("first", payload={"seconds": 0.3}))
    service.tick()
    jobs = submitted(service, "a", "b", "c")
    service.move(ADMIN, jobs["c"].id, jobs["a"].id)
    service.prioritise(ADMIN, jobs["b"].id, 1)
    ended: list[str] = []
    until(service, lambda: ended.extend(job.subject for job in service.tick()) or len(ended) == 4)
    assert ended == ["first", "b", "c", "a"]
    assert service.get(ADMIN, first.id).state is JobState.SUCCEEDED


def test_a_dependant_waits_for_success_and_goes_on_when_it_comes(service: JobService):
    service.submit(ADMIN, training("base", "leave", payload={"code": 7}))
    strict = service.submit(ADMIN, training("strict", after=("base",)))
    lenient = service.submit(ADMIN, training("lenient", after=("base",), after_any=True))
    until(service, lambda: service.get(ADMIN, lenient.id).state is JobState.SUCCEEDED)
    [waiting] = service.queue(ADMIN)
    assert waiting.job.id == strict.id
    assert waiting.waits_for == "Waits for base to succeed: it failed, so start it again or stop this one"
    service.submit(ADMIN, training("base"))
    until(service, lambda: service.get(ADMIN, strict.id).state is JobState.SUCCEEDED)


def test_what_holds_a_job_is_what_it_waits_for(service: JobService):
    answers = {"first": "memory", "second": ""}
    service.hold_when(lambda job, spec: answers[job.subject] if spec.memory_bytes == 5 else "wrong spec")
    held = service.submit(ADMIN, training("first", memory_bytes=5))
    service.submit(ADMIN, training("second", memory_bytes=5))
    service.tick()
    assert [one.waits_for for one in service.queue(ADMIN)] == ["memory", "Waits for its turn after first"]
    answers["first"] = ""
    until(service, lambda: service.get(ADMIN, held.id).state.final)


def test_a_fault_in_what_holds_jobs_holds_none(service: JobService):
    def fails(_job: Job, _spec: JobSpec) -> str:
        raise ValueError("a fault")

    service.hold_when(fails)
    job = service.submit(ADMIN, training("a"))
    assert service.wait(ADMIN, job.id, 20).state is JobState.SUCCEEDED


def test_devices_are_leased_shown_to_the_child_and_given_back(database: Database, home: Path):
    service = make_service(database, home, devices=machine(0, 1, 3))
    one = service.submit(ADMIN, training("one", "environment", devices=(3,)))
    two = service.submit(ADMIN, training("two", "work", device_count=2))
    three = service.submit(ADMIN, training("three", "work", devices=(3,)))
    until_running(service, two)
    assert service.get(ADMIN, two.id).devices == (0, 1)
    until(service, lambda: service.get(ADMIN, one.id).state.final)
    seen = read_json(one.directory / "result.json")
    assert (seen["CUDA_VISIBLE_DEVICES"], seen["CUDA_DEVICE_ORDER"]) == ("3", "PCI_BUS_ID")
    until_running(service, three)
    four = service.submit(ADMIN, training("four", "work"))
    service.tick()
    assert [one.waits_for for one in service.queue(ADMIN)] == ["Waits for a free GPU"]
    leases = database.rows("SELECT device, job_id FROM leases ORDER BY device")
    assert [tuple(row) for row in leases] == [(0, two.id), (1, two.id), (3, three.id)]
    for job in (two, three, four):
        service.request_stop(ADMIN, job.id)
        service.wait(ADMIN, job.id, 10)
    assert not database.rows("SELECT * FROM leases")
    assert service.get(ADMIN, two.id).devices == (0, 1)  # What it ran on is remembered.


def test_a_device_has_one_holder_whoever_claims(database: Database, home: Path):
    service = make_service(database, home, devices=machine(0), launcher=Nowhere())
    submitted(service, "a", "b")
    a, b = service._store.unsettled()
    me = service._reconciler._me
    assert service._store.claim(a, 1, (0,), me, 1.0) is not None
    assert service._store.claim(b, 1, (0,), me, 1.0) is None
    assert service.get(ADMIN, b.job.id).state is JobState.QUEUED
    with pytest.raises(sqlite3.IntegrityError), database.write() as connection:
        connection.execute("INSERT INTO leases VALUES (0, ?)", (b.job.id,))


def test_devices_that_are_not_there_are_refused(database: Database, home: Path):
    service = make_service(database, home, devices=machine(0, 1), launcher=Nowhere())
    for wrong in ({"devices": (2,)}, {"devices": (0, 0)}, {"devices": (-1,)}, {"device_count": 3}):
        with pytest.raises(InvalidInput):
            service.submit(ADMIN, training("a", **wrong))
    assert service.list(ADMIN) == ()


def test_a_quiet_studio_asks_for_no_devices_and_reads_no_more_than_before(database: Database, home: Path):
    def never() -> tuple[Gpu, ...]:
        raise AssertionError("nobody wants a GPU")

    service = make_service(database, home, devices=Devices(read=never))
    service.submit(ADMIN, replace(training("a"), slot=Slot.LIGHT))
    until(service, lambda: service.list(ADMIN)[0].state.final)
    service.tick()
    service.tick()
    asked: list[str] = []
    connection = database._connection()
    connection.set_trace_callback(asked.append)
    service.tick()
    connection.set_trace_callback(None)
    assert len(asked) == 2, asked  # One look for what lives and waits, one for what ended.


def test_an_old_database_keeps_its_queue(home: Path):
    database = Database(home / "studio.db")
    migrations.apply(sqlite_utils.Database(database._connection()), stop_before="order_and_leases")
    with database.write() as connection:
        for number, name in enumerate(("c", "a", "b"), 1):
            connection.execute(
                """INSERT INTO jobs (id, token, kind, module, subject, slot, payload, environment, state,
                   created_at) VALUES (?, ?, 'test', 'tests.unit.jobs.children', ?, 'training',
                   '{"act": "once"}', '{}', 'queued', ?)""",
                (f"job_{name}", name, name, 100.0 - number),
            )
    service = make_service(database, home)
    assert subjects(service) == ["c", "a", "b"]
    service.move(ADMIN, "job_b", "job_c")
    submitted(service, "new")
    assert subjects(service) == ["b", "c", "a", "new"]
    # The same submission as before the change is still the same job.
    assert service.submit(ADMIN, training("a"), job_id="job_a").id == "job_a"
    ended: list[str] = []
    until(service, lambda: ended.extend(job.subject for job in service.tick()) or len(ended) == 4)
    assert ended == ["b", "c", "a", "new"]
    database.close()
