"""A job from submission to its end, with real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

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
from studio.jobs import JobService, JobSpec, JobState, Slot
from tests.unit.jobs.conftest import make_service, spec, until, until_running

ADMIN = LOCAL_ADMIN


def run(service: JobService, act: str, **payload):
    job = service.submit(ADMIN, spec(act, **payload))
    return service.wait(ADMIN, job.id, 20)


def test_success(service: JobService):
    job = run(service, "succeed")
    assert (job.state, job.exit_code, job.reason) == (JobState.SUCCEEDED, 0, "")
    assert job.created_at <= job.started_at <= job.ended_at
    assert job.pid
    assert read_json(job.directory / "result.json") == {"answer": 42}
    assert service.log(ADMIN, job.id).text == "hello\n"


@pytest.mark.parametrize("code", [1, 7])
def test_exit_code_is_named_with_the_last_lines(service: JobService, code: int):
    job = run(service, "leave", code=code)
    assert (job.state, job.exit_code) == (JobState.FAILED, code)
    assert f"exit code {code}." in job.reason
    assert job.reason.endswith("line one\nline two")


def test_a_crash_names_its_signal(service: JobService):
    job = run(service, "crash")
    assert (job.state, job.exit_code) == (JobState.FAILED, -11)
    assert "SIGSEGV" in job.reason
    assert "in crash" in service.log(ADMIN, job.id).text  # where it happened, by faulthandler


def test_a_child_says_why_it_failed(service: JobService):
    job = run(service, "explain")
    assert job.state is JobState.FAILED
    assert job.reason == "The file is empty. Choose another one.\n- row 1: nothing"


def test_a_module_that_does_not_exist_fails_with_its_name(service: JobService):
    job = service.submit(ADMIN, JobSpec("test", "tests.unit.jobs.nowhere", "subject", {}))
    job = service.wait(ADMIN, job.id, 20)
    assert job.state is JobState.FAILED
    assert "tests.unit.jobs.nowhere" in job.reason


def test_a_child_that_cannot_be_spawned_fails_in_words(service: JobService):
    # Linux takes no single string of more than 128 KiB.
    job = service.submit(ADMIN, spec("succeed", environment={"LONG": "x" * 200_000}))
    job = service.wait(ADMIN, job.id, 20)
    assert (job.state, job.pid) == (JobState.FAILED, None)
    assert "could not be started" in job.reason


def test_the_child_stands_in_its_directory_with_its_environment(service: JobService):
    job = service.submit(ADMIN, spec("environment", environment={"COLOUR": "blue"}))
    job = service.wait(ADMIN, job.id, 20)
    assert read_json(job.directory / "result.json") == {
        "colour": "blue",
        "cwd": str(job.directory),
        "stdin": "",
    }


def test_stop_that_the_child_honours(service: JobService):
    job = until_running(service, service.submit(ADMIN, spec("work")))
    asked = service.request_stop(ADMIN, job.id)
    assert asked.state is JobState.STOPPING
    assert service.request_stop(ADMIN, job.id).state is JobState.STOPPING
    job = service.wait(ADMIN, job.id, 10)
    assert (job.state, job.exit_code, job.reason) == (JobState.STOPPED, 75, "")
    assert read_json(job.directory / "result.json")["steps"] >= 0


def test_a_queued_job_is_stopped_at_once(service: JobService):
    job = service.submit(ADMIN, spec("succeed"))
    stopped = service.request_stop(ADMIN, job.id)
    assert (stopped.state, stopped.pid) == (JobState.STOPPED, None)
    assert service.tick() == (stopped,)
    assert not job.directory.exists()


def test_stopping_a_job_that_ended_changes_nothing(service: JobService):
    job = run(service, "succeed")
    assert service.request_stop(ADMIN, job.id) == job


def test_progress(service: JobService):
    job = until_running(service, service.submit(ADMIN, spec("work")))
    until(service, lambda: service.progress(ADMIN, job.id))
    progress = service.progress(ADMIN, job.id)
    assert (progress.phase, progress.total, progress.eta_seconds) == ("counting", 10_000, 1.5)


def test_damaged_progress_is_none(service: JobService):
    job = run(service, "succeed")
    for text in ("{", "[]", '{"phase": "x"}', '{"phase": 1, "done": [], "total": 1, "eta_seconds": null}'):
        (job.directory / "progress.json").write_text(text)
        assert service.progress(ADMIN, job.id) is None


def test_training_jobs_take_turns_in_order_and_light_ones_do_not_wait(service: JobService):
    first, second, third = (
        service.submit(ADMIN, spec("once", slot=Slot.TRAINING, seconds=0.3)) for _ in range(3)
    )
    light = service.submit(ADMIN, spec("once"))
    service.tick()
    states = [service.get(ADMIN, job.id).state for job in (first, second, third, light)]
    assert states == [JobState.STARTING, JobState.QUEUED, JobState.QUEUED, JobState.STARTING]
    ended = []
    while len(ended) < 4:
        ended += service.tick()
    ended = [job for job in ended if job.id != light.id]
    assert [job.id for job in ended] == [first.id, second.id, third.id]
    assert ended[0].ended_at <= ended[1].started_at
    assert ended[1].ended_at <= ended[2].started_at


def test_the_same_id_is_one_job(service: JobService):
    one = service.submit(ADMIN, spec("succeed"), job_id="run_1")
    assert service.submit(ADMIN, spec("succeed"), job_id="run_1") == one
    with pytest.raises(Conflict):
        service.submit(ADMIN, spec("crash"), job_id="run_1")
    assert service.wait(ADMIN, "run_1", 20).state is JobState.SUCCEEDED
    assert service.submit(ADMIN, spec("succeed"), job_id="run_1").state is JobState.SUCCEEDED


@pytest.mark.parametrize("job_id", ["../x", "", ".", "a/b", "a" * 65, "a\0"])
def test_an_id_must_be_fit_for_a_directory(service: JobService, job_id: str):
    with pytest.raises(InvalidInput):
        service.submit(ADMIN, spec("succeed"), job_id=job_id)


@pytest.mark.parametrize(
    "wrong",
    [
        JobSpec("k", "no module", "s", {}),
        JobSpec("k", "json.tool", "s", {"path": Path("x")}),
        JobSpec("k", "json.tool", "s", {}, environment={"A=": "1"}),
        JobSpec("k", "json.tool", "s", {}, environment={"A": "\0"}),
    ],
)
def test_a_spec_that_cannot_run_is_refused(service: JobService, wrong: JobSpec):
    with pytest.raises(InvalidInput):
        service.submit(ADMIN, wrong)
    assert service.list(ADMIN) == ()


def test_what_is_not_there(service: JobService):
    for ask in (service.get, service.request_stop, service.log, service.progress):
        with pytest.raises(NotFound):
            ask(ADMIN, "job_none")


def test_list_is_newest_first_and_by_kind(service: JobService):
    one = service.submit(ADMIN, JobSpec("import", "json.tool", "s", {}))
    two = service.submit(ADMIN, JobSpec("train", "json.tool", "s", {}))
    assert service.list(ADMIN) == (two, one)
    assert service.list(ADMIN, "import") == (one,)
    assert service.list(ADMIN, limit=1) == (two,)


def test_roles(service: JobService):
    job = service.submit(ADMIN, spec("succeed"))
    annotator = Actor("ann", Role.ANNOTATOR)
    assert service.get(annotator, job.id) == job
    for refused in (
        lambda: service.submit(annotator, spec("succeed")),
        lambda: service.request_stop(annotator, job.id),
        lambda: service.log(annotator, job.id),
        lambda: service.list(annotator),
    ):
        with pytest.raises(Forbidden):
            refused()


def test_what_was_asked_is_in_the_audit_log(service: JobService, database: Database):
    job = service.submit(ADMIN, spec("succeed"))
    service.request_stop(ADMIN, job.id)
    service.request_stop(ADMIN, job.id)
    rows = database.rows("SELECT verb, object_id FROM audit ORDER BY id")
    assert [tuple(row) for row in rows] == [("submitted", job.id), ("stopped", job.id)]


def test_wait_gives_up_with_the_job_as_it_stands(service: JobService):
    job = service.submit(ADMIN, spec("work"))
    assert not service.wait(ADMIN, job.id, 0.2).state.final


def test_every_end_is_handed_out_once_even_if_wait_saw_it(
    service: JobService, database: Database, home: Path
):
    job = run(service, "succeed")
    other = make_service(database, home)
    assert other.tick() == (job,)
    assert service.tick() == ()
    assert other.tick() == ()


def test_what_a_dead_process_was_handed_is_handed_out_again(
    service: JobService, database: Database, home: Path
):
    job = run(service, "succeed")
    dead = make_service(database, home)
    dead._receiver = dead._receiver.replace('"start_ticks": ', '"start_ticks": 9')
    assert dead.tick() == (job,)
    assert service.tick() == (job,)
    service.close()
    assert make_service(database, home).tick() == ()


def test_a_quiet_tick_writes_nothing(service: JobService, database: Database):
    run(service, "succeed")
    service.tick()
    service.tick()
    before = database.row("PRAGMA data_version")[0], database._connection().total_changes
    service.tick()
    assert (database.row("PRAGMA data_version")[0], database._connection().total_changes) == before
