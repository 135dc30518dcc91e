"""Findings about the rows, drawn from the token files: their lengths, what is learnt, what repeats.

How many rows something is true of comes from the profiles and is exact. Which rows is found by reading
columns of numbers from the start, a row group at a time, until ten are found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from studio.core import read_json
from studio.datasets import Split
from studio.training.preflight.profile import Profile
from studio.training.preflight.records import Finding, Severity, SplitFacts
from studio.training.preflight.token_files import SUMMARY, read_columns
from studio.training.recipes import Recipe
from studio.training.records import Stage

_EXAMPLES = 10
#: Below this share of bad answers among good ones, or above its inverse, KTO wants weights.
_UNEVEN = 0.5
_MANY = 0.1

Mask = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class TokenFolder:
    """The token files of one dataset, under the name that people call it by, and its field in the recipe."""

    path: Path
    source: str
    field: str

    @cached_property
    def profiles(self) -> dict[Split, Profile]:
        """What lengths there are on each side."""
        return {side: Profile.load(self.path / f"{side.value}.profile.npz") for side in Split}

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What the job said of each side: repeated prompts and which rows they stand in."""
        found = read_json(self.path / SUMMARY) or {}
        sides: dict[str, Any] = found.get("sides", {})
        return sides

    def facts(self, recipe: Recipe) -> dict[Split, SplitFacts]:
        """What ``recipe`` makes of each side."""
        return {side: profile.facts(recipe) for side, profile in self.profiles.items()}

    def file(self, side: Split) -> Path:
        """The token file of a side."""
        return self.path / f"{side.value}.parquet"

    def rows(self, side: Split, columns: tuple[str, ...], mask: Mask) -> tuple[int, ...]:
        """The numbers (from 1) of the first rows for which ``mask`` of some columns is true."""
        found: list[int] = []
        for start, values in read_columns(self.file(side), columns):
            found += (np.flatnonzero(mask(values)) + start + 1).tolist()
            if len(found) >= _EXAMPLES:
                break
        return tuple(found[:_EXAMPLES])


def check_rows(folder: TokenFolder, recipe: Recipe) -> Iterator[Finding]:
    """Everything about the rows of one dataset."""
    facts = folder.facts(recipe)
    for side in Split:
        if facts[side].rows:
            yield from _broken(folder, side, facts[side])
            yield from _nothing(folder, recipe, side, facts[side])
            yield from _too_long(folder, recipe, side, facts[side])
    yield from _crossing(folder)
    yield from _repeated(folder, facts[Split.TRAIN])
    if recipe.STAGE is Stage.KTO:
        yield from _balance(recipe, folder, facts[Split.TRAIN])


def _broken(folder: TokenFolder, side: Split, facts: SplitFacts) -> Iterator[Finding]:
    if not facts.broken:
        return
    rows = folder.rows(side, ("why",), lambda of: of["why"].astype(bool))
    why = next(
        (str(one) for _, of in read_columns(folder.file(side), ("why",)) for one in of["why"] if one), ""
    )
    yield Finding(
        Severity.ERROR,
        folder.field,
        f"{_many(facts.broken, side, 'cannot', 'cannot')} be rendered for this model: {why}",
        "Remove or mend these rows, or take a model with another chat template.",
        rows,
        side,
        folder.source,
    )


def _nothing(folder: TokenFolder, recipe: Recipe, side: Split, facts: SplitFacts) -> Iterator[Finding]:
    if not facts.sequences and not facts.broken:
        yield Finding(
            Severity.ERROR if side is Split.TRAIN else Severity.WARNING,
            "max_length",
            f"Of {_many(facts.rows, side, 'none', 'none')} fits into max_length: {recipe.max_length}.",
            "Raise max_length, or take a dataset with shorter rows.",
            tuple(range(1, min(facts.rows, _EXAMPLES) + 1)),
            side,
            folder.source,
        )
    elif facts.nothing_to_learn:
        cut = recipe.STAGE is Stage.SFT
        most = recipe.max_length

        def bare(of: dict[str, Any]) -> Any:
            return (of["first"] < 0) | (cut & (of["first"] >= most))

        yield Finding(
            Severity.WARNING,
            "max_length" if cut else folder.field,
            f"{_many(facts.nothing_to_learn, side, 'has', 'have')} nothing to learn "
            f"({_share(facts.nothing_to_learn, facts.rows)} of all), so the trainer does not get "
            f"{'it' if facts.nothing_to_learn == 1 else 'them'}"
            + (f": the answers begin after {most} tokens." if cut else "."),
            "Raise max_length, or shorten their prompts." if cut else "Nothing, unless they should count.",
            folder.rows(side, ("first",), bare),
            side,
            folder.source,
        )


def _too_long(folder: TokenFolder, recipe: Recipe, side: Split, facts: SplitFacts) -> Iterator[Finding]:
    answers = recipe.STAGE in (Stage.DPO, Stage.KTO, Stage.REWARD)
    number = facts.left_out if answers else facts.truncated
    if not number or not facts.sequences:
        return
    share = _share(number, facts.rows)
    if recipe.STAGE is Stage.CPT:
        said, kind = "learnt in pieces, and nothing is lost", Severity.NOTE
    elif answers:
        said, kind = "left out: a cut answer would be judged by its first half", Severity.WARNING
    else:
        said, kind = "cut at the end, and what comes after is not learnt", Severity.WARNING
    longest = facts.lengths.longest
    yield Finding(
        kind,
        "max_length",
        f"{_many(number, side, 'is', 'are')} longer than {recipe.max_length} tokens ({share} of all): "
        f"{said}.",
        f"Give max_length: {longest} to keep all of them, at the price of memory."
        if kind is Severity.WARNING
        else "",
        folder.rows(side, ("length",), lambda of: of["length"] > recipe.max_length),
        side,
        folder.source,
    )


def _crossing(folder: TokenFolder) -> Iterator[Finding]:
    """Prompts that stand on both sides; the second side that was read knows of them."""
    said = folder.summary.get(Split.VALIDATION.value, {})
    if not said.get("across"):
        return
    yield Finding(
        Severity.WARNING,
        folder.field,
        f"{_many(said['across'], Split.VALIDATION, 'has', 'have')} a prompt that is trained on as well, so "
        "the held-out loss will look better than it is.",
        "Import the data anew; the studio then keeps a prompt on one side.",
        tuple(pair[0] for pair in said["crossing"]),
        Split.VALIDATION,
        folder.source,
    )


def _repeated(folder: TokenFolder, facts: SplitFacts) -> Iterator[Finding]:
    if not facts.duplicates:
        return
    pairs = folder.summary[Split.TRAIN.value]["pairs"]
    often = facts.duplicates > _MANY * facts.rows
    first = f" (row {pairs[0][0]} asks what row {pairs[0][1]} asks)" if pairs else ""
    yield Finding(
        Severity.WARNING if often else Severity.NOTE,
        folder.field,
        f"{_many(facts.duplicates, Split.TRAIN, 'repeats', 'repeat')} the prompt of an earlier row, "
        f"{_share(facts.duplicates, facts.rows)} of all{first}.",
        "Look whether they are meant; what stands there twice is learnt twice.",
        tuple(pair[0] for pair in pairs),
        Split.TRAIN,
        folder.source,
    )


def _balance(recipe: Recipe, folder: TokenFolder, facts: SplitFacts) -> Iterator[Finding]:
    good, bad = facts.good, facts.rows - facts.broken - facts.good
    if not good or not bad:
        kind = "good" if good else "bad"
        yield Finding(
            Severity.WARNING,
            folder.field,
            f"Every answer is {kind}, so there is nothing to tell apart.",
            "Add answers of the other kind.",
            source=folder.source,
        )
        return
    weights = getattr(recipe, "desirable_weight", 1.0), getattr(recipe, "undesirable_weight", 1.0)
    ratio = good * weights[0] / (bad * weights[1])
    if not _UNEVEN <= ratio <= 1 / _UNEVEN:
        few = "undesirable_weight" if ratio > 1 else "desirable_weight"
        fair = round(max(ratio, 1 / ratio) * (weights[1] if ratio > 1 else weights[0]), 2)
        yield Finding(
            Severity.WARNING,
            few,
            f"There are {good:,} good and {bad:,} bad answers, and with these weights one kind outweighs the "
            "other.",
            f"Give {few}: {fair:g} to even them out.",
            source=folder.source,
        )


def _many(number: int, side: Split, one: str, more: str) -> str:
    """``1 training row has``, ``7 training rows have``."""
    kind = "training" if side is Split.TRAIN else "held-out"
    return f"1 {kind} row {one}" if number == 1 else f"{number:,} {kind} rows {more}"


def _share(part: int, whole: int) -> str:
    share = part / whole if whole else 0.0
    return f"{share:.1%}" if share < 0.1 else f"{share:.0%}"
