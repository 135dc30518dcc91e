"""What people see of places and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from studio.annotation.items import seen_from, shown
from studio.annotation.place_store import Place
from studio.annotation.records import Entry, Item, Label, Project, Standing, Suggestion
from studio.annotation.schema_store import LABELLED
from studio.annotation.store import AnnotationStore

#: Labels are counted in steps of this many at least, for those who must not see which of theirs count.
_LEAST_STEP = 10


def in_steps(done: int, needed: int) -> int:
    """``done`` rounded down to a fiftieth of ``needed``, or to ten labels; exact once all are there."""
    step = max(_LEAST_STEP, needed // 50)
    return done if done >= needed else done - done % step


def items_of(store: AnnotationStore, project: Project, places: Sequence[Place]) -> tuple[Item, ...]:
    """The items at some places, as the person who holds them sees them."""
    if not places:
        return ()
    positions = {place.position for place in places}
    texts = {
        item.position: (item.prompt, item.first, item.second) for item in store.items(project.id, positions)
    }
    opinions = store.suggestions(project.id, positions) if project.suggestion_model else {}
    return tuple(
        shown(
            project.id,
            place.item_id,
            texts[place.position],
            place.side,
            None if place.state == LABELLED else place.until,
            _suggestion(project, place, opinions),
        )
        for place in places
    )


def _suggestion(
    project: Project, place: Place, opinions: dict[int, tuple[Standing, float]]
) -> Suggestion | None:
    # Shown is what was stored with the place, so that the label says what its annotator saw.
    if place.suggested is None or place.position not in opinions:
        return None
    return Suggestion(place.suggested, project.suggestion_model, opinions[place.position][1])


def others_labels(own: Entry, entries: Sequence[Entry], *, named: bool) -> tuple[Label, ...]:
    """The others' labels as the person of ``own`` would have given them on their own sides."""
    others = [entry for entry in entries if entry.label.annotator != own.label.annotator]
    return tuple(
        _turned(entry, own, entry.label.annotator if named else f"Person {number}")
        for number, entry in enumerate(others, 1)
    )


def _turned(entry: Entry, own: Entry, name: str) -> Label:
    label = replace(
        entry.label,
        item_id=own.label.item_id,
        annotator=name,
        verdict=seen_from(entry.standing, own.first_side),
    )
    if entry.first_side == own.first_side:
        return label
    if label.rating_b is not None:
        label = replace(label, rating_a=label.rating_b, rating_b=label.rating_a)
    other_side = {"a": "b", "b": "a"}
    suggested = label.suggested
    if suggested is not None and suggested.value in other_side:
        label = replace(label, suggested=type(suggested)(other_side[suggested.value]))
    return label
