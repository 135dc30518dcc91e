"""Further datasets that a run learns from, each with a weight: rows that can be added and taken away.

The component's value is what stands in it: the datasets to choose from, the weight of the main one, and the
rows. The browser draws and changes them (``assets/mix.js``); what comes back is read here as what it is,
something that somebody sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from pages.theme import asset
from studio.training import Recipe

#: As many as a recipe takes.
MOST = 16


def draw_mix() -> Any:
    """Make the component; give it ``mixing``."""
    return gr.HTML(
        mixing([], None),
        html_template='<div class="td-mix" data-part="mix"></div>',
        js_on_load=asset("mix.js"),
        apply_default_css=False,
        elem_id="train-mix",
        most=MOST,
    )


def mixing(choices: Sequence[tuple[str, str]], main: str | None, sent: Any = None) -> dict[str, Any]:
    """The value with these datasets to choose from beside the ``main`` one.

    Of the rows that the browser ``sent`` those stay whose dataset can be chosen.
    """
    offered = [[label, reference] for label, reference in choices if reference != main]
    known = {reference for _, reference in offered}
    weight, rows = _read(sent)
    kept = [list(row) for row in rows if row[0] in known]
    return {"choices": offered, "weight": weight if kept else 1.0, "rows": kept}


def mix_of(recipe: Recipe, sent: Any) -> dict[str, Any]:
    """The value that shows a recipe's datasets, with the choices that there are."""
    choices = sent.get("choices") if isinstance(sent, Mapping) else None
    rows = [[source.dataset, source.weight] for source in recipe.mix]
    return {"choices": choices or [], "weight": recipe.weight, "rows": rows}


def mixed(sent: Any) -> dict[str, Any]:
    """The recipe's fields ``weight`` and ``mix``; nothing where no other dataset is mixed in."""
    weight, rows = _read(sent)
    if not rows:
        return {}
    return {"weight": weight, "mix": [{"dataset": name, "weight": share} for name, share in rows]}


def _read(sent: Any) -> tuple[Any, list[tuple[str, Any]]]:
    """The weight of the main dataset and the rows, as far as they are what the component sends."""
    if not isinstance(sent, Mapping):
        return 1.0, []
    rows = sent.get("rows")
    pairs = [row for row in rows if isinstance(row, list) and len(row) == 2] if isinstance(rows, list) else []
    named = [(str(name)[:200], share) for name, share in pairs if name]
    return sent.get("weight", 1.0), named[: MOST + 1]
