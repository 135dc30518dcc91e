"""The smallest change of a recipe with which a run fits into memory.

Changes are tried in the order in which they cost the researcher least: recomputing activations (time only),
smaller batches with as much more accumulation (the same step, a little slower), shorter sequences, weights
packed to four bits, a lower rank. First each alone, by as little as suffices; then one on top of the
other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from studio.core import InvalidInput
from studio.training.memory.records import Fix, Part
from studio.training.recipes import Recipe
from studio.training.retry import patched

#: What shorter sequences and lower ranks stop at.
_SHORTEST, _LOWEST_RANK = 64, 4

Changes = dict[str, object]
Needed = Callable[[Recipe], tuple[Part, ...]]


def find_fix(recipe: Recipe, tokens_per_row: int, available: int, needed: Needed) -> Fix | None:
    """The smallest change with which ``needed`` is at most ``available`` bytes; None where none is enough.

    Args:
        recipe: What does not fit.
        tokens_per_row: Tokens of the longest row; a ``max_length`` above it changes nothing.
        available: Bytes that there are.
        needed: The parts that a changed recipe needs.
    """
    for changes in _candidates(recipe, tokens_per_row):
        changed = _changed(recipe, changes)
        if changed is None:
            continue
        total = sum(part.bytes for part in needed(changed))
        if total <= available:
            return Fix(changes, total, sentence(recipe, changes))
    return None


def _changed(recipe: Recipe, changes: Changes) -> Recipe | None:
    """The recipe with the changes, or None where they contradict something else in it."""
    try:
        return patched(recipe, changes)
    except InvalidInput:
        return None


def sentence(recipe: Recipe, changes: Changes) -> str:
    """The changes in plain words, and what they cost."""
    said = [words for path in changes if (words := _words(recipe, changes, path))]
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}." if text else "Change nothing."


def _candidates(recipe: Recipe, tokens_per_row: int) -> Iterator[Changes]:
    steps = [
        list(_recompute(recipe)),
        list(_smaller_batches(recipe)),
        list(_shorter(recipe, tokens_per_row)),
        list(_packed(recipe)),
        list(_lower_rank(recipe)),
    ]
    for step in steps:
        yield from step
    # No change is enough alone: the strongest form of each stays, and the next is laid on top of it.
    held: Changes = {}
    for step in steps:
        for changes in step:
            if held:
                yield {**held, **changes}
        held |= step[-1] if step else {}


def _recompute(recipe: Recipe) -> Iterator[Changes]:
    if not recipe.recompute:
        yield {"recompute": True}


def _smaller_batches(recipe: Recipe) -> Iterator[Changes]:
    rows = recipe.batch_size * recipe.gradient_accumulation
    for size in range(recipe.batch_size - 1, 0, -1):
        # The same number of rows a step, so that the learning rate stays right.
        if rows % size == 0:
            yield {"batch_size": size, "gradient_accumulation": rows // size}


def _shorter(recipe: Recipe, tokens_per_row: int) -> Iterator[Changes]:
    length = min(recipe.max_length, max(tokens_per_row, 1))
    while (length := length * 3 // 4 // 16 * 16) >= _SHORTEST:
        yield {"max_length": length}


def _packed(recipe: Recipe) -> Iterator[Changes]:
    if recipe.method != "qlora":
        yield {"method": "qlora"}


def _lower_rank(recipe: Recipe) -> Iterator[Changes]:
    if recipe.method == "full":
        return
    scale = recipe.lora.alpha / recipe.lora.r
    rank = recipe.lora.r
    while (rank := rank // 2) >= _LOWEST_RANK:
        # Alpha goes with it: the scale of the update is alpha / r.
        yield {"lora.r": rank, "lora.alpha": max(round(scale * rank), 1)}


def _words(recipe: Recipe, changes: Changes, path: str) -> str:
    value = changes[path]
    return {
        "recompute": "recompute activations in the backward pass (about a third slower)",
        "batch_size": (
            f"batches of {value} instead of {recipe.batch_size}, {changes.get('gradient_accumulation')} of "
            "them a step (the same rows a step)"
        ),
        "max_length": f"sequences of at most {value} tokens ({_lost(recipe)})",
        "method": "pack the frozen weights to four bits (method: qlora)",
        "lora.r": f"an adapter of rank {value} instead of {recipe.lora.r}",
    }.get(path, "")


def _lost(recipe: Recipe) -> str:
    return {
        "cpt": "longer texts go into more pieces",
        "sft": "longer conversations lose their end",
    }.get(recipe.STAGE.value, "longer pairs and answers are left out")
