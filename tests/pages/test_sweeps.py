"""Sweeps: the list, the open sweep with its charts and trials, the form, and every button."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from pages import sweeps, sweeps_form, sweeps_recipe
from pages.components import sweep_charts, sweep_detail
from pages.components.visible import HIDDEN
from pages.sweeps_form import PATHS
from studio.core import LOCAL_ADMIN, InvalidInput
from studio.datasets import DatasetVersion
from studio.registry import ModelVersion
from studio.studio import Studio
from studio.training import Stage
from studio.training.sweeps import Insight, Sweep, SweepState, Trial, TrialState
from tests.pages.conftest import visiting

ROWS, FORM, DETAIL, HEAD, CHARTS, TRIALS, FACTS = range(7)
SPACE = {"learning_rate": "1e-5 to 1e-3 log", "lora.r": [8, 16], "scheduler": ["cosine", "linear"]}


@pytest.fixture
def begun(studio: Studio, base: ModelVersion, instructions: DatasetVersion) -> Sweep:
    recipe = {"stage": "sft", "model": base.reference, "dataset": instructions.reference}
    plan = {"name": "A <first> one", "recipe": recipe, "space": SPACE, "trials": 8}
    return studio.sweeps.start(LOCAL_ADMIN, plan)


@pytest.fixture
def toasts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    heard: list[str] = []
    monkeypatch.setattr(sweeps, "toast", lambda words: heard.append(str(words)))
    return heard


def trial(sweep: Sweep, number: int, value: float | None, state: TrialState = TrialState.COMPLETE) -> Trial:
    params = {
        "learning_rate": 1e-5 * 2**number,
        "lora.r": (8, 16)[number % 2],
        "scheduler": ("cosine", "linear")[number // 2 % 2],
    }
    reason = "worse than <the> others" if state is TrialState.PRUNED else ""
    return Trial(sweep.id, number, params, state, f"run_{number}", value, reason, 0.0, float(number))


def tried(studio: Studio, sweep: Sweep) -> list[Trial]:
    """Five complete trials, the third the best, and one that was ended early."""
    made = [trial(sweep, n, value) for n, value in enumerate((2.0, 1.5, 1.25, 1.75, 1.5))]
    made.append(trial(sweep, 5, 3.0, TrialState.PRUNED))
    for one in made:
        studio.sweeps._store.add_trial(one)
    return made


def do(studio: Studio, sweep: Sweep, what: str, **data: object) -> tuple[Any, ...]:
    pressed = gr.EventData(None, {"do": what, "sweep": sweep.id, **data})
    return sweeps.act(studio, visiting(tab="sweeps", sweep=sweep.id), pressed)


def test_no_sweeps_say_what_to_do(studio: Studio) -> None:
    view = sweeps.view(studio, visiting(tab="sweeps"))
    assert "No sweeps yet" in view[ROWS]
    assert 'href="?tab=sweeps&amp;new=1"' in view[ROWS]
    assert view[FORM]["visible"] == view[DETAIL]["visible"] == HIDDEN


def test_an_address_opens_its_sweep(studio: Studio, begun: Sweep) -> None:
    view = sweeps.view(studio, visiting(tab="sweeps", sweep=begun.id))
    assert view[DETAIL]["visible"] is True
    assert "A &lt;first&gt; one" in view[HEAD]["html"]
    assert 'data-do="stop"' in view[HEAD]["html"]
    assert "train_best" not in view[HEAD]["html"]
    assert view[CHARTS] == {"panels": []}
    assert "No trial has begun" in view[TRIALS]
    assert "tiny@1" in view[FACTS]
    assert "td-compact" in view[ROWS]
    gone = sweeps.view(studio, visiting(tab="sweeps", sweep="sweep_<none>"))
    assert "td-bad" in gone[HEAD]["html"]
    assert "<none>" not in gone[HEAD]["html"]


def test_trials_are_drawn_and_listed_with_the_best_marked(studio: Studio, begun: Sweep) -> None:
    tried(studio, begun)
    view = sweeps.view(studio, visiting(tab="sweeps", sweep=begun.id, trials="value"))
    history, importance, parallel = view[CHARTS]["panels"]
    line, complete, pruned = history["traces"]
    assert line["y"] == [2.0, 1.5, 1.25, 1.25, 1.25]
    assert (complete["x"], pruned["x"]) == ([1, 2, 3, 4, 5], [6])
    assert set(importance["traces"][0]["y"]) == {"learning rate", "LoRA rank", "scheduler"}
    assert len(parallel["traces"]) == 5
    best = parallel["traces"][-1]
    assert best["line"]["width"] == 3
    assert best["y"][-1] == 0.0
    assert best["y"][0] == pytest.approx(sweep_charts._height(*_span(begun, "learning_rate", 4e-5)))
    assert all(0 <= height <= 1 for one in parallel["traces"] for height in one["y"])
    assert "trial 3" in parallel["caption"]
    text = view[TRIALS]
    places = [text.index(f"run=run_{number}") for number in (2, 1, 3, 0, 5)]
    assert places == sorted(places)
    assert "worse than &lt;the&gt; others" in text
    assert text.count(">best<") == 1
    assert "Train the best" in view[HEAD]["html"]


def _span(sweep: Sweep, path: str, value: float) -> tuple[Any, float]:
    from studio.training.sweeps.reading import checked

    return checked(sweep.plan).space[path], value


def test_a_table_sorts_by_words_and_numbers(studio: Studio, begun: Sweep) -> None:
    trials = [*tried(studio, begun), trial(begun, 6, None, TrialState.RUNNING)]
    for column in ("number", "state", "value", "learning_rate", "lora.r", "scheduler", "none"):
        for order in (column, f"-{column}"):
            assert sweep_detail.trial_table(begun, trials, {"trials": order}).count("<tr ") == len(trials)


def test_a_tick_sends_only_what_changed(studio: Studio, begun: Sweep) -> None:
    now, *_ = sweeps.tick(studio, visiting(tab="sweeps", sweep=begun.id), before=())
    again = sweeps.tick(studio, visiting(tab="sweeps", sweep=begun.id), before=now)
    assert all(part == gr.skip() for part in again[1:])
    tried(studio, begun)
    after = sweeps.tick(studio, visiting(tab="sweeps", sweep=begun.id), before=now)[1:]
    assert after[TRIALS] != gr.skip()
    assert after[FACTS] == gr.skip()


def test_every_button_does_what_it_says(studio: Studio, begun: Sweep, toasts: list[str]) -> None:
    tried(studio, begun)
    view = do(studio, begun, "stop")
    assert studio.sweeps.get(LOCAL_ADMIN, begun.id).state is SweepState.STOPPED
    assert 'data-do="resume"' in view[HEAD]["html"]
    do(studio, begun, "resume")
    assert studio.sweeps.get(LOCAL_ADMIN, begun.id).state is SweepState.RUNNING
    do(studio, begun, "train_best", epochs=" 2.5 ")
    [run] = studio.training.list(LOCAL_ADMIN)
    assert run.name == "A <first> one best (#3)"
    assert "epochs: 2.5" in run.recipe
    assert "A &lt;first&gt; one best" in toasts[-1]
    for what, data in (("explode", {}), ("train_best", {"epochs": "many"})):
        with pytest.raises(InvalidInput):
            do(studio, begun, what, **data)


def test_the_form_begins_with_what_can_be_started(
    studio: Studio, base: ModelVersion, instructions: DatasetVersion, toasts: list[str]
) -> None:
    request = visiting(tab="sweeps", new="1")
    assert sweeps.view(studio, request)[FORM]["visible"] is True
    filled = sweeps.arrive(studio, request, stage="sft", begun="", model=None, dataset=None)
    request_id, begun, models, datasets, lack, objective, recipe, *rows = filled
    assert (begun, lack, objective["visible"]) == ("sft", "", HIDDEN)
    assert len(rows) == 2 * len(PATHS)
    given = _given(models["value"], datasets["value"], recipe, rows)
    assert "4 trials" in sweeps.foretell(studio, **given)
    said, fresh = sweeps.start(studio, request_id=request_id, **given)
    assert "is on its way" in said
    assert fresh != request_id
    [sweep] = studio.sweeps.list(LOCAL_ADMIN)
    assert set(sweep.plan.space) == {"learning_rate", "lora.r"}
    assert sweep.plan.recipe["dataset"] == instructions.id
    assert sweep.plan.pruning.rule == "median"
    wrong = given | {"text__learning_rate": "lots", "recipe": "lr: 3\n"}
    said, same = sweeps.start(studio, request_id=fresh, **wrong)
    assert "recipe.lr: unknown key" in said
    assert same == fresh
    assert sweeps.foretell(studio, **wrong) == ""
    # What somebody typed in stays when they come back.
    again = sweeps.arrive(studio, request, stage="sft", begun="sft", model=None, dataset=None)
    assert again[6:] == (gr.skip(),) * (1 + 2 * len(PATHS))
    assert (
        sweeps.arrive(studio, visiting(tab="sweeps"), stage="sft", begun="", model=None, dataset=None)[0]
        == gr.skip()
    )


def _given(model: str, dataset: str, recipe: str, rows: list[Any]) -> dict[str, Any]:
    values = [one["value"] for one in rows]
    pairs = zip(PATHS, values[::2], values[1::2], strict=True)
    form: dict[str, Any] = {}
    for path, tick, text in pairs:
        form |= {f"tick__{sweeps_recipe.key(path)}": tick, f"text__{sweeps_recipe.key(path)}": text}
    search = {"method": "tpe", "trials": 4, "at_once": 1, "objective": "eval/loss", "seed": 0}
    early = {"rule": "median", "percentile": 25, "after_trials": 4}
    return {
        "stage": "sft",
        "model": model,
        "dataset": dataset,
        "name": " mine ",
        "recipe": recipe,
        **search,
        **early,
        **form,
    }


@pytest.mark.parametrize("stage", Stage)
def test_each_stage_offers_its_own_fields(studio: Studio, base: ModelVersion, stage: Stage) -> None:
    _, *rest = sweeps.choose(studio, stage=stage.value, model=None, dataset=None)
    rows = rest[5:]
    shown = [path for path, tick in zip(PATHS, rows[::2], strict=True) if tick["visible"] is True]
    assert ("beta" in shown) == (stage is Stage.DPO)
    assert rest[3]["visible"] == (True if stage in (Stage.DPO, Stage.REWARD) else HIDDEN)


def test_a_sweep_without_trials_or_spread_is_drawn(begun: Sweep) -> None:
    same = [trial(begun, n, 1.0) for n in range(2)]
    for trials, insight in (([], Insight((), {})), (same, Insight(((0, 1.0), (1, 1.0)), {}))):
        panels = sweep_charts.panels(begun, trials, insight)
        assert all(panel.caption for panel in panels)
    assert sweeps_form.PATHS
