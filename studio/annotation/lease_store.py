"""Who is given what: leases on items, given in one transaction and returned by the clock.

The invariant: at no moment do more people than the project's overlap hold a place at a data item (see
``place_store``). Candidates are looked for outside of the transaction, since that may take milliseconds,
and each is checked again inside.

It does not keep two windows of one person apart: they are given the same items.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator
from functools import partial

from studio.annotation.items import due, repeat_id
from studio.annotation.place_store import (
    MOST_LEASES,
    SEAT,
    Place,
    Tally,
    check_free,
    count_given,
    drawn_side,
    is_mine_to_take,
    is_still_mine,
    lease,
    place_of,
    room,
    seat,
    set_until,
    tally_of,
)
from studio.annotation.records import ItemKind, Project
from studio.annotation.schema_store import LABELLED, SKIPPED
from studio.annotation.store import Known
from studio.core import Conflict, Database

#: An item is shown again after so many labels of the person at the earliest.
REPEAT_AFTER = 8

# Others may take candidates between the search and the lease; so many more are looked for.
_SPARE = 16
_ROUNDS = 8


class LeaseStore:
    """Gives leases and takes them back; ``clock`` is the time of day in seconds."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def give(self, known: Known, annotator: str, count: int, held: Collection[str]) -> tuple[Place, ...]:
        """Lease up to ``count`` items that are not among ``held``, and renew those."""
        project_id = known.project.id
        for _ in range(_ROUNDS):
            found = self._candidates(project_id, annotator, count + _SPARE)
            places = self._database.grouped(
                partial(
                    _give,
                    known=known,
                    annotator=annotator,
                    count=count,
                    held=held,
                    found=found,
                    at=self._clock(),
                )
            )
            if places or not found or count <= 0 or self._is_full(project_id, annotator):
                return places
        return ()

    def renew(self, known: Known, annotator: str, items: Collection[str]) -> tuple[str, ...]:
        """Lease again what is still this person's or free; returns those items."""
        return self._database.grouped(
            lambda connection: _renew(connection, known.project, annotator, items, self._clock())
        )

    def release(self, known: Known, annotator: str, items: Collection[str]) -> None:
        """Give back places without a standing label."""
        self._database.grouped(lambda connection: _release(connection, known.project.id, annotator, items))

    def take(self, known: Known, annotator: str, item: str) -> Place:
        """This person's place at an item, leased if it holds no label yet.

        Raises:
            NotFound: There is no such item.
            Conflict: Others have taken its last place, or this person has too many on hand.
        """

        def work(connection: sqlite3.Connection) -> Place:
            at = self._clock()
            place = seat(connection, known, annotator, item)
            if place.state == LABELLED:
                return place
            check_free(connection, known.project, annotator, place, at)
            if place.until <= at and room(connection, known.project.id, annotator, at) <= 0:
                raise Conflict(
                    f"You have {MOST_LEASES} items on hand, and that is the most.",
                    "Label some of them or give some back first.",
                )
            return lease(connection, known, annotator, place, at)

        return self._database.grouped(work)

    def tally(self, project_id: str, annotator: str) -> Tally:
        """How much a person was given and did."""
        sql = "SELECT * FROM tallies WHERE project_id = ? AND annotator = ?"
        return tally_of(self._database.row(sql, (project_id, annotator)))

    def done(self, project_id: str) -> int:
        """Standing labels on data items, of everybody."""
        sql = "SELECT coalesce(sum(done), 0) FROM tallies WHERE project_id = ?"
        return int(self._database.rows(sql, (project_id,))[0][0])

    def available(self, known: Known, annotator: str) -> int:
        """How many items this person could still be given, those on hand and what checks them included.

        What is to come of gold and repeats is reckoned ahead, so that a label takes one away whatever it
        was about.
        """
        project_id = known.project.id
        values = {"project": project_id, "me": annotator, "at": self._clock()}
        data = int(self._database.rows(_AVAILABLE, values)[0][0])
        on_hand = self._database.rows(_ON_HAND, values)[0]
        fresh = max(0, data - on_hand["data"])
        return data + int(on_hand["checks"]) + self._checks_to_come(known, annotator, fresh)

    def _checks_to_come(self, known: Known, annotator: str, fresh: int) -> int:
        """How much gold and how many repeats will be among so many further data items, about."""
        project = known.project
        tally = self.tally(project.id, annotator)
        golds = 0
        if fresh and project.gold_version_id:
            sql = "SELECT count(*) FROM items WHERE project_id = ? AND kind = 'gold'"
            golds = int(self._database.rows(sql, (project.id,))[0][0]) - tally.golds
        # An item can come again once it is so many labels ago.
        again = tally.given - tally.golds - 2 * tally.repeats + fresh - REPEAT_AFTER
        checks = 0
        for _ in range(_ROUNDS * _ROUNDS if fresh else 0):
            given = tally.given + fresh + checks
            found = 0
            if golds > 0:
                due_now = due(known.salt, annotator, "gold", project.gold_every, given)
                found += min(golds, max(0, due_now - tally.golds))
            if again > 0 and project.repeat_every:
                due_now = due(known.salt, annotator, "repeat", project.repeat_every, given)
                found += min(again, max(0, due_now - tally.repeats))
            if found == checks:
                break
            checks = found
        return checks

    def _is_full(self, project_id: str, annotator: str) -> bool:
        at = self._clock()
        return self._database.grouped(lambda connection: room(connection, project_id, annotator, at)) <= 0

    def _candidates(self, project_id: str, annotator: str, count: int) -> list[tuple[int, str]]:
        """Data items that could be leased: what others left behind, then what comes next, then the rest."""
        frontier = self.tally(project_id, annotator).frontier
        values = {
            "project": project_id,
            "me": annotator,
            "at": self._clock(),
            "count": count,
            "frontier": frontier,
        }
        found: dict[int, str] = {}
        for sql in (_RETURNED, _AHEAD, _BEHIND):
            if len(found) < count:
                found.update((row["position"], row["id"]) for row in self._database.rows(sql, values))
        return list(found.items())


# Others' leases are few and this person's places are read once, so a search costs one walk over the items
# that lack labels. The planner has no statistics and would choose other indexes.
_LEASED = """WITH leased AS MATERIALIZED (SELECT position, count(*) AS n FROM places INDEXED BY places_leased
    WHERE project_id = :project AND until > 0 AND until > :at AND annotator <> :me AND state <> 1
    AND kind = 'data' GROUP BY position)"""
_OPEN = """project_id = :project AND missing > 0
    AND missing > coalesce((SELECT n FROM leased WHERE leased.position = items.position), 0)"""
_MINE = """SELECT position FROM places WHERE project_id = :project AND annotator = :me AND kind = 'data'
    AND (state > 0 OR until > :at)"""
_SEARCH = f"{_LEASED} SELECT position, id FROM items INDEXED BY items_open WHERE {_OPEN}"

_RETURNED = f"""{_LEASED} SELECT position, id FROM items WHERE {_OPEN} AND position IN (
    SELECT position FROM places INDEXED BY places_leased WHERE project_id = :project AND until > 0
    AND until <= :at AND annotator <> :me AND kind = 'data') AND NOT EXISTS (
    {_MINE} AND places.position = items.position) ORDER BY position LIMIT :count"""
# Beyond the farthest item that this person ever had, nothing can be theirs.
_AHEAD = f"{_SEARCH} AND position > :frontier ORDER BY position LIMIT :count"
_BEHIND = f"""{_SEARCH} AND position <= :frontier AND position NOT IN ({_MINE})
    ORDER BY position LIMIT :count"""
_AVAILABLE = f"""{_LEASED} SELECT count(*) FROM items INDEXED BY items_open WHERE {_OPEN}
    AND position NOT IN ({_MINE} AND state > 0)"""
_ON_HAND = """SELECT count(*) FILTER (WHERE kind = 'data') AS data,
    count(*) FILTER (WHERE kind <> 'data') AS checks FROM places INDEXED BY places_leased
    WHERE project_id = :project AND annotator = :me AND until > 0 AND state = 0"""


def _give(
    connection: sqlite3.Connection,
    known: Known,
    annotator: str,
    count: int,
    held: Collection[str],
    found: list[tuple[int, str]],
    at: float,
) -> tuple[Place, ...]:
    project = known.project
    _renew(connection, project, annotator, held, at)
    waiting = _own_leases(connection, project, annotator, held, at)
    live = [place for place in waiting if place.until > at][:count]
    given = [lease(connection, known, annotator, place, at) for place in live]
    # What is leased already takes no room; everything else does.
    count = min(count, len(given) + room(connection, project.id, annotator, at))
    over = [place for place in waiting if place.until <= at][: count - len(given)]
    given += [lease(connection, known, annotator, place, at) for place in over]
    fresh = _fresh(connection, known, annotator, found, at)
    while len(given) < count and (place := next(fresh, None)) is not None:
        given.append(lease(connection, known, annotator, place, at))
    if len(given) < count:
        again = _skipped(connection, project, annotator, held, count - len(given), at)
        given += [lease(connection, known, annotator, place, at) for place in again]
    return tuple(given)


def _fresh(
    connection: sqlite3.Connection, known: Known, annotator: str, found: list[tuple[int, str]], at: float
) -> Iterator[Place]:
    """New places: data items, with gold and repeats among them where they are due.

    Each must be stored before the next is asked for, because what is due depends on what was given.
    """
    project_id = known.project.id
    for position, item in found:
        if not is_mine_to_take(connection, project_id, annotator, position, at):
            continue
        while (special := _special(connection, known, annotator)) is not None:
            yield special
        yield Place(item, position, ItemKind.DATA, drawn_side(known, item, annotator), 0.0)


def _special(connection: sqlite3.Connection, known: Known, annotator: str) -> Place | None:
    project = known.project
    sql = "SELECT * FROM tallies WHERE project_id = ? AND annotator = ?"
    tally = tally_of(connection.execute(sql, (project.id, annotator)).fetchone())
    if project.gold_version_id and tally.golds < due(
        known.salt, annotator, "gold", project.gold_every, tally.given + 1
    ):
        gold = _some_gold(connection, known, annotator)
        if gold is not None:
            return gold
    if project.repeat_every and tally.repeats < due(
        known.salt, annotator, "repeat", project.repeat_every, tally.given + 1
    ):
        return _some_repeat(connection, known, annotator)
    return None


def _some_gold(connection: sqlite3.Connection, known: Known, annotator: str) -> Place | None:
    row = connection.execute(
        """SELECT position, id FROM items WHERE project_id = :project AND kind = 'gold' AND NOT EXISTS (
            SELECT 1 FROM places WHERE project_id = :project AND annotator = :me
            AND position = items.position) ORDER BY random() LIMIT 1""",
        {"project": known.project.id, "me": annotator},
    ).fetchone()
    if row is None:
        return None
    return Place(row["id"], row["position"], ItemKind.GOLD, drawn_side(known, row["id"], annotator), 0.0)


def _some_repeat(connection: sqlite3.Connection, known: Known, annotator: str) -> Place | None:
    row = connection.execute(
        """SELECT position FROM places AS first WHERE project_id = :project AND annotator = :me
        AND kind = 'data' AND state = 1 AND label < (
            SELECT label FROM places WHERE project_id = :project AND annotator = :me AND state > 0
            ORDER BY label DESC LIMIT 1 OFFSET :after)
        AND NOT EXISTS (SELECT 1 FROM places WHERE project_id = :project AND annotator = :me
            AND position = first.position AND kind = 'repeat')
        AND NOT EXISTS (SELECT 1 FROM looks WHERE project_id = :project AND annotator = :me
            AND item_id = first.item_id)
        ORDER BY random() LIMIT 1""",
        {"project": known.project.id, "me": annotator, "after": REPEAT_AFTER - 1},
    ).fetchone()
    if row is None:
        return None
    item = repeat_id()
    return Place(item, row["position"], ItemKind.REPEAT, drawn_side(known, item, annotator), 0.0)


def _own_leases(
    connection: sqlite3.Connection, project: Project, annotator: str, held: Collection[str], at: float
) -> list[Place]:
    """What this person was given and has not answered, and nobody else has taken meanwhile."""
    sql = f"{SEAT.partition('WHERE')[0]} WHERE project_id = ? AND annotator = ? AND until > 0"
    rows = connection.execute(sql, (project.id, annotator)).fetchall()
    found = [place for row in rows if (place := place_of(row)).item_id not in held]
    return [place for place in found if is_still_mine(connection, project.id, annotator, place, at)]


def _skipped(
    connection: sqlite3.Connection,
    project: Project,
    annotator: str,
    held: Collection[str],
    count: int,
    at: float,
) -> list[Place]:
    """What this person set aside, the oldest first, where a place is free."""
    sql = f"""{SEAT.partition("WHERE")[0]} WHERE project_id = ? AND annotator = ? AND state = {SKIPPED}
        AND until = 0 ORDER BY label LIMIT ?"""
    rows = connection.execute(sql, (project.id, annotator, count + len(held) + _SPARE)).fetchall()
    found = [place for row in rows if (place := place_of(row)).item_id not in held]
    free = [place for place in found if is_still_mine(connection, project.id, annotator, place, at)]
    return free[:count]


def _renew(
    connection: sqlite3.Connection, project: Project, annotator: str, items: Collection[str], at: float
) -> tuple[str, ...]:
    kept = []
    for item in items:
        row = connection.execute(SEAT, (project.id, annotator, item)).fetchone()
        # What was skipped or undone is not on hand until it is asked for.
        if row is None or (place := place_of(row)).until == 0.0:
            continue
        has_room = place.until > at or room(connection, project.id, annotator, at) > 0
        if has_room and is_still_mine(connection, project.id, annotator, place, at):
            set_until(connection, project.id, annotator, place, at + project.lease_seconds)
            kept.append(item)
    return tuple(kept)


def _release(connection: sqlite3.Connection, project_id: str, annotator: str, items: Collection[str]) -> None:
    for item in items:
        row = connection.execute(SEAT, (project_id, annotator, item)).fetchone()
        if row is None or (place := place_of(row)).until == 0.0:
            continue
        if place.label is None:
            connection.execute(
                "DELETE FROM places WHERE project_id = ? AND annotator = ? AND item_id = ?",
                (project_id, annotator, item),
            )
            count_given(connection, project_id, annotator, place, -1)
        else:
            set_until(connection, project_id, annotator, place, 0.0)
