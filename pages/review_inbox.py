"""The inbox of disagreements: what its card shows, and what becomes of a decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from pages.components.review_inbox import closed, inbox_value
from studio.annotation import Project, Task, Verdict
from studio.annotation.review_records import NewAdjudication
from studio.core import InvalidInput, StudioError
from studio.studio import Studio

#: Disagreements beyond this are counted when the first ones are decided.
MOST_COUNTED = 200


def inbox_of(studio: Studio, project: Project, stored: str = "", problem: Any = None) -> dict[str, Any]:
    """The inbox of a project as its card wants it; what this person may not decide stands last."""
    if project.task is Task.EDIT:
        return closed()
    found = list(studio.review.inbox(studio.actor, project.id, MOST_COUNTED))
    found.sort(key=lambda one: bool(one.refusal))
    return inbox_value(project, found, total=len(found), stored=stored, problem=problem)


def decide(studio: Studio, event: gr.EventData) -> dict[str, Any]:
    """Store a decision of the inbox; the answer is the inbox anew, and what became of it."""
    said: dict[str, Any] = event._data if isinstance(event._data, dict) else {}
    item = str(said.get("item", ""))
    project = studio.annotation.project(studio.actor, str(said.get("project", "")))
    try:
        studio.review.adjudicate(studio.actor, _decision(said))
    except StudioError as error:
        return inbox_of(studio, project, problem={"id": item, "words": str(error)})
    return inbox_of(studio, project, stored=item)


def _decision(said: Mapping[str, Any]) -> NewAdjudication:
    verdict, rating_a, rating_b = said.get("verdict"), said.get("rating_a"), said.get("rating_b")
    if verdict is not None and verdict not in list(Verdict):
        raise InvalidInput(f"{str(verdict)[:40]!r} is no verdict.", "Use the keys or the buttons.")
    ratings = (rating_a, rating_b)
    if any(one is not None and type(one) is not int for one in ratings):
        raise InvalidInput("A rating is a whole number from 1 to 5.", "Use the keys or the buttons.")
    return NewAdjudication(
        project_id=str(said.get("project", "")),
        item_id=str(said.get("item", "")),
        nonce=str(said.get("nonce", "")),
        verdict=None if verdict is None else Verdict(verdict),
        rating_a=rating_a,
        rating_b=rating_b,
        comment=str(said.get("comment", "")),
    )
