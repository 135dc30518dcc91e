"""Imported labels, stored as labels are: each takes its place at its item and counts as one more there.

Who has a label on an item keeps it: an import never supersedes what somebody said in the studio, and
the same file once more adds nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from studio.annotation.exchange_import import ForeignLabel
from studio.annotation.items import seen_from
from studio.annotation.label_store import insert_label, subject
from studio.annotation.place_store import Place, seat
from studio.annotation.records import Label
from studio.annotation.schema_store import LEASED
from studio.annotation.store import Known
from studio.core import Actor, Audit, Database, Edge, Lineage, Node, new_id

#: Where a label says that it was not given in the studio.
ORIGIN = "import"


class ImportStore:
    """Adds labels that were given elsewhere."""

    def __init__(self, database: Database, lineage: Lineage, audit: Audit) -> None:
        self._database = database
        self._lineage = lineage
        self._audit = audit

    def add(self, known: Known, labels: Sequence[ForeignLabel], actor: Actor, source: str) -> list[int]:
        """Store labels in one transaction with their lineage and one line in the audit.

        Returns:
            The places in ``labels`` of those that were not added, because their person has a label there.
        """
        there: list[int] = []
        with self._database.write() as connection:
            for number, foreign in enumerate(labels):
                place = seat(connection, known, foreign.annotator, foreign.item_id)
                if place.state != LEASED:
                    there.append(number)
                else:
                    self._add(connection, known, foreign, place)
            added = len(labels) - len(there)
            if added:
                detail = f"{added} labels from {source}"
                self._audit.record_on(
                    connection, actor, "imported", Node("project", known.project.id), detail
                )
        return there

    def holds_only(self, name: str) -> bool:
        """Whether labels stand under ``name``, and every one of them was imported."""
        sql = (
            "SELECT COUNT(*) AS labels, COALESCE(SUM(origin = ?), 0) AS here FROM labels WHERE annotator = ?"
        )
        row = self._database.row(sql, (ORIGIN, name))
        return row is not None and row["labels"] == row["here"] > 0

    def _add(self, connection: sqlite3.Connection, known: Known, foreign: ForeignLabel, place: Place) -> None:
        entry = insert_label(connection, _label(known, foreign, place), place, new_id("nonce"))
        node = Node("label", entry.label.id)
        self._lineage.link_on(connection, [Edge(node, subject(connection, known, entry), "judged")])


def _label(known: Known, foreign: ForeignLabel, place: Place) -> Label:
    first, second = foreign.rating_first, foreign.rating_second
    a, b = (first, second) if place.side == "a" or second is None else (second, first)
    return Label(
        id=new_id("label"),
        project_id=known.project.id,
        item_id=foreign.item_id,
        verdict=seen_from(foreign.standing, place.side),
        strength=foreign.strength,
        rating_a=a,
        rating_b=b,
        withdrawn=False,
        comment=foreign.comment,
        reason=foreign.reason,
        better_answer=foreign.better_answer,
        annotator=foreign.annotator,
        guideline_version=known.project.guideline_version,
        supersedes=None,
        shown_at=None,
        labelled_at=foreign.labelled_at,
        active_seconds=foreign.active_seconds,
        origin=ORIGIN,
    )
