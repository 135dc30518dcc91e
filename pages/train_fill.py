"""Ways to fill in the recipe: a preset, the other view, the sample, and the change that makes a run fit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.markup import error_note
from pages.components.recipe_form import FIELDS, FORM, YAML, described, filled, shown_for, values
from pages.components.recipe_form_mix import mix_of
from pages.components.visible import when
from pages.train_choices import version_of
from studio.core import StudioError
from studio.datasets import Split
from studio.studio import Studio
from studio.training import Recipe, Stage, dump_recipe, load_config, parse_recipe
from studio.training.presets import fitted, presets, trade, usual

PRESET_LABELS = [
    ("Fast: a first look", "fast"),
    ("Balanced: a sound first run", "balanced"),
    ("Best: slower, more memory", "best"),
]
OWN_VALUES = Markup('<p class="td-sub">Your own values. Choose a preset to go back to its values.</p>')


def preset_note(stage: Stage, preset: str | None, found: Mapping[str, Any] | None = None) -> Markup:
    """What a preset gives and costs; for values of one's own, that they are that.

    ``found`` are its values on the chosen dataset: where there is nothing to evaluate on, that is said.
    """
    if preset not in presets(stage):
        return OWN_VALUES
    wanted = presets(stage)[preset]["eval_every"]
    blind = "The dataset has no held-out rows, so nothing is evaluated on the way. "
    without = blind if found is not None and wanted and not found["eval_every"] else ""
    return Markup('<p class="td-sub">{} {}Change any of its values below.</p>').format(
        trade(stage, preset), without
    )


def preset_values(studio: Studio, stage: Stage, preset: str | None, dataset: str | None) -> dict[str, Any]:
    """A preset's values by path, as they suit the dataset."""
    known = presets(stage)
    version = version_of(studio, dataset)
    rows = version.rows if version else {}
    found = known.get(preset or "", known[usual()])
    return fitted(found, rows.get(Split.TRAIN, 0), rows.get(Split.VALIDATION, 0))


def fill(studio: Studio, *, stage: str, preset: str | None, dataset: str | None) -> str:
    """A preset's values for ``PUT_IN``, as JSON; empty where values of one's own stand in the form."""
    chosen = Stage(stage)
    if preset is None:
        return ""
    found = preset_values(studio, chosen, preset, dataset)
    note = preset_note(chosen, preset, found)
    return json.dumps({"preset": preset, "note": note, "fields": [found.get(f.path) for f in FIELDS]})


#: Puts into the form what ``fill`` found, as a script of the page, because by then somebody may have typed in
#: a value: with that the preset is left, and nothing is put in any more.
PUT_IN = """(found, preset, note, ...fields) => {
    const offer = found && JSON.parse(found);
    if (!offer || offer.preset !== preset) return [note, ...fields];
    return [offer.note, ...offer.fields.map((value, index) => value ?? fields[index])];
}"""


def begin(studio: Studio, stage: Stage, preset: str | None, dataset: str | None) -> tuple[Any, ...]:
    """The form of a stage with a preset in it: the preset, what it trades, and every field."""
    name = preset or usual()
    found = preset_values(studio, stage, name, dataset)
    return name, preset_note(stage, name, found), *shown_for(stage, found)


def switch(_studio: Studio, *, mode: str, **given: Any) -> tuple[Any, ...]:
    """Carry the recipe over to the other view; stay and say why where it cannot be read."""
    other = FORM if mode == YAML else YAML
    skipped = (gr.skip(), gr.skip(), *(gr.skip() for _ in FIELDS))
    try:
        recipe = described(mode=other, **given)
    except StudioError as error:
        return (other, *_views(other), gr.skip(), error_note(error), *skipped)
    if mode == YAML:
        return (mode, *_views(mode), dump_recipe(recipe), "", *skipped)
    return (mode, *_views(mode), gr.skip(), "", *into_form(recipe, given))


def into_form(recipe: Recipe, given: Mapping[str, Any]) -> tuple[Any, ...]:
    """A recipe as the form shows it: the model's name, the datasets mixed in, and every field."""
    return recipe.output, mix_of(recipe, given.get("mix")), *filled(values(recipe))


def sample(_studio: Studio, *, stage: str, model: str | None, dataset: str | None) -> str:
    """The recipe that comes with the project, on the model and data that are chosen."""
    chosen = Stage(stage)
    recipe = parse_recipe(chosen, load_config(chosen.value))
    changes = {key: value for key, value in (("model", model), ("dataset", dataset)) if value}
    return dump_recipe(recipe.model_copy(update=changes))


def _views(mode: str) -> tuple[Any, Any]:
    return gr.update(visible=when(mode == FORM)), gr.update(visible=when(mode == YAML))
