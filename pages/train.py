"""Train: choose what to teach, to which model, from which data, and start a run.

The form and the YAML are two views of one recipe. Switching carries the recipe over; a YAML that is no
recipe stays where it is with every error named. Whatever the view, a run starts from YAML that the
recipe class has accepted.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.markup import address, button, empty, error_note, link, note, page_head
from pages.components.recipe_form import FORM, STAGES, YAML, described, draw, field_keys, values
from pages.components.visible import HIDDEN, when
from pages.components.visits import block, page_visit, query
from pages.components.wiring import listen, toast
from pages.components.wording import count
from studio.core import StudioError, new_id
from studio.datasets import SchemaKind, Split
from studio.registry import ModelKind, ModelVersion
from studio.studio import Studio
from studio.training import Stage, StartRun, dump_recipe, load_config, parse_recipe

TITLE = "Train"

_EVERY_SECONDS = 3.0
_NEEDS = {
    Stage.CPT: (SchemaKind.CORPUS, "texts"),
    Stage.SFT: (SchemaKind.INSTRUCTION, "instructions and answers"),
    Stage.DPO: (SchemaKind.PREFERENCE, "preference pairs"),
}
_STAGES = [
    ("Read texts (CPT)", Stage.CPT.value),
    ("Answer instructions (SFT)", Stage.SFT.value),
    ("Prefer better answers (DPO)", Stage.DPO.value),
]


def arrive(
    studio: Studio, request: gr.Request, *, stage: str, model: str | None, dataset: str | None
) -> tuple[Any, ...]:
    """Choices as they are now, and what the address proposes over what was chosen before."""
    asked = query(request)
    proposed = asked.get("stage", "")
    chosen = Stage(proposed if proposed in set(Stage) else stage)
    model, dataset = asked.get("model") or model, asked.get("dataset") or dataset
    return chosen.value, new_id("request"), *choose(studio, stage=chosen.value, model=model, dataset=dataset)


def look_again(studio: Studio, *, stage: str, model: str | None, dataset: str | None) -> Any:
    """Nothing while there is a model and a dataset; else what has come in the meantime."""
    if model and dataset:
        return gr.skip()
    return choose(studio, stage=stage, model=model, dataset=dataset)


def choose(studio: Studio, *, stage: str, model: str | None, dataset: str | None) -> tuple[Any, ...]:
    """The form of ``stage``: the models and datasets to choose from, and what is missing."""
    chosen = Stage(stage)
    models = studio.registry.list(studio.actor)
    model_names = [(f"{m.reference} ({m.kind.value})", m.reference) for m in models]
    data_names = dataset_choices(studio, chosen)
    return (
        *(gr.update(visible=when(chosen is each)) for each in STAGES),
        gr.update(choices=model_names, value=_kept(model, model_names) or _usual_model(chosen, models)),
        gr.update(choices=data_names, value=_kept(dataset, data_names) or _first(data_names)),
        missing(chosen, bool(models), bool(data_names)),
    )


def dataset_choices(studio: Studio, stage: Stage) -> list[tuple[str, str]]:
    """The newest versions that ``stage`` can learn from, as label and reference."""
    kind, _ = _NEEDS[stage]
    versions = [summary.latest for summary in studio.datasets.list(studio.actor)]
    fitting = [v for v in versions if v.kind is kind and v.rows.get(Split.TRAIN, 0)]
    fitting.sort(key=lambda version: version.created_at, reverse=True)
    return [(f"{v.reference} ({count(v.rows[Split.TRAIN], 'row')})", v.reference) for v in fitting]


def missing(stage: Stage, models: bool, datasets: bool) -> Markup:
    """What has to be there before a run can start, with the button that leads to it."""
    _, rows = _NEEDS[stage]
    if not models:
        action = button("Register a base model", address("models", new="base"))
        return empty(
            "There is no model to train yet.", "Register one, or wait for the embedded model.", action
        )
    if not datasets:
        action = button("Go to Data", address("data"))
        return empty(
            "No dataset fits this stage.", f"It learns from {rows}. Import some, or build them.", action
        )
    return Markup()


def _kept(wanted: str | None, names: list[tuple[str, str]]) -> str | None:
    """``wanted`` if it can be chosen; a name without a number means its newest version."""
    references = [value for _, value in names]
    if wanted in references:
        return wanted
    return next((value for value in references if wanted and value.split("@")[0] == wanted), None)


def _first(names: list[tuple[str, str]]) -> str | None:
    return names[0][1] if names else None


def _usual_model(stage: Stage, models: tuple[ModelVersion, ...]) -> str | None:
    """DPO goes on from what was taught last; the other stages begin with a base."""
    adapter = stage is Stage.DPO
    fitting = [m.reference for m in models if (m.kind is ModelKind.ADAPTER) is adapter]
    return next(iter(fitting), None) or next((m.reference for m in models), None)


def switch(_studio: Studio, *, mode: str, **given: Any) -> tuple[Any, ...]:
    """Carry the recipe over to the other view; stay and say why where it cannot be read."""
    other = FORM if mode == YAML else YAML
    keys = field_keys()
    try:
        recipe = described(mode=other, **given)
    except StudioError as error:
        return (other, *_views(other), gr.skip(), error_note(error), gr.skip(), *(gr.skip() for _ in keys))
    if mode == YAML:
        skipped = (gr.skip() for _ in keys)
        return (mode, *_views(mode), dump_recipe(recipe), "", gr.skip(), *skipped)
    filled = values(recipe)
    return (mode, *_views(mode), gr.skip(), "", recipe.output, *(filled.get(key, gr.skip()) for key in keys))


def _views(mode: str) -> tuple[Any, Any]:
    return gr.update(visible=when(mode == FORM)), gr.update(visible=when(mode == YAML))


def sample(_studio: Studio, *, stage: str, model: str | None, dataset: str | None) -> str:
    """The recipe that comes with the project, on the model and data that are chosen."""
    chosen = Stage(stage)
    recipe = parse_recipe(chosen, load_config(chosen.value))
    changes = {key: value for key, value in (("model", model), ("dataset", dataset)) if value}
    return dump_recipe(recipe.model_copy(update=changes))


def check(_studio: Studio, **given: Any) -> Markup:
    """Say whether the recipe can be read, with every error at once."""
    try:
        described(**given)
    except StudioError as error:
        return error_note(error)
    return note("This recipe is complete.", "td-good")


def start(studio: Studio, *, name: str, request_id: str, **given: Any) -> tuple[Any, str]:
    """Start a run; says where to watch it, or everything that is wrong."""
    try:
        recipe = described(**given)
        asked = StartRun(Stage(given["stage"]), dump_recipe(recipe), name.strip(), request_id)
        run = studio.training.start(studio.actor, asked)
    except StudioError as error:
        return error_note(error), request_id
    watch = link("Watch its curve", address("runs", run=run.id))
    toast(Markup("“{}” is on its way. {}.").format(run.name, watch))
    return note(Markup("“{}” is on its way. {}.").format(run.name, watch), "td-good"), new_id("request")


def render(studio: Studio) -> None:
    """Draw the page."""
    purpose = (
        "Teach a model: choose the stage, the model and the data. Everything else has a sensible default."
    )
    block(page_head("Train", purpose, button("See all runs", address("runs"), primary=False)))
    stage = gr.Radio(_STAGES, value=Stage.SFT.value, label="What it learns", elem_classes="td-choice")
    lack = block()
    with gr.Row():
        model = gr.Dropdown([], label="Model to go on from", min_width=260)
        dataset = gr.Dropdown([], label="Dataset to learn from", min_width=260)
        output = gr.Textbox(label="Name of the model it makes", placeholder="model-stage", min_width=200)
        name = gr.Textbox(label="Name of the run", placeholder="after its model and stage", min_width=200)
    mode = gr.Radio([FORM, YAML], value=FORM, label="Settings as", elem_classes="td-choice")
    with gr.Column() as form:
        groups, inputs = _forms()
    with gr.Column(visible=HIDDEN) as written:
        yaml = gr.Code(language="yaml", label="Recipe", lines=24, interactive=True, elem_classes="td-yaml")
        load = gr.Button("Load the sample recipe", size="md", elem_classes="td-own-width")
    answer = block()
    with gr.Row(elem_classes="td-actions"):
        go = gr.Button("Start the run", variant="primary", size="lg")
        verify = gr.Button("Check the recipe", size="lg")
    request_id = gr.State("")
    asked = {"stage": stage, "model": model, "dataset": dataset}
    whole = {**asked, "mode": mode, "yaml": yaml, "output": output, **inputs}
    chosen = [*groups, model, dataset, lack]
    visit = page_visit("train", every=_EVERY_SECONDS)
    listen(
        visit.visit,
        arrive,
        studio,
        api_name="train",
        inputs=asked,
        outputs=[stage, request_id, *chosen],
        quiet=True,
    )
    listen(stage.input, choose, studio, api_name="choose_stage", inputs=asked, outputs=chosen, quiet=True)
    listen(visit.tick, look_again, studio, api_name="train_tick", inputs=asked, outputs=chosen, quiet=True)
    fields = [inputs[key] for key in field_keys()]
    carried = [mode, form, written, yaml, answer, output, *fields]
    listen(mode.input, switch, studio, api_name="switch_recipe", inputs=whole, outputs=carried, quiet=True)
    listen(load.click, sample, studio, api_name="sample_recipe", inputs=asked, outputs=[yaml])
    listen(verify.click, check, studio, api_name="check_recipe", inputs=whole, outputs=[answer])
    started = {**whole, "name": name, "request_id": request_id}
    listen(go.click, start, studio, api_name="start_run", inputs=started, outputs=[answer, request_id])


def _forms() -> tuple[list[Any], dict[str, Any]]:
    """One group of fields a stage, of which one is visible; all their components by keyword."""
    groups: list[Any] = []
    inputs: dict[str, Any] = {}
    for stage in STAGES:
        with gr.Column(visible=when(stage is Stage.SFT)) as group:
            inputs |= draw(stage)
        groups.append(group)
    return groups, inputs
