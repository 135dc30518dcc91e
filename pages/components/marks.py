"""Marks in words: what happened to people behind a dataset, a run or a model."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from pages.components.markup import note
from pages.components.wording import count, stamp
from studio.core import Mark


def marks_note(marks: Sequence[Mark]) -> Markup:
    """A note where there are marks, nothing where there are none."""
    if not marks:
        return Markup()
    people = "One person" if len(marks) == 1 else count(len(marks), "person", "people")
    sentence = (
        f"{people} whose labels, votes or thumbs are behind this asked to be erased since it, or what it was "
        "made of, was judged. What they judged stays, under a pseudonym."
    )
    return note(sentence, "td-busy", [f"{mark.detail}, {stamp(mark.at)}" for mark in marks])
