"""Who sits where: the rows of ``places``, and what is free.

A place at an item is held by a standing label that is no skip, or by a lease that has not run out. At a
data item no more people than the project's overlap hold one; gold and repeats take nobody's place. These
functions work inside a transaction that the caller has open.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace

from studio.annotation.items import first_side, seen_from
from studio.annotation.records import ItemKind, Project, Standing, Verdict
from studio.annotation.schema_store import LEASED
from studio.annotation.store import Known
from studio.core import Conflict, NotFound
from studio.core.database import Row


@dataclass(frozen=True)
class Place:
    """One person's seat at an item; ``label`` is the number of the newest row of labels there."""

    item_id: str
    position: int
    kind: ItemKind
    side: str
    until: float
    state: int = LEASED
    label: int | None = None
    suggested: Verdict | None = None


@dataclass(frozen=True)
class Tally:
    """How much a person was given and did in a project; ``done`` counts data labels alone."""

    given: int = 0
    golds: int = 0
    repeats: int = 0
    labelled: int = 0
    skipped: int = 0
    done: int = 0
    frontier: int = -1


def drawn_side(known: Known, item: str, annotator: str) -> str:
    """The side on which a person is to see an item's first answer; a single answer stands on A."""
    return "a" if known.single else first_side(known.salt, item, annotator)


def seat(connection: sqlite3.Connection, known: Known, annotator: str, item: str) -> Place:
    """This person's place at an item; one that is not stored yet where they never had it.

    Raises:
        NotFound: The project has no such item.
    """
    project_id = known.project.id
    row = connection.execute(SEAT, (project_id, annotator, item)).fetchone()
    if row is not None:
        return place_of(row)
    found = connection.execute(
        "SELECT position, kind FROM items WHERE project_id = ? AND id = ?", (project_id, item)
    ).fetchone()
    if found is None:
        raise NotFound(f"{known.project.name} has no item {item}.", "Ask for the next items again.")
    side = drawn_side(known, item, annotator)
    return Place(item, found["position"], ItemKind(found["kind"]), side, 0.0)


def check_free(
    connection: sqlite3.Connection, project: Project, annotator: str, place: Place, at: float
) -> None:
    """See that a place without a label is this person's to fill.

    Raises:
        Conflict: Its lease ran out and others have taken the item's last place.
    """
    if place.until > at or place.kind is not ItemKind.DATA:
        return
    if not _is_free(connection, project.id, annotator, place.position, at):
        raise Conflict(
            "This item went to somebody else, because its time ran out.", "Go on with the next one."
        )


def count_given(
    connection: sqlite3.Connection, project_id: str, annotator: str, place: Place, step: int
) -> None:
    """Count a place that was made (``step`` 1) or is gone (-1)."""
    connection.execute(
        """INSERT INTO tallies VALUES (:project, :me, :step, :gold, :repeat, 0, 0, 0, :frontier)
        ON CONFLICT DO UPDATE SET given = given + :step, golds = golds + :gold, repeats = repeats + :repeat,
        frontier = max(frontier, :frontier)""",
        {
            "project": project_id,
            "me": annotator,
            "step": step,
            "gold": step if place.kind is ItemKind.GOLD else 0,
            "repeat": step if place.kind is ItemKind.REPEAT else 0,
            "frontier": place.position if place.kind is ItemKind.DATA else -1,
        },
    )


#: One person has so many items on hand in a project at most.
MOST_LEASES = 50


def room(connection: sqlite3.Connection, project_id: str, annotator: str, at: float) -> int:
    """How many more leases this person may have now."""
    sql = """SELECT count(*) FROM places INDEXED BY places_leased
        WHERE project_id = ? AND annotator = ? AND until > 0 AND until > ?"""
    return MOST_LEASES - int(connection.execute(sql, (project_id, annotator, at)).fetchone()[0])


SEAT = """SELECT item_id, position, kind, side, until, state, label, suggested FROM places
    WHERE project_id = ? AND annotator = ? AND item_id = ?"""

# The clock's part in what is free; others' labels are counted in ``missing``.
_FREE = """SELECT 1 FROM items WHERE project_id = :project AND position = :position AND missing > (
    SELECT count(*) FROM places INDEXED BY places_position WHERE project_id = :project
    AND position = :position AND until > :at AND annotator <> :me AND state <> 1 AND kind = 'data')"""
_NOT_MINE = """NOT EXISTS (SELECT 1 FROM places WHERE project_id = :project AND annotator = :me
    AND position = :position AND kind = 'data' AND (state > 0 OR until > :at))"""


def lease(connection: sqlite3.Connection, known: Known, annotator: str, place: Place, at: float) -> Place:
    """Store a place as leased from now on, with what a model suggests to this person."""
    project = known.project
    place = replace(place, until=at + project.lease_seconds)
    if project.suggestion_model:
        place = replace(place, suggested=_suggested(connection, project.id, place))
    made = connection.execute(
        "UPDATE places SET until = ?, suggested = ? WHERE project_id = ? AND annotator = ? AND item_id = ?",
        (place.until, place.suggested, project.id, annotator, place.item_id),
    ).rowcount
    if not made:
        insert_place(connection, project.id, annotator, place)
    return place


def insert_place(connection: sqlite3.Connection, project_id: str, annotator: str, place: Place) -> None:
    """Store a place that is new."""
    connection.execute(
        "INSERT INTO places VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            project_id,
            annotator,
            place.position,
            place.item_id,
            place.kind.value,
            place.side,
            place.until,
            place.state,
            place.label,
            place.suggested,
        ),
    )
    count_given(connection, project_id, annotator, place, 1)


def _suggested(connection: sqlite3.Connection, project_id: str, place: Place) -> Verdict | None:
    sql = "SELECT standing FROM suggestions WHERE project_id = ? AND position = ?"
    row = connection.execute(sql, (project_id, place.position)).fetchone()
    return seen_from(Standing(row["standing"]), place.side) if row else None


def set_until(
    connection: sqlite3.Connection, project_id: str, annotator: str, place: Place, until: float
) -> None:
    """Move the end of a place's lease."""
    connection.execute(
        "UPDATE places SET until = ? WHERE project_id = ? AND annotator = ? AND item_id = ?",
        (until, project_id, annotator, place.item_id),
    )


def is_still_mine(
    connection: sqlite3.Connection, project_id: str, annotator: str, place: Place, at: float
) -> bool:
    """Whether a place is this person's to fill: its lease runs, or nobody has taken it meanwhile."""
    if place.until > at or place.kind is not ItemKind.DATA:
        return True
    return _is_free(connection, project_id, annotator, place.position, at)


def _is_free(
    connection: sqlite3.Connection, project_id: str, annotator: str, position: int, at: float
) -> bool:
    values = {"project": project_id, "me": annotator, "position": position, "at": at}
    return connection.execute(_FREE, values).fetchone() is not None


def is_mine_to_take(
    connection: sqlite3.Connection, project_id: str, annotator: str, position: int, at: float
) -> bool:
    """Whether this person, who has no label there, may be given the data item at a position."""
    sql = f"{_FREE} AND {_NOT_MINE}"
    values = {"project": project_id, "me": annotator, "position": position, "at": at}
    return connection.execute(sql, values).fetchone() is not None


def place_of(row: Row) -> Place:
    """The place that a row holds."""
    suggested = Verdict(row["suggested"]) if row["suggested"] else None
    return Place(
        row["item_id"],
        row["position"],
        ItemKind(row["kind"]),
        row["side"],
        row["until"],
        row["state"],
        row["label"],
        suggested,
    )


def tally_of(row: Row | None) -> Tally:
    """The tally that a row holds; an empty one for None."""
    if row is None:
        return Tally()
    names = ("given", "golds", "repeats", "labelled", "skipped", "done", "frontier")
    return Tally(*(row[name] for name in names))
