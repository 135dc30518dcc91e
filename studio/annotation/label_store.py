"""Labels: added with everything that follows from them in one durable transaction, never changed.

A label costs the writers' one thread a handful of statements: the place and the nonce are looked up, the
label, its lineage and its line in the audit are added, and the place, the item's missing labels and
the person's tally follow. Many labels share one commit (``Database.grouped``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace

from studio.annotation.entries import entry_of
from studio.annotation.membership import leads
from studio.annotation.place_store import Place, check_free, count_given, is_still_mine, room, seat
from studio.annotation.records import Entry, ItemKind, Label, NewLabel, Verdict
from studio.annotation.schema_store import LABELLED, LEASED, SKIPPED
from studio.annotation.store import Known
from studio.core import Actor, Audit, Conflict, Database, Edge, Lineage, Node
from studio.core.ids import new_ordered_id


class LabelStore:
    """Adds labels and reads a person's own; ``clock`` is the time of day in seconds."""

    def __init__(
        self, database: Database, lineage: Lineage, audit: Audit, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._lineage = lineage
        self._audit = audit
        self._clock = clock

    def add(self, known: Known, new: NewLabel, verdict: Verdict, actor: Actor) -> Entry:
        """Store a label over the person's earlier one; of a known nonce, return the label it made.

        Raises:
            NotFound: There is no such item.
            Conflict: The nonce belongs to something else, the item's last place was taken by others, or the
                person has seen what others said of it and does not lead the project.
        """

        def work(connection: sqlite3.Connection) -> Entry:
            earlier = _by_nonce(connection, new.nonce)
            if earlier is not None:
                return _unless_other(earlier, _means_the_same(earlier.label, new, verdict, actor.name))
            at = self._clock()
            place = seat(connection, known, actor.name, new.item_id)
            _check_unseen(connection, known, actor, place.item_id)
            if place.state != LABELLED:
                check_free(connection, known.project, actor.name, place, at)
            label = _label(known, new, verdict, actor.name, at, place)
            entry = insert_label(connection, label, place, new.nonce)
            self._note(connection, known, actor, entry, "labelled")
            return entry

        return self._database.grouped(work)

    def withdraw(self, known: Known, actor: Actor, nonce: str) -> Entry | None:
        """Take back the person's newest standing label; the item comes back to them if a place is free.

        Of a correction, the label that it corrected stands again, as a copy; once more takes that back.

        Raises:
            Conflict: The nonce belongs to something else, or the person has seen what others said of the item
                and does not lead the project.
        """
        project = known.project

        def work(connection: sqlite3.Connection) -> Entry | None:
            known_one = _by_nonce(connection, nonce)
            if known_one is not None:
                label = known_one.label
                undid = label.withdrawn or label.restores is not None
                same = (label.project_id, label.annotator, undid) == (project.id, actor.name, True)
                return _unless_other(known_one, same)
            row = connection.execute(_NEWEST, (project.id, actor.name)).fetchone()
            if row is None:
                return None
            at = self._clock()
            taken = entry_of(row)
            _check_unseen(connection, known, actor, taken.label.item_id)
            place = seat(connection, known, actor.name, taken.label.item_id)
            mine = place.state == LABELLED or is_still_mine(connection, project.id, actor.name, place, at)
            label, verb = _undone(connection, taken.label, at, mine)
            held = mine and label.withdrawn and room(connection, project.id, actor.name, at) > 0
            until = at + project.lease_seconds if held else 0.0
            entry = insert_label(connection, label, place, nonce, until)
            self._note(connection, known, actor, entry, verb)
            return entry

        return self._database.grouped(work)

    def look(self, own: Entry) -> None:
        """Keep that the person of ``own`` was shown what others said of its item; once is enough."""
        label = own.label
        values = (label.project_id, label.annotator, label.item_id, own.position, self._clock())

        def work(connection: sqlite3.Connection) -> None:
            if connection.execute(_LOOK, values[:3]).fetchone() is None:
                connection.execute("INSERT INTO looks VALUES (?, ?, ?, ?, ?)", values)

        self._database.grouped(work)

    def own(self, project_id: str, annotator: str, limit: int, before: str = "") -> tuple[Label, ...]:
        """A person's standing labels, the newest first; ``before`` is the id of the last one seen."""
        sql = """SELECT labels.* FROM places JOIN labels ON labels.number = places.label
            WHERE places.project_id = ? AND places.annotator = ? AND places.state > 0 AND places.label <
                coalesce((SELECT number FROM labels WHERE id = ?), 9223372036854775807)
            ORDER BY places.label DESC LIMIT ?"""
        rows = self._database.rows(sql, (project_id, annotator, before, limit))
        return tuple(entry_of(row).label for row in rows)

    def skipped(self, project_id: str, annotator: str) -> tuple[Label, ...]:
        """What a person has set aside, the oldest first."""
        sql = """SELECT labels.* FROM places JOIN labels ON labels.number = places.label
            WHERE places.project_id = ? AND places.annotator = ? AND places.state = 2
            ORDER BY labels.number"""
        return tuple(entry_of(row).label for row in self._database.rows(sql, (project_id, annotator)))

    def own_at(self, project_id: str, annotator: str, item: str) -> Entry | None:
        """A person's standing label on an item."""
        sql = """SELECT labels.* FROM places JOIN labels ON labels.number = places.label
            WHERE places.project_id = ? AND places.annotator = ? AND places.item_id = ? AND state > 0"""
        row = self._database.row(sql, (project_id, annotator, item))
        return entry_of(row) if row else None

    def _note(
        self, connection: sqlite3.Connection, known: Known, actor: Actor, entry: Entry, verb: str
    ) -> None:
        node = Node("label", entry.label.id)
        self._lineage.link_on(connection, [Edge(node, subject(connection, known, entry), "judged")])
        self._audit.record_on(connection, actor, verb, node, entry.label.item_id)


_LOOK = "SELECT 1 FROM looks WHERE project_id = ? AND annotator = ? AND item_id = ?"


def _check_unseen(connection: sqlite3.Connection, known: Known, actor: Actor, item: str) -> None:
    if leads(known.project, actor):
        return
    if connection.execute(_LOOK, (known.project.id, actor.name, item)).fetchone() is not None:
        raise Conflict(
            "You have seen what others said of this item, so your label on it stays as you gave it.",
            "Go on with the next one, or tell the project's lead what you would change.",
            ("Your label on it is final.",),
        )


_NEWEST = """SELECT * FROM labels WHERE number = (
    SELECT max(label) FROM places WHERE project_id = ? AND annotator = ? AND state > 0)"""


def _undone(connection: sqlite3.Connection, taken: Label, at: float, mine: bool) -> tuple[Label, str]:
    """What an undo of ``taken`` adds, and its verb; ``mine`` says whether its item has a place for it."""
    base = _label_of(connection, taken.restores) if taken.restores else taken
    before = _label_of(connection, base.supersedes) if base and base.supersedes else None
    if before is None or before.withdrawn or not (mine or before.verdict is Verdict.SKIP):
        label, verb = replace(taken, withdrawn=True, restores=None), "withdrew"
    else:
        label, verb = replace(before, restores=before.restores or before.id), "restored"
    return replace(label, id=new_ordered_id("label"), supersedes=taken.id, labelled_at=at), verb


def _label_of(connection: sqlite3.Connection, label_id: str) -> Label | None:
    row = connection.execute("SELECT * FROM labels WHERE id = ?", (label_id,)).fetchone()
    return entry_of(row).label if row else None


_COLUMNS = (
    "id, nonce, project_id, item_id, position, kind, first_side, verdict, strength, rating_a, rating_b, "
    "withdrawn, comment, reason, better_answer, annotator, guideline_version, supersedes, shown_at, "
    "labelled_at, active_seconds, suggested, origin, restores"
)
_ADD = f"INSERT INTO labels ({_COLUMNS}) VALUES ({', '.join('?' * len(_COLUMNS.split(', ')))})"


def subject(connection: sqlite3.Connection, known: Known, entry: Entry) -> Node:
    """What a label is about: a dataset version, or a battle."""
    project = known.project
    if entry.kind is ItemKind.GOLD and project.gold_version_id:
        return Node("dataset_version", project.gold_version_id)
    if project.dataset_version_id:
        return Node("dataset_version", project.dataset_version_id)
    row = connection.execute(
        "SELECT battle_id FROM items WHERE project_id = ? AND position = ?", (project.id, entry.position)
    ).fetchone()
    return Node("battle", row["battle_id"]) if row["battle_id"] else Node("project", project.id)


def _label(known: Known, new: NewLabel, verdict: Verdict, annotator: str, at: float, place: Place) -> Label:
    return Label(
        id=new_ordered_id("label"),
        project_id=known.project.id,
        item_id=new.item_id,
        verdict=verdict,
        strength=new.strength,
        rating_a=new.rating_a,
        rating_b=new.rating_b,
        withdrawn=False,
        comment=new.comment,
        reason=new.reason,
        better_answer=new.better_answer,
        annotator=annotator,
        guideline_version=known.project.guideline_version,
        supersedes=None,
        shown_at=new.shown_at,
        labelled_at=at,
        active_seconds=new.active_seconds,
        suggested=place.suggested,
    )


def insert_label(
    connection: sqlite3.Connection, label: Label, place: Place, nonce: str, until: float = 0.0
) -> Entry:
    """Add a label with what follows from it for its place, its item and the person's tally."""
    if label.supersedes is None and place.label is not None:
        row = connection.execute("SELECT id FROM labels WHERE number = ?", (place.label,)).fetchone()
        label = replace(label, supersedes=row["id"])
    number = connection.execute(_ADD, _values(label, place, nonce)).lastrowid
    skips = label.verdict is Verdict.SKIP
    state = LEASED if label.withdrawn else SKIPPED if skips else LABELLED
    seated = Place(
        place.item_id, place.position, place.kind, place.side, until, state, number, place.suggested
    )
    _sit(connection, label, seated, place)
    return Entry(label, place.position, place.kind, place.side)


def _values(label: Label, place: Place, nonce: str) -> tuple[object, ...]:
    return (
        label.id,
        nonce,
        label.project_id,
        label.item_id,
        place.position,
        place.kind,
        place.side,
        label.verdict,
        label.strength,
        label.rating_a,
        label.rating_b,
        label.withdrawn,
        label.comment,
        label.reason,
        label.better_answer,
        label.annotator,
        label.guideline_version,
        label.supersedes,
        label.shown_at,
        label.labelled_at,
        label.active_seconds,
        label.suggested,
        label.origin,
        label.restores,
    )


def _sit(connection: sqlite3.Connection, label: Label, place: Place, before: Place) -> None:
    project_id, annotator = label.project_id, label.annotator
    key = (project_id, annotator, place.position, place.item_id)
    done = connection.execute(
        "UPDATE places SET state = ?, until = ?, label = ? "
        "WHERE project_id = ? AND annotator = ? AND position = ? AND item_id = ?",
        (place.state, place.until, place.label, *key),
    )
    if not done.rowcount:
        connection.execute(
            "INSERT INTO places VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            (*key, place.kind, place.side, place.until, place.state, place.label),
        )
        count_given(connection, project_id, annotator, place, 1)
    if place.state == before.state:
        return
    labelled = (place.state == LABELLED) - (before.state == LABELLED)
    skipped = (place.state == SKIPPED) - (before.state == SKIPPED)
    data = labelled if place.kind is ItemKind.DATA else 0
    connection.execute(
        "UPDATE tallies SET labelled = labelled + ?, skipped = skipped + ?, done = done + ? "
        "WHERE project_id = ? AND annotator = ?",
        (labelled, skipped, data, project_id, annotator),
    )
    if data:
        connection.execute(
            "UPDATE items SET missing = missing - ? WHERE project_id = ? AND position = ?",
            (data, project_id, place.position),
        )


_SAID = ("project_id", "item_id", "strength", "rating_a", "rating_b", "comment", "reason", "better_answer")


def _by_nonce(connection: sqlite3.Connection, nonce: str) -> Entry | None:
    row = connection.execute("SELECT * FROM labels WHERE nonce = ?", (nonce,)).fetchone()
    return entry_of(row) if row else None


def _means_the_same(known: Label, new: NewLabel, verdict: Verdict, annotator: str) -> bool:
    # Times are left out: a client that measures again before its retry means the same label.
    names = (
        "project_id",
        "item_id",
        "strength",
        "rating_a",
        "rating_b",
        "comment",
        "reason",
        "better_answer",
    )
    same = all(getattr(known, name) == getattr(new, name) for name in names)
    given = not known.withdrawn and known.restores is None
    return same and given and (known.verdict, known.annotator) == (verdict, annotator)


def _unless_other(known: Entry, same: bool) -> Entry:
    if not same:
        raise Conflict("This nonce belongs to another label.", "Send each label or undo with its own.")
    return known
