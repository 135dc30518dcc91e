"""Recipes to begin with: fast, balanced and best for each stage, and what each gives up for what.

Every preset of a stage sets the same fields, so taking another one leaves nothing of the last behind. The
learning rates lie within what the pre-flight calls usual for the stage. They are beginnings to change, not
findings: which values are best for a model and its data only runs can tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from studio.training.records import Stage

PRESETS = ("fast", "balanced", "best")
_USUAL = "balanced"

#: Fast takes this many steps at most: a curve's direction shows by then.
_FIRST_LOOK_STEPS = 60
#: Evaluations in one pass over the rows, where there are held-out rows.
_EVALUATIONS_A_PASS = 4
#: Learning rates for an adapter: fast learns in big steps, best in small ones.
_RATES = {
    Stage.CPT: (5e-4, 2e-4, 1e-4),
    Stage.SFT: (5e-4, 2e-4, 1e-4),
    Stage.DPO: (1e-4, 5e-5, 2e-5),
    Stage.KTO: (1e-4, 5e-5, 2e-5),
    Stage.REWARD: (2e-4, 1e-4, 5e-5),
}
#: Passes over the rows: verdicts are learnt by heart sooner than texts and answers.
_PASSES = {
    Stage.CPT: (1.0, 2.0, 3.0),
    Stage.SFT: (1.0, 2.0, 3.0),
    Stage.DPO: (1.0, 1.0, 2.0),
    Stage.KTO: (1.0, 1.0, 2.0),
    Stage.REWARD: (1.0, 1.0, 2.0),
}
#: Whether short rows share a sequence: always for texts; for conversations only where speed comes first.
_PACKING = {Stage.CPT: (True, True, True), Stage.SFT: (True, False, False)}
_TIMES = {1.0: "once", 2.0: "twice", 3.0: "three times"}


def presets(stage: Stage) -> dict[str, dict[str, Any]]:
    """The presets of a stage by name: values by the dotted path of their field."""
    return {name: _values(stage, place) for place, name in enumerate(PRESETS)}


def trade(stage: Stage, name: str) -> str:
    """What a preset of a stage gives and what it costs, in plain words.

    Raises:
        KeyError: There is no such preset.
    """
    passes = {known: _TIMES[_PASSES[stage][place]] for place, known in enumerate(PRESETS)}
    return {
        "fast": (
            f"At most {_FIRST_LOOK_STEPS} steps, shorter rows and a small adapter. Shows soon whether the "
            "data and the settings are right, and says little about how good the model can get."
        ),
        "balanced": (
            f"Every row {passes['balanced']}, with an adapter of middle size and the loss on held-out rows "
            "along the way. A sound first run."
        ),
        "best": (
            f"Every row up to {passes['best']}, with a large adapter and small steps. Gives out the "
            "checkpoint with the lowest held-out loss and ends when that no longer falls. Takes several "
            "times as long, and more memory."
        ),
    }[name]


def fitted(values: Mapping[str, Any], rows: int, held_out: int) -> dict[str, Any]:
    """A preset's values on a dataset: evaluations so often that a pass has a few, or none.

    Args:
        values: A preset.
        rows: Training rows of the dataset.
        held_out: Its held-out rows; without any nothing is evaluated, and nothing can be called best.
    """
    made = dict(values)
    if not held_out:
        return made | {"eval_every": 0, "early_stop_patience": 0, "keep_best": False}
    if made["eval_every"]:
        steps = math.ceil(rows / (made["batch_size"] * made["gradient_accumulation"]))
        made["eval_every"] = max(1, steps // _EVALUATIONS_A_PASS)
    return made


def usual() -> str:
    """The name of the preset that a form opens with."""
    return _USUAL


def _values(stage: Stage, place: int) -> dict[str, Any]:
    rank = (8, 16, 64)[place]
    made: dict[str, Any] = {
        "method": "lora",
        "lora.r": rank,
        "lora.alpha": 2 * rank,
        "learning_rate": _RATES[stage][place],
        "epochs": _PASSES[stage][place],
        "max_steps": (_FIRST_LOOK_STEPS, -1, -1)[place],
        "batch_size": 4,
        "gradient_accumulation": (1, 2, 4)[place],
        "max_length": (256, 512, 512)[place],
        "eval_every": (0, 50, 50)[place],
        "eval_rows": (100, 200, 500)[place],
        "early_stop_patience": (0, 0, 3)[place],
        "keep_best": (False, False, True)[place],
    }
    if stage in _PACKING:
        made["packing"] = _PACKING[stage][place]
    return made
