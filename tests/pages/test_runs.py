"""Runs: the list, the open run, overlays through the address, stop and resume."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pages import runs
from pages.components import run_detail
from pages.components.visible import HIDDEN
from studio.core import LOCAL_ADMIN, Conflict
from studio.datasets import DatasetVersion
from studio.jobs import JobState, Progress
from studio.registry import ModelVersion
from studio.studio import Studio
from studio.training import Run, Stage, StartRun, parse_recipe
from tests.pages.conftest import visiting
from tests.pages.test_home import run_of

LIST, DETAIL, HEAD, PLOT, STOP, RESUME, FACTS, TOLD, YAML, LOG = range(10)


@pytest.fixture
def queued(studio: Studio, base: ModelVersion, instructions: DatasetVersion) -> Run:
    recipe = f"model: {base.reference}\ndataset: {instructions.reference}\n"
    return studio.training.start(LOCAL_ADMIN, StartRun(Stage.SFT, recipe, "A <first> run"))


def test_no_runs_say_what_to_do(studio: Studio) -> None:
    view = runs.view(studio, visiting(tab="runs"))
    assert "No runs yet" in view[LIST]
    assert 'href="?tab=train&amp;stage=sft"' in view[LIST]
    assert view[DETAIL]["visible"] == HIDDEN


def test_an_address_opens_its_run(studio: Studio, queued: Run) -> None:
    view = runs.view(studio, visiting(tab="runs", run=queued.id))
    assert view[DETAIL]["visible"] is True
    assert "A &lt;first&gt; run" in view[HEAD]
    assert view[PLOT] == {"runs": [{"run_id": queued.id, "name": queued.name}]}
    assert view[STOP]["visible"] is True
    assert view[RESUME]["visible"] == HIDDEN
    assert queued.id in view[FACTS]
    assert "supervised fine-tuning" in view[TOLD]
    assert view[YAML] == queued.recipe
    assert view[LOG] == queued.id
    assert "td-compact" in view[LIST]


def test_an_address_of_no_run_says_so(studio: Studio, queued: Run) -> None:
    view = runs.view(studio, visiting(tab="runs", run="run_<none>"))
    assert "td-bad" in view[HEAD]
    assert "<none>" not in view[HEAD]
    assert view[LOG] == ""


def test_ticked_runs_lie_over_the_open_one(studio: Studio, queued: Run) -> None:
    second = studio.training.start(LOCAL_ADMIN, StartRun(Stage.SFT, queued.recipe, "Second"))
    view = runs.view(studio, visiting(tab="runs", run=queued.id, **{"with": f"{second.id},run_gone"}))
    assert [curve["run_id"] for curve in view[PLOT]["runs"]] == [queued.id, second.id]
    assert view[LIST].count(" checked>") == 1
    alone = runs.view(studio, visiting(tab="runs", **{"with": second.id}))
    assert [curve["run_id"] for curve in alone[PLOT]["runs"]] == [second.id]


def listed(found: list[Run], **asked: str) -> Any:
    return runs.listing(found, {"tab": "runs", **asked}, None)


def test_the_list_searches_and_sorts() -> None:
    good = run_of(JobState.SUCCEEDED, id="run_a", name="Alpha", summary={"train/loss": 1.0})
    bad = run_of(JobState.FAILED, id="run_b", name="Beta", summary={"train/loss": 2.0})
    assert "Beta" not in listed([good, bad], q="succeeded")
    assert "No run matches" in listed([good, bad], q="gamma")
    falling = listed([good, bad], sort="-loss")
    assert falling.index("Beta") < falling.index("Alpha")
    assert 'aria-sort="descending"' in falling
    assert "td-table" in listed([good, bad], sort="nonsense")


def test_a_long_list_is_cut_and_says_so() -> None:
    many = [run_of(JobState.SUCCEEDED, id=f"run_{n}", name=f"Sweep {n}") for n in range(1000)]
    drawn = listed(many)
    assert drawn.count("<tr") == 201
    assert "200 of 1,000 runs" in drawn
    assert listed(many, q="Sweep 999").count("<tr") == 2


def test_a_list_that_did_not_change_does_not_travel_again(studio: Studio, queued: Run) -> None:
    asked = visiting(tab="runs", run=queued.id)
    digest, rows, *_ = runs.tick(studio, asked, before="")
    assert queued.id in rows
    again, same, head, *_ = runs.tick(studio, asked, before=digest)
    assert again == digest
    assert same == {"__type__": "update"}
    assert head


def test_a_dpo_run_is_judged_by_its_accuracy() -> None:
    run = run_of(
        JobState.SUCCEEDED, stage=Stage.DPO, summary={"eval/rewards_accuracy": 0.625, "eval/loss": 0.6}
    )
    assert "62% right" in listed([run])


def test_stopping_a_queued_run_ends_it(studio: Studio, queued: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[object] = []
    monkeypatch.setattr(runs, "toast", lambda *words: said.append(words))
    assert runs.stop(studio, run_id=queued.id)["visible"] == HIDDEN
    assert studio.training.get(LOCAL_ADMIN, queued.id).state is JobState.STOPPED
    view = runs.view(studio, visiting(tab="runs", run=queued.id))
    assert view[STOP]["visible"] == HIDDEN
    assert view[RESUME]["visible"] is True
    assert "Stopped before it started" in view[HEAD]
    runs.resume(studio, run_id=queued.id)
    assert studio.training.get(LOCAL_ADMIN, queued.id).state is JobState.QUEUED
    assert len(said) == 2


def test_a_run_that_works_cannot_be_resumed(studio: Studio, queued: Run) -> None:
    with pytest.raises(Conflict):
        runs.resume(studio, run_id=queued.id)


def test_progress_and_reason_are_told() -> None:
    working = run_of(JobState.RUNNING, progress=Progress("training", 30, 120, 95.0))
    head = run_detail.headline(working)
    assert "30 of 120, about 1 min 35 s left" in head
    assert 'aria-valuenow="25"' in head
    failed = run_detail.headline(replace(working, state=JobState.FAILED, reason="<oom>"))
    assert "&lt;oom&gt;" in failed


@pytest.mark.parametrize("stage", Stage)
def test_a_recipe_reads_as_sentences(stage: Stage) -> None:
    recipe = parse_recipe(stage, "model: tiny@1\ndataset: numbers@1\nmax_steps: 40\n")
    lines = run_detail.sentences(stage, recipe)
    assert "tiny@1" in lines[0]
    assert "40 steps, 4 rows a step" in lines[2]
    assert any("Beta" in line for line in lines) is (stage is Stage.DPO)
    assert all(line.endswith(".") for line in lines)
