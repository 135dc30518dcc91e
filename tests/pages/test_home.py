"""Home: the next sensible step, the stations, and what the page says about a real studio."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pages import home
from pages.components.guidance import ENOUGH_VOTES, Snapshot, next_step
from pages.components.loop import Station, draw_loop
from pages.components.snapshots import look
from studio.core import LOCAL_ADMIN
from studio.datasets import DatasetVersion
from studio.jobs import Job, JobState, Progress, Slot
from studio.registry import ModelVersion
from studio.studio import Studio
from studio.training import Run, Stage, StartRun

GROUND = Snapshot(datasets=1, rows=10, base="tiny@1", models=1, instructions="numbers@1")
TAUGHT = replace(GROUND, tuned="tiny-sft@1", runs=1)
JUDGED = replace(TAUGHT, pairs=30, votes=40, preferences="preferences@1")
PREFERRED = replace(JUDGED, preferred="tiny-dpo@1")


def run_of(state: JobState, **changes: object) -> Run:
    run = Run(
        id="run_1",
        name="First",
        stage=Stage.SFT,
        state=state,
        recipe="",
        seed=0,
        dataset_version_ids=(),
        model_version_id="model_1",
        output_version_id=None,
        job_id="job_1",
        attempts=1,
        progress=None,
        summary={},
        reason="",
        packages={},
        peak_memory_bytes=None,
        created_at=0.0,
        ended_at=None,
    )
    return replace(run, **changes)  # type: ignore[arg-type]


def job_of(kind: str) -> Job:
    return Job("job_1", kind, "x", Slot.LIGHT, JobState.RUNNING, Path(), 0.0, 0.0, None, None, "", None)


@pytest.mark.parametrize(
    ("seen", "label", "leads_to"),
    [
        (Snapshot(), "Import data", "?tab=data&new=import"),
        (Snapshot(datasets=1), "Register a base model", "?tab=models&new=base"),
        (Snapshot(datasets=1, preparing=job_of("embedded_model")), "Look at the data", "?tab=data"),
        (replace(GROUND, instructions=""), "Import instructions", "?tab=data&new=import"),
        (GROUND, "Set up the run", "?tab=train&stage=sft&model=tiny%401&dataset=numbers%401"),
        (TAUGHT, "Compare them blind", "?tab=chat&a=tiny%401&b=tiny-sft%401&blind=1"),
        (replace(TAUGHT, votes=ENOUGH_VOTES), "Build preferences", "?tab=data&build=preferences"),
        (JUDGED, "Set up the DPO run", "?tab=train&stage=dpo&model=tiny-sft%401&dataset=preferences%401"),
        (PREFERRED, "Deploy it", "?tab=deploy&model=tiny-dpo%401"),
        (replace(PREFERRED, deployments=1, deployed=("helper",)), "Call it", "?tab=deploy&deployment=helper"),
        (
            replace(PREFERRED, deployments=1, deployed=("helper",), answers=3),
            "Compare again",
            "?tab=chat&a=tiny-sft%401&b=tiny-dpo%401&blind=1",
        ),
    ],
)
def test_the_next_step_walks_the_loop(seen: Snapshot, label: str, leads_to: str) -> None:
    step = next_step(seen)
    assert (step.label, step.href) == (label, leads_to)


def test_a_run_under_way_comes_before_everything_else() -> None:
    step = next_step(replace(PREFERRED, running=run_of(JobState.RUNNING)))
    assert step.href == "?tab=runs&run=run_1"
    assert "waiting for its turn" in next_step(replace(GROUND, running=run_of(JobState.QUEUED))).sentence


def test_a_run_that_the_chat_gives_its_memory_to_is_said_so() -> None:
    seen = replace(PREFERRED, running=run_of(JobState.RUNNING), gives_way_to="the run “First”")
    assert "Chat gives its memory to the run “First” meanwhile." in next_step(seen).sentence


def test_a_failed_run_says_why() -> None:
    step = next_step(replace(TAUGHT, failed=run_of(JobState.FAILED, reason="Out of memory.")))
    assert "Out of memory." in step.sentence
    assert step.href == "?tab=runs&run=run_1"


def test_every_step_starts_at_a_station_of_the_loop(studio: Studio) -> None:
    names = {station.name for station in home.stations(studio, Snapshot(), "")}
    for seen in (Snapshot(), GROUND, TAUGHT, replace(TAUGHT, votes=99), JUDGED, PREFERRED):
        assert next_step(seen).station in names


def test_a_running_job_moves_between_its_stations(studio: Studio) -> None:
    running = run_of(JobState.RUNNING, progress=Progress("training", 30, 120))
    stations = {s.name: s for s in home.stations(studio, replace(GROUND, running=running), "Train")}
    assert stations["Train"].part == 0.25
    assert stations["Train"].busy
    assert stations["Train"].proposed
    again = replace(GROUND, running=replace(running, stage=Stage.DPO))
    assert {s.name for s in home.stations(studio, again, "") if s.busy} == {"Train again"}


def test_the_loop_escapes_names() -> None:
    drawn = draw_loop([Station("Data", "?tab=data", "<b>1</b>", '"><script>')], "")
    assert "<script>" not in drawn
    assert "&lt;b&gt;" in drawn


def test_an_empty_studio_says_how_to_begin(studio: Studio) -> None:
    proposal, loop, beside = home.view(studio)
    assert "Import data" in proposal
    assert loop.count('class="td-station') == 8
    assert "Nothing has happened yet" in beside


def test_a_real_studio_is_read_whole(
    studio: Studio, base: ModelVersion, instructions: DatasetVersion
) -> None:
    recipe = f"model: {base.reference}\ndataset: {instructions.reference}\n"
    run = studio.training.start(LOCAL_ADMIN, StartRun(Stage.SFT, recipe, "Try <it>"))
    seen = look(studio)
    assert (seen.datasets, seen.rows, seen.models, seen.runs) == (1, 6, 1, 1)
    assert seen.instructions == instructions.reference
    assert seen.base == base.reference
    assert seen.running is not None
    assert seen.running.id == run.id
    proposal, _, beside = home.view(studio)
    assert "waiting for its turn" in proposal
    assert "<it>" not in proposal + beside
    assert base.reference in beside
