"""From the form of a sweep to the sweep that it describes, and the recipe that the form begins with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any

from markupsafe import Markup
from ruamel.yaml import YAML

from pages.components.markup import note
from pages.components.wording import count, duration
from pages.train_choices import version_of
from studio.datasets import Split
from studio.studio import Studio
from studio.training import Stage
from studio.training.presets import presets
from studio.training.sweeps import Outlook
from studio.training.sweeps.reading import loaded
from studio.training.sweeps.space import offered as spans

#: A trial is short: what it is for is to be compared, and the best is trained in full afterwards.
_TRIAL_STEPS, _EVALUATIONS = 60, 4


def key(path: str) -> str:
    """A path as a part of a keyword."""
    return path.replace(".", "__")


def base_recipe(studio: Studio, stage: Stage, dataset: str | None) -> str:
    """A short recipe for trials on a dataset: the fast preset, evaluated on the way."""
    version = version_of(studio, dataset)
    rows = version.rows.get(Split.TRAIN, 0) if version else 0
    values = presets(stage)["fast"] | {"keep_best": False, "early_stop_patience": 0}
    a_pass = math.ceil(rows / (values["batch_size"] * values["gradient_accumulation"])) * values["epochs"]
    steps = max(1, min(_TRIAL_STEPS, math.ceil(a_pass)))
    values |= {"max_steps": steps, "eval_every": max(1, steps // _EVALUATIONS)}
    out = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.representer.sort_base_mapping_type_on_output = False
    yaml.dump(_nested(values), out)
    return out.getvalue()


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in values.items():
        *outer, name = path.split(".")
        place = nested
        for part in outer:
            place = place.setdefault(part, {})
        place[name] = value
    return nested


def described(given: Mapping[str, Any]) -> dict[str, Any]:
    """The sweep that the form describes, to be checked by the service.

    Raises:
        InvalidInput: The recipe is no YAML.
    """
    stage = Stage(given["stage"])
    own = {key: given[key] for key in ("model", "dataset") if given[key]}
    recipe = {**loaded(given["recipe"] or "{}"), **own, "stage": stage.value}
    return {
        "name": (given["name"] or "").strip(),
        "recipe": recipe,
        "space": dict(_ticked(stage, given)),
        "pruning": {
            "rule": given["rule"],
            "percentile": given["percentile"],
            "after_trials": given["after_trials"],
        },
        **{name: given[name] for name in ("method", "trials", "at_once", "objective", "seed")},
    }


def _ticked(stage: Stage, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for path in spans(stage):
        if given[f"tick__{key(path)}"]:
            yield path, given[f"text__{key(path)}"] or ""


def foretold(found: Outlook) -> Markup:
    """How many trials there will be, and about how long they take."""
    trials = count(found.trials, "trial")
    if found.seconds is None:
        return note(f"{trials}. How long they take is not known before a run on this model and data.")
    return note(
        f"{trials}, about {duration(found.seconds)} of training one after another, at the pace of "
        f"“{found.known_from}”; loading and evaluating come on top."
    )
