"""Another try of a run: the same recipe and the same versions, with what its failure card would change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from studio.core import InvalidInput
from studio.training.recipes import Recipe, dump_recipe, parse_recipe, recipe_text

_TRY = re.compile(r"(.*) \(try (\d{1,9})\)")


def patched(recipe: Recipe, changes: Mapping[str, object]) -> Recipe:
    """The recipe with values put in at dotted paths (``lora.r``), checked like any other.

    Raises:
        InvalidInput: The changed recipe is none; ``details`` name the fields.
    """
    # Only what was chosen is written down: a default that another field speaks against is not a choice.
    values = recipe.model_dump(mode="json", exclude_unset=True)
    for path, value in changes.items():
        _put(values, path.split("."), value)
    return parse_recipe(recipe.STAGE, recipe_text(values))


def retried_name(name: str) -> str:
    """What another try of a run of that name is called: ``tuned 1 (try 2)``."""
    found = _TRY.fullmatch(name)
    root, tries = (found[1], int(found[2])) if found else (name, 1)
    return f"{root[:80]} (try {tries + 1})"


def same_recipe(one: Recipe, other: Recipe) -> bool:
    """Whether two recipes ask for the same, defaults written out."""
    return one.STAGE is other.STAGE and dump_recipe(one) == dump_recipe(other)


def _put(values: Any, path: list[str], value: object) -> None:
    *outer, last = path
    here = values
    try:
        for name in outer:
            here = here[int(name)] if isinstance(here, list) else here.setdefault(name, {})
        here[int(last) if isinstance(here, list) else last] = value
    except (IndexError, ValueError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"A recipe has no {'.'.join(path)}.", "Start it again without the suggested change."
        ) from error
