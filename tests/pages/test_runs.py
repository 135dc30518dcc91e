"""Runs: the list, the open run, overlays and comparisons through the address, and every button."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import gradio as gr
import pytest

from pages import runs, runs_acts, runs_list
from pages.components import run_checkpoints, run_compare, run_detail, run_head, run_queue
from pages.components.acts import said
from pages.components.visible import HIDDEN
from studio.core import LOCAL_ADMIN, Conflict, InvalidInput, StudioError
from studio.datasets import DatasetVersion
from studio.jobs import JobState, Progress
from studio.registry import ModelVersion
from studio.studio import Studio
from studio.training import (
    Checkpoint,
    Comparison,
    FailureCard,
    FailureKind,
    QueuedRun,
    Run,
    Stage,
    StartRun,
    parse_recipe,
)
from studio.training import checkpoints as files
from tests.pages.conftest import visiting
from tests.pages.test_home import run_of

(QUEUE, LIST, DETAIL, HEAD, PLOT, COMPARED, FACTS, MACHINE, CHECKPOINTS, TOLD, COMMAND, YAML, LOG) = range(13)


@pytest.fixture
def queued(studio: Studio, base: ModelVersion, instructions: DatasetVersion) -> Run:
    recipe = f"model: {base.reference}\ndataset: {instructions.reference}\n"
    return studio.training.start(LOCAL_ADMIN, StartRun(Stage.SFT, recipe, "A <first> run"))


@pytest.fixture
def toasts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    heard: list[str] = []
    monkeypatch.setattr(runs_acts, "toast", lambda words: heard.append(str(words)))
    return heard


def pressed(**data: object) -> gr.EventData:
    return gr.EventData(None, data)


def do(studio: Studio, what: str, run: Run, **data: object) -> tuple[Any, ...]:
    return runs.act(studio, visiting(tab="runs", run=run.id), pressed(do=what, run=run.id, **data))


def another(studio: Studio, run: Run, name: str, more: str = "") -> Run:
    return studio.training.start(LOCAL_ADMIN, StartRun(run.stage, run.recipe + more, name))


def order(studio: Studio) -> list[str]:
    return [one.run.name for one in studio.training.queue(LOCAL_ADMIN)]


def test_no_runs_say_what_to_do(studio: Studio) -> None:
    view = runs.view(studio, visiting(tab="runs"))
    assert "No runs yet" in view[LIST]
    assert 'href="?tab=train&amp;stage=sft"' in view[LIST]
    assert view[DETAIL]["visible"] == HIDDEN
    assert view[QUEUE] == {"html": ""}


def test_an_address_opens_its_run(studio: Studio, queued: Run) -> None:
    view = runs.view(studio, visiting(tab="runs", run=queued.id))
    assert len(view) == LOG + 1
    assert view[DETAIL]["visible"] is True
    assert "A &lt;first&gt; run" in view[HEAD]["html"]
    assert view[PLOT] == {"runs": [{"run_id": queued.id, "name": queued.name}]}
    assert 'data-do="pause"' in view[HEAD]["html"]
    assert 'data-do="resume"' not in view[HEAD]["html"]
    assert f'action="tensorboard/runs/{queued.id}"' in view[HEAD]["html"]
    assert queued.id in view[FACTS]
    assert "No figures yet" in view[MACHINE]
    assert "No checkpoint yet" in view[CHECKPOINTS]["html"]
    assert "supervised fine-tuning" in view[TOLD]
    assert "python -m studio train" in view[COMMAND]
    assert "data-copy=" in view[COMMAND]
    assert view[YAML] == queued.recipe
    assert view[LOG] == queued.id
    assert "td-compact" in view[LIST]


def test_a_trial_leads_back_to_its_sweep(studio: Studio, queued: Run) -> None:
    assert "sweep" not in run_detail.run_facts(studio, queued)
    assert "sweep=sweep_1" in run_detail.run_facts(studio, replace(queued, sweep_id="sweep_1"))


def test_an_address_of_no_run_says_so(studio: Studio, queued: Run) -> None:
    view = runs.view(studio, visiting(tab="runs", run="run_<none>"))
    assert "td-bad" in view[HEAD]["html"]
    assert "<none>" not in view[HEAD]["html"]
    assert view[LOG] == ""


def test_ticked_runs_lie_over_the_open_one_and_are_compared(studio: Studio, queued: Run) -> None:
    second = another(studio, queued, "Second")
    view = runs.view(studio, visiting(tab="runs", run=queued.id, **{"with": f"{second.id},run_gone"}))
    assert [curve["run_id"] for curve in view[PLOT]["runs"]] == [queued.id, second.id]
    assert view[LIST].count(" checked>") == 1
    assert "Their recipes say the same" in view[COMPARED]
    alone = runs.view(studio, visiting(tab="runs", **{"with": second.id}))
    assert [curve["run_id"] for curve in alone[PLOT]["runs"]] == [second.id]
    assert alone[COMPARED] == ""


def test_a_comparison_names_what_differs_and_sorts(studio: Studio, queued: Run) -> None:
    values = {"learning_rate": (1e-3, 5e-4), "lora.dora": (True, False), "output": ("a", "b")}
    first = run_of(JobState.SUCCEEDED, id="run_a", name="Alpha")
    other = run_of(JobState.FAILED, id="run_b", name="Be<ta")
    table = {"eval/loss": (2.5, 1.5), "memory/peak_bytes": (None, 5e8), "run/seconds": (90.0, 30.0)}
    found = Comparison((first, other), values, table)
    drawn = run_compare.comparison_panel(found, {"tab": "runs", "with": "run_b"})
    assert "lora.dora" in drawn
    assert "Be&lt;ta" in drawn
    assert "500 MB" in drawn
    assert ">output<" not in drawn
    assert drawn.index("Alpha") < drawn.index("Be&lt;ta")
    for wanted in ("eval/loss", "-name", "run/seconds", "learning_rate", "-memory/peak_bytes"):
        turned = run_compare.comparison_panel(found, {"tab": "runs", "order": wanted})
        assert turned.index("Be&lt;ta") < turned.index("Alpha"), wanted
    # What is missing stands last, whichever way it is sorted.
    rising = run_compare.comparison_panel(found, {"tab": "runs", "order": "memory/peak_bytes"})
    assert rising.index("Be&lt;ta") < rising.index("Alpha")
    assert "order=-eval%2Floss" in drawn
    assert "with=run_b" in re.findall(r'href="([^"]*order[^"]*)"', drawn)[0]


def listed(found: list[Run], **asked: str) -> Any:
    return runs_list.listing(found, {"tab": "runs", **asked}, None)


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


def test_what_did_not_change_does_not_travel_again(studio: Studio, queued: Run) -> None:
    asked = visiting(tab="runs", run=queued.id)
    digests, *parts = runs.tick(studio, asked, before=())
    assert queued.id in parts[LIST]
    again, *same = runs.tick(studio, asked, before=digests)
    assert again == digests
    assert [part for part in same if part != {"__type__": "update"}] == []
    another(studio, queued, "Second")
    _, *moved = runs.tick(studio, asked, before=digests)
    assert "Second" in moved[LIST]
    assert "Second" in moved[QUEUE]["html"]
    assert moved[YAML] == {"__type__": "update"}


def test_what_a_button_changed_is_not_put_back_by_an_older_view(
    studio: Studio, queued: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = visiting(tab="runs", run=queued.id)
    plain_view = runs.view

    def view(*given: Any) -> tuple[Any, ...]:
        older = plain_view(*given)
        runs_acts.carry_out(studio, {"do": "prioritise", "run": queued.id, "priority": "3"})
        return older

    monkeypatch.setattr(runs, "view", view)
    digests, *parts = runs.tick(studio, asked, before=(1, 2))
    assert digests == (1, 2)
    assert all(part == {"__type__": "update"} for part in parts)
    monkeypatch.undo()
    assert "priority 3" in runs.tick(studio, asked, before=digests)[1 + QUEUE]["html"]


@pytest.mark.parametrize("stage", [Stage.DPO, Stage.REWARD])
def test_a_run_on_pairs_is_judged_by_its_accuracy(stage: Stage) -> None:
    run = run_of(JobState.SUCCEEDED, stage=stage, summary={"eval/rewards_accuracy": 0.625, "eval/loss": 0.6})
    assert "62% right" in listed([run])


def test_stopping_a_queued_run_ends_it(studio: Studio, queued: Run, toasts: list[str]) -> None:
    view = do(studio, "stop", queued)
    assert studio.training.get(LOCAL_ADMIN, queued.id).state is JobState.STOPPED
    assert 'data-do="pause"' not in view[HEAD]["html"]
    assert "Stopped before it started" in view[HEAD]["html"]
    view = do(studio, "resume", queued)
    assert studio.training.get(LOCAL_ADMIN, queued.id).state is JobState.QUEUED
    assert 'data-do="pause"' in view[HEAD]["html"]
    assert len(toasts) == 2
    with pytest.raises(Conflict):
        do(studio, "resume", queued)


def test_a_paused_run_says_so(studio: Studio, queued: Run, toasts: list[str]) -> None:
    view = do(studio, "pause", queued)
    assert "paused" in view[HEAD]["html"]
    assert "paused" in view[LIST]
    assert 'data-do="resume"' in view[HEAD]["html"]


def test_a_retry_is_a_new_run_that_leads_back(studio: Studio, queued: Run, toasts: list[str]) -> None:
    do(studio, "stop", queued)
    do(studio, "retry", queued)
    [new] = [run for run in studio.training.list(LOCAL_ADMIN) if run.id != queued.id]
    assert new.retry_of == queued.id
    assert new.id in toasts[-1]
    facts = runs.view(studio, visiting(tab="runs", run=new.id))[FACTS]
    assert "Tries again" in facts
    assert queued.id in facts
    with pytest.raises(Conflict):
        do(studio, "retry_fixed", queued)


def test_the_queue_is_put_in_another_order(studio: Studio, queued: Run) -> None:
    second, third = another(studio, queued, "Second"), another(studio, queued, "Third")
    assert order(studio) == [queued.name, "Second", "Third"]
    panel = do(studio, "move", third, before=queued.id)[QUEUE]["html"]
    assert order(studio) == ["Third", queued.name, "Second"]
    assert panel.index("Third") < panel.index("A &lt;first&gt; run") < panel.index("Second")
    do(studio, "move", third, before="")
    assert order(studio) == [queued.name, "Second", "Third"]
    do(studio, "prioritise", second, priority="5")
    assert order(studio)[0] == "Second"
    assert "priority 5" in runs.view(studio, visiting(tab="runs"))[QUEUE]["html"]


def test_the_buttons_of_the_queue_say_where_to() -> None:
    waiting = [
        QueuedRun(run_of(JobState.QUEUED, id=f"run_{n}", name=f"Run {n}"), n + 1, f"waits <{n}>")
        for n in range(4)
    ]
    panel = run_queue.queue_panel(waiting)
    moves = re.findall(r'data-do="move" data-run="(\w+)" data-before="(\w*)" data-key="(\w+)"', panel)
    assert moves == [
        ("run_0", "run_2", "down"),
        ("run_1", "run_0", "up"),
        ("run_1", "run_3", "down"),
        ("run_2", "run_1", "up"),
        ("run_2", "", "down"),
        ("run_3", "run_2", "up"),
    ]
    assert panel.count("disabled") == 2
    assert "waits &lt;1&gt;" in panel
    assert "4 runs wait" in panel
    many = run_queue.queue_panel([replace(waiting[0], place=n + 1) for n in range(60)])
    assert "10 more wait" in many


def test_a_button_of_another_version_is_refused(studio: Studio, queued: Run) -> None:
    for data in ({"do": "vanish"}, {}, {"do": "prioritise", "run": queued.id, "priority": "high"}):
        with pytest.raises(InvalidInput):
            runs.act(studio, visiting(tab="runs"), pressed(**data))
    assert said(gr.EventData(None, "no mapping")) == {}
    assert said(pressed(do="x", step=4, rest={"a": 1})) == {"do": "x", "step": "4"}


def write_checkpoint(studio: Studio, run: Run, step: int) -> None:
    place = files.begin(studio.settings.home / "runs" / run.id / "checkpoints", step)
    (place / "weights.bin").write_bytes(b"x" * 2000)
    files.seal(place, {"step": step})


def test_a_checkpoint_is_resumed_from_or_deleted(studio: Studio, queued: Run, toasts: list[str]) -> None:
    do(studio, "stop", queued)
    for step in (10, 20, 30):
        write_checkpoint(studio, queued, step)
    panel = runs.view(studio, visiting(tab="runs", run=queued.id))[CHECKPOINTS]["html"]
    assert "3 checkpoints" in panel
    panel = do(studio, "drop", queued, step="10")[CHECKPOINTS]["html"]
    assert "2 checkpoints" in panel
    assert "step 10 is deleted" in toasts[-1]
    do(studio, "resume", queued, step="20")
    assert "from step 20" in toasts[-1]
    assert studio.training.get(LOCAL_ADMIN, queued.id).state is JobState.QUEUED
    with pytest.raises(StudioError):
        do(studio, "keep", queued, step="10", name="gone")


def test_the_checkpoint_browser_offers_what_can_be_done() -> None:
    found = (
        Checkpoint(20, 4_000_000, 0.0, 1.25, best=True, newest=False),
        Checkpoint(40, 4_000_000, 0.0, None, best=False, newest=True),
    )
    stopped = run_checkpoints.checkpoint_panel(run_of(JobState.STOPPED), found, "tiny-<sft>")
    assert stopped.index('data-label="Step">40') < stopped.index('data-label="Step">20')
    assert "8.0 MB on disk" in stopped
    assert "1.25" in stopped
    assert stopped.count("Resume from here") == 2
    assert "tiny-&lt;sft&gt;" in stopped
    # A run needs its newest one to go on.
    assert stopped.count(">Delete<") == 1
    assert run_checkpoints.checkpoint_panel(run_of(JobState.SUCCEEDED), found, "x").count(">Delete<") == 2
    running = run_checkpoints.checkpoint_panel(run_of(JobState.RUNNING), found, "x")
    assert "Resume from here" not in running
    assert "is left" in run_checkpoints.checkpoint_panel(run_of(JobState.SUCCEEDED), (), "x")


def test_progress_is_told() -> None:
    working = run_of(JobState.RUNNING, progress=Progress("training", 30, 120, 95.0))
    head = run_head.run_head(working)
    assert "30 of 120, about 1 min 35 s left" in head
    assert 'aria-valuenow="25"' in head
    assert "Free slot &lt;1&gt;" in run_head.run_head(run_of(JobState.QUEUED), None, "Free slot <1>")


def test_a_failure_shows_its_card_and_the_way_on() -> None:
    failed = run_of(JobState.FAILED, reason="<oom>")
    assert "&lt;oom&gt;" in run_head.run_head(failed)
    card = FailureCard(FailureKind.OUT_OF_MEMORY, "No <room>", ("line 3",), "Take less.", {"batch_size": 1})
    head = run_head.run_head(failed, card)
    assert "No &lt;room&gt;" in head
    assert head.index("Retry with this fix") < head.index("Retry as it was") < head.index(">Resume<")
    assert "Retry with this fix" not in run_head.run_head(failed, replace(card, fix={}))
    done = run_head.run_head(run_of(JobState.SUCCEEDED))
    assert "Retry" not in done
    assert "Open TensorBoard" in done


def test_memory_is_held_against_its_prediction() -> None:
    run = run_of(JobState.SUCCEEDED, peak_memory_bytes=1_100_000_000)
    assert run_detail.memory(run) == "1.1 GB at its peak"
    foreseen = replace(run, predicted_memory_bytes=1_000_000_000)
    assert run_detail.memory(foreseen) == "1.1 GB at its peak, 1.0 GB predicted (10% more than predicted)"
    exact = replace(foreseen, peak_memory_bytes=1_001_000_000)
    assert "(as predicted)" in run_detail.memory(exact)
    assert run_detail.memory(replace(foreseen, peak_memory_bytes=None)) == "1.0 GB predicted"
    assert run_detail.memory(replace(run, peak_memory_bytes=None)) == ""


def test_telemetry_is_shown_from_its_file(studio: Studio, queued: Run) -> None:
    sample = {
        "at": 100.0,
        "cpu_percent": 40.0,
        "memory_used": 2 << 30,
        "memory_total": 4 << 30,
        "run_memory": 1 << 30,
        "disk_free": 5 << 30,
        "disk_total": 9 << 30,
        "gpus": [],
    }
    path = studio.settings.home / "runs" / queued.id / "telemetry.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({**sample, "at": 100.0 + 2 * n}) + "\n" for n in range(900)))
    panel = runs.view(studio, visiting(tab="runs", run=queued.id))[MACHINE]
    assert "Processor" in panel
    assert "40 % now" in panel
    assert "29 min" in panel


_REQUIRED = {Stage.DPO, Stage.KTO}


@pytest.mark.parametrize("stage", Stage)
def test_a_recipe_reads_as_sentences(stage: Stage) -> None:
    recipe = parse_recipe(stage, "model: tiny@1\ndataset: numbers@1\nmax_steps: 40\n")
    lines = run_detail.sentences(stage, recipe)
    assert "tiny@1" in lines[0]
    assert "40 steps, 4 rows a step" in lines[2]
    assert any("Beta" in line for line in lines) is (stage in _REQUIRED)
    assert all(line.endswith(".") for line in lines)


def test_a_recipe_tells_its_mixture_and_its_early_end() -> None:
    text = (
        "model: tiny@1\ndataset: a\nweight: 3\nmix:\n- dataset: b\n  weight: 1\n"
        "method: qlora\nlora:\n  dora: true\neval_every: 5\nearly_stop_patience: 2\n"
    )
    lines = " ".join(run_detail.sentences(Stage.SFT, parse_recipe(Stage.SFT, text)))
    assert "a (75% of the rows), b (25% of the rows)" in lines
    assert "DoRA adapter of rank 16 (alpha 32) on every linear layer, over weights packed to 4 bits" in lines
    assert "where 2 evaluations in a row bring nothing better" in lines
