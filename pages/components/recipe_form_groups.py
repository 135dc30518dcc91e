"""The recipe form in groups: what people change from run to run first, the rest folded under a name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gradio as gr

from pages.components.recipe_form import FIELDS, Field, component
from studio.training import Stage

USUAL = (
    "method",
    "lora.r",
    "learning_rate",
    "epochs",
    "max_steps",
    "batch_size",
    "max_length",
    "beta",
    "loss",
    "label_smoothing",
    "desirable_weight",
    "undesirable_weight",
    "center_rewards",
)
GROUPS = {
    "Adapter": ("lora.alpha", "lora.dropout", "lora.targets", "lora.dora", "lora.plus_ratio"),
    "Steps and learning rate": (
        "gradient_accumulation",
        "scheduler",
        "warmup_ratio",
        "weight_decay",
        "max_grad_norm",
        "neftune_alpha",
    ),
    "Rows": ("assistant_only", "packing", "seed"),
    "Evaluation and checkpoints": (
        "eval_every",
        "eval_rows",
        "early_stop_patience",
        "keep_best",
        "save_every",
        "keep_checkpoints",
        "log_every",
    ),
    "Machine": ("engine", "dtype", "attention", "recompute", "processes", "parallel"),
}
#: Where a field goes that no group names, so that a new one of a recipe class is never lost.
_REST = "Other settings"


def grouped() -> dict[str, tuple[Field, ...]]:
    """Every field of the form by the name of its group; those that are not folded are under ``""``."""
    by_path = {field.path: field for field in FIELDS}
    named = {"": USUAL, **GROUPS}
    known = {path for paths in named.values() for path in paths}
    rest = tuple(path for path in by_path if path not in known)
    if rest:
        named[_REST] = rest
    return {name: tuple(by_path[path] for path in paths) for name, paths in named.items()}


def draw(stage: Stage) -> dict[str, Any]:
    """Make the components as ``stage`` shows them; returns them by keyword in the order of ``FIELDS``."""
    made: dict[str, Any] = {}
    for name, members in grouped().items():
        if not name:
            made |= _row(members, stage)
            continue
        with gr.Accordion(name, open=False):
            made |= _row(members, stage)
    return {field.key: made[field.key] for field in FIELDS}


def _row(members: Iterable[Field], stage: Stage) -> dict[str, Any]:
    with gr.Row(elem_classes="td-grid"):
        return {field.key: component(field, stage) for field in members}
