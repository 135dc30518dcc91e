"""What a run will do with the rows: its steps, its tokens, and how much of its batches is padding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from studio.training.preflight.profile import Profile
from studio.training.preflight.records import Finding, Severity, SplitFacts
from studio.training.recipes import Recipe
from studio.training.records import Stage

#: Fewer steps than this hardly teach anything.
_FEW_STEPS = 10


@dataclass(frozen=True)
class Outlook:
    """A run's steps in all and in one epoch, and the sequences and tokens of one epoch."""

    steps: int
    epoch_steps: int
    sequences: int
    tokens: int
    learnt_tokens: int


def outlook(recipe: Recipe, facts: Sequence[SplitFacts]) -> Outlook:
    """What one epoch comes to; ``facts`` are the training sides of the recipe's datasets in its order.

    Where datasets are mixed an epoch is as long as every row of the main one needs to come once. Packed
    sequences are counted as if they could be filled to the brim, so steps may be a few more.
    """
    weights = (recipe.weight, *(source.weight for source in recipe.mix))
    main = facts[0].sequences
    totals = np.zeros(3)
    for weight, one in zip(weights, facts, strict=True):
        share = main * weight / weights[0] / one.sequences if one.sequences else 0.0
        totals += share * np.array([one.sequences, one.tokens, one.learnt_tokens])
    sequences = math.ceil(totals[0])
    if getattr(recipe, "packing", False):
        sequences = max(math.ceil(totals[1] / recipe.max_length), min(sequences, 1))
    batches = math.ceil(sequences / (recipe.batch_size * recipe.processes))
    steps = math.ceil(batches / recipe.gradient_accumulation)
    whole = recipe.max_steps if recipe.max_steps > 0 else math.ceil(steps * recipe.epochs)
    return Outlook(whole, steps, sequences, round(totals[1]), round(totals[2]))


def padding_share(profile: Profile, recipe: Recipe) -> float | None:
    """The share of positions that hold no token where rows are drawn by chance and padded to the longest.

    None where nothing is padded, because rows are packed, or where there is no row. The mean of a batch's
    longest row follows from how lengths are spread: it is the sum over lengths of 1 - F(length) ** batch.
    """
    if getattr(recipe, "packing", False):
        return None
    rows = profile.rows.astype(float)
    most = recipe.max_length
    if recipe.STAGE in (Stage.CPT, Stage.SFT):
        rows[most : most + 1] += rows[most + 1 :].sum()
    rows = rows[: most + 1]
    if not rows.sum():
        return None
    below = np.cumsum(rows) / rows.sum()
    longest = float((1 - below**recipe.batch_size).sum())
    mean = float((rows * np.arange(len(rows))).sum() / rows.sum())
    return max(0.0, 1 - mean / longest) if longest else None


def check_outlook(recipe: Recipe, found: Outlook) -> Iterator[Finding]:
    """What a person should know of the run's length."""
    if not found.sequences:
        return
    share = found.learnt_tokens / found.tokens if found.tokens else 0.0
    yield Finding(
        Severity.NOTE,
        "",
        f"About {found.steps:,} step{'s'[: found.steps != 1]}; an epoch is {found.epoch_steps:,} steps over "
        f"{found.sequences:,} sequences with {found.tokens:,} tokens, of which {share:.0%} are learnt.",
        "",
    )
    if found.steps < _FEW_STEPS:
        yield Finding(
            Severity.WARNING,
            "max_steps" if recipe.max_steps > 0 else "epochs",
            f"The run takes {found.steps} step{'s'[: found.steps != 1]}, which hardly teaches anything.",
            "Raise it, lower batch_size or gradient_accumulation, or add rows.",
        )
    late = [
        name
        for name in ("eval_every", "save_every")
        if getattr(recipe, name) > found.steps and name in recipe.model_fields_set
    ]
    for name in late:
        yield Finding(
            Severity.NOTE,
            name,
            f"{name}: {getattr(recipe, name)} is more than the run's {found.steps} steps, so it happens at "
            "the end only.",
            f"Lower {name} to see something on the way.",
        )
