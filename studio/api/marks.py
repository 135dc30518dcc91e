"""Marks: remarks on what an object was made of, such as that a person behind it was erased."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from studio.core import Mark


class MarkView(BaseModel):
    """One mark: ``erased`` with the pseudonym of the person, and when that was (seconds since 1970)."""

    what: str
    detail: str
    at: float


def mark_views(marks: Iterable[Mark]) -> list[MarkView]:
    """Marks as clients see them."""
    return [MarkView(what=mark.what, detail=mark.detail, at=mark.at) for mark in marks]
