"""The form that begins a sweep: what is taught, what varies, how trials are chosen, and how many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pages.components.markup import address
from pages.components.panels import panel_head
from pages.components.recipe_form import FIELDS
from pages.components.visible import HIDDEN, when
from pages.components.visits import block
from pages.sweeps_recipe import base_recipe, key
from pages.train_choices import STAGES, offered
from studio.studio import Studio
from studio.training import Stage, field_help
from studio.training.sweeps import Objective
from studio.training.sweeps.space import JUDGED_BY_ACCURACY
from studio.training.sweeps.space import offered as spans

_FIRST = Stage.SFT
_LABELS = {field.path: field.label for field in FIELDS}
#: Every field that some stage offers to vary.
PATHS = tuple(dict.fromkeys(path for stage in Stage for path in spans(stage)))
_TICKED = ("learning_rate", "lora.r")
_METHODS = [("Where it promises most (TPE)", "tpe"), ("At random", "random"), ("Every combination", "grid")]
_PRUNING = [("Never", "off"), ("Worse than the median", "median"), ("Worse than a percentile", "percentile")]
_OBJECTIVES = [
    ("Held-out loss, lowest", Objective.EVAL_LOSS.value),
    ("Pairs ranked right, most", Objective.REWARDS_ACCURACY.value),
]


@dataclass(frozen=True)
class Form:
    """The components, in the order in which a person meets them."""

    column: Any
    stage: Any
    lack: Any
    model: Any
    dataset: Any
    name: Any
    ticks: dict[str, Any]
    texts: dict[str, Any]
    method: Any
    trials: Any
    at_once: Any
    objective: Any
    rule: Any
    percentile: Any
    after_trials: Any
    seed: Any
    recipe: Any
    outlook: Any
    go: Any
    answer: Any

    @property
    def asked(self) -> dict[str, Any]:
        """What a sweep is made from, by the keywords of the handlers."""
        named = ("stage", "model", "dataset", "name", "method", "trials", "at_once", "objective")
        more = ("rule", "percentile", "after_trials", "seed", "recipe")
        made = {name: getattr(self, name) for name in (*named, *more)}
        made |= {f"tick__{key(path)}": one for path, one in self.ticks.items()}
        return made | {f"text__{key(path)}": one for path, one in self.texts.items()}

    @property
    def by_stage(self) -> list[Any]:
        """What another stage changes, in the order of ``for_stage``."""
        rows = [one for path in PATHS for one in (self.ticks[path], self.texts[path])]
        return [self.model, self.dataset, self.lack, self.objective, self.recipe, *rows]


def draw() -> Form:
    """Make the form, hidden until the address asks for it."""
    with gr.Column(visible=HIDDEN) as column:
        block(panel_head("New sweep", address("sweeps")))
        made = {**_subject(), **_space(), **_search(), **_base()}
    return Form(column=column, **made)


def _subject() -> dict[str, Any]:
    stages = [(words.label, stage.value) for stage, words in STAGES.items()]
    stage = gr.Radio(stages, value=_FIRST.value, label="What it learns", elem_classes="td-choice")
    lack = block()
    with gr.Row():
        model = gr.Dropdown([], label="Model to go on from", min_width=240)
        dataset = gr.Dropdown([], label="Dataset to learn from", min_width=240)
        name = gr.Textbox(label="Name of the sweep", placeholder="after the model it makes", min_width=200)
    return {"stage": stage, "lack": lack, "model": model, "dataset": dataset, "name": name}


def _space() -> dict[str, Any]:
    ticks, texts = {}, {}
    block(
        '<h3 class="td-title">What varies</h3><p class="td-sub">Tick a field. Values as a list '
        "(<code>8, 16, 32</code>) or a range (<code>1e-5 to 1e-3 log</code>).</p>"
    )
    with gr.Row(elem_classes="td-space"):
        for path in PATHS:
            here = path in spans(_FIRST)
            with gr.Column(min_width=260, elem_classes="td-space-field"):
                ticks[path] = gr.Checkbox(
                    path in _TICKED, label=_LABELS.get(path, path), info=field_help(path), visible=when(here)
                )
                texts[path] = gr.Textbox(
                    spans(_FIRST).get(path, ""),
                    label=f"Values of {_LABELS.get(path, path)}",
                    show_label=False,
                    visible=when(here),
                )
    return {"ticks": ticks, "texts": texts}


def _search() -> dict[str, Any]:
    block('<h3 class="td-title">How it is searched</h3>')
    method = gr.Radio(_METHODS, value="tpe", label="Trials are chosen", elem_classes="td-choice")
    with gr.Row(elem_classes="td-grid"):
        trials = gr.Number(12, label="Trials", info="How many runs at most.", precision=0)
        at_once = gr.Number(1, label="At once", info="Runs that wait or train together.", precision=0)
        objective = gr.Dropdown(
            _OBJECTIVES,
            value=Objective.EVAL_LOSS.value,
            label="Judged by",
            info="Measured on the held-out rows.",
            filterable=False,
            visible=HIDDEN,
        )
        rule = gr.Dropdown(
            _PRUNING,
            value="median",
            label="End a trial early",
            info="Held against those before it.",
            filterable=False,
        )
    with gr.Accordion("More about the search", open=False), gr.Row(elem_classes="td-grid"):
        percentile = gr.Number(25, label="Percentile", info="The best share that goes on, in percent.")
        after = gr.Number(4, label="After trials", info="So many must have ended on their own.", precision=0)
        seed = gr.Number(0, label="Seed of the search", info="The same seed searches the same.", precision=0)
    return {
        "method": method,
        "trials": trials,
        "at_once": at_once,
        "objective": objective,
        "rule": rule,
        "percentile": percentile,
        "after_trials": after,
        "seed": seed,
    }


def _base() -> dict[str, Any]:
    with gr.Accordion("The recipe that every trial starts from", open=False):
        recipe = gr.Code(
            language="yaml", show_label=False, lines=14, interactive=True, elem_classes="td-yaml"
        )
    outlook = block()
    with gr.Row(elem_classes="td-actions"):
        go = gr.Button("Start the sweep", variant="primary", size="lg")
    return {"recipe": recipe, "outlook": outlook, "go": go, "answer": block()}


def for_stage(studio: Studio, stage: Stage, model: str | None, dataset: str | None) -> tuple[Any, ...]:
    """What the form offers for a stage, in the order of ``Form.by_stage``."""
    models, data, _, lack = offered(studio, stage, model, dataset, None)
    here = spans(stage)
    rows = [one for path in PATHS for one in _row(path, here)]
    judged = stage in JUDGED_BY_ACCURACY
    objective = gr.update(
        visible=when(judged),
        value=(Objective.REWARDS_ACCURACY if judged else Objective.EVAL_LOSS).value,
    )
    return models, data, lack, objective, base_recipe(studio, stage, data["value"]), *rows


def choices(studio: Studio, stage: Stage, model: str | None, dataset: str | None) -> tuple[Any, ...]:
    """The models and datasets as they are now; what was typed in stays, in the order of ``for_stage``."""
    models, data, _, lack = offered(studio, stage, model, dataset, None)
    return models, data, lack, gr.skip(), gr.skip(), *(gr.skip() for _ in range(2 * len(PATHS)))


def _row(path: str, here: Mapping[str, str]) -> tuple[Any, Any]:
    tick = gr.update(visible=when(path in here), value=path in here and path in _TICKED)
    return tick, gr.update(visible=when(path in here), value=here.get(path, ""))
