"""What came from what: a graph of typed edges between the studio's objects.

An edge says that ``child`` would not be what it is without ``parent`` (a run and its dataset, a
dataset and a vote). Edges are only ever added. The graph does not copy what its nodes are: their
rooms know that.

A *mark* is a remark that goes with what an object is made of, such as that one of the people behind it
was erased. The invariant: whatever came or will come of a marked object has its marks.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.core.clock import now
from studio.core.database import Database, Row

migrations = Migrations("lineage")


@migrations()
def edges(db: SqliteUtils) -> None:
    db.execute(
        """CREATE TABLE edges (
            child_kind TEXT NOT NULL, child_id TEXT NOT NULL,
            parent_kind TEXT NOT NULL, parent_id TEXT NOT NULL,
            relation TEXT NOT NULL,
            PRIMARY KEY (child_kind, child_id, parent_kind, parent_id, relation)
        ) STRICT"""
    )
    db.execute("CREATE INDEX edges_parent ON edges (parent_kind, parent_id)")


@migrations()
def marks(db: SqliteUtils) -> None:
    db.execute(
        """CREATE TABLE marks (
            kind TEXT NOT NULL, object_id TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL,
            at REAL NOT NULL, PRIMARY KEY (kind, object_id, what, detail)
        ) STRICT"""
    )


@dataclass(frozen=True, order=True)
class Node:
    """An object of the studio: ``kind`` is its room's noun (run, dataset_version, vote)."""

    kind: str
    id: str


@dataclass(frozen=True)
class Edge:
    """``child`` came from ``parent``; ``relation`` says how (trained_on, warm_start, judged_by)."""

    child: Node
    parent: Node
    relation: str


@dataclass(frozen=True)
class Mark:
    """A remark on an object and all that came of it: ``what`` happened (``erased``), to whom, and when.

    ``at`` is in seconds since the epoch, and says when it happened, not when the object got it.
    """

    what: str
    detail: str
    at: float


class Lineage:
    """Reads and adds edges and marks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate(migrations)

    def link(self, new: Iterable[Edge]) -> None:
        """Add edges; one that is there already stays as it is."""
        with self._database.write() as connection:
            self.link_on(connection, new)

    def link_on(self, connection: sqlite3.Connection, new: Iterable[Edge]) -> None:
        """The same within a transaction that the caller has open."""
        edges_here = tuple(new)
        rows = [(e.child.kind, e.child.id, e.parent.kind, e.parent.id, e.relation) for e in edges_here]
        connection.executemany("INSERT OR IGNORE INTO edges VALUES (?, ?, ?, ?, ?)", rows)
        self._inherit(connection, edges_here)

    def parents(self, node: Node) -> tuple[Edge, ...]:
        """The edges that lead from ``node`` to what it came from."""
        return self._edges("child_kind = ? AND child_id = ?", node)

    def children(self, node: Node) -> tuple[Edge, ...]:
        """The edges that lead to ``node`` from what came of it."""
        return self._edges("parent_kind = ? AND parent_id = ?", node)

    def ancestors(self, node: Node) -> tuple[Edge, ...]:
        """Every edge between ``node`` and its farthest origins, nearest first."""
        found: dict[Edge, None] = {}
        frontier = [node]
        seen = {node}
        while frontier:
            edges_here = [edge for place in frontier for edge in self.parents(place)]
            found.update(dict.fromkeys(edges_here))
            frontier = [p for p in dict.fromkeys(e.parent for e in edges_here) if p not in seen]
            seen.update(frontier)
        return tuple(found)

    def descendants(self, node: Node) -> tuple[Node, ...]:
        """Everything that came of ``node``, nearest first."""
        found: dict[Node, None] = {}
        frontier = [node]
        while frontier:
            next_ones = dict.fromkeys(edge.child for place in frontier for edge in self.children(place))
            frontier = [child for child in next_ones if child not in found and child != node]
            found.update(dict.fromkeys(frontier))
        return tuple(found)

    def mark(self, nodes: Iterable[Node], what: str, detail: str) -> None:
        """Put a mark on ``nodes`` and on everything that came of them; one that is there stays as it is."""
        with self._database.write() as connection:
            connection.execute(
                _MARK_ALL, {"nodes": _json(nodes), "what": what, "detail": detail, "at": now()}
            )

    def marks(self, nodes: Iterable[Node]) -> dict[Node, tuple[Mark, ...]]:
        """The marks of those of ``nodes`` that have any, oldest first."""
        found: dict[Node, tuple[Mark, ...]] = {}
        for row in self._database.rows(_MARKS_OF, {"nodes": _json(nodes)}):
            node = Node(row["kind"], row["object_id"])
            found[node] = (*found.get(node, ()), _mark(row))
        return found

    def _inherit(self, connection: sqlite3.Connection, edges_here: tuple[Edge, ...]) -> None:
        """Give each child, and what came of it, the marks of its new parents."""
        if connection.execute("SELECT 1 FROM marks LIMIT 1").fetchone() is None:
            return
        marked = connection.execute(_MARKS_OF, {"nodes": _json(e.parent for e in edges_here)}).fetchall()
        by_parent: dict[Node, list[Mark]] = {}
        for row in marked:
            by_parent.setdefault(Node(row["kind"], row["object_id"]), []).append(_mark(row))
        children: dict[Mark, list[Node]] = {}
        for edge in edges_here:
            for mark in by_parent.get(edge.parent, ()):
                children.setdefault(mark, []).append(edge.child)
        for mark, nodes in children.items():
            connection.execute(_MARK_ALL, {"nodes": _json(nodes), **vars(mark)})

    def _edges(self, where: str, node: Node) -> tuple[Edge, ...]:
        rows = self._database.rows(f"SELECT * FROM edges WHERE {where} ORDER BY rowid", (node.kind, node.id))
        return tuple(
            Edge(
                Node(row["child_kind"], row["child_id"]),
                Node(row["parent_kind"], row["parent_id"]),
                row["relation"],
            )
            for row in rows
        )


# UNION (not ALL) ends the walk where it comes round to an object that it has seen.
_MARK_ALL = """
WITH RECURSIVE reached (kind, id) AS (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:nodes)
    UNION
    SELECT child_kind, child_id FROM edges JOIN reached ON parent_kind = kind AND parent_id = id
)
INSERT OR IGNORE INTO marks SELECT kind, id, :what, :detail, :at FROM reached"""

_MARKS_OF = """
SELECT DISTINCT marks.* FROM json_each(:nodes) AS wanted JOIN marks
ON kind = json_extract(wanted.value, '$[0]') AND object_id = json_extract(wanted.value, '$[1]')
ORDER BY at, what, detail"""


def _json(nodes: Iterable[Node]) -> str:
    return json.dumps([[node.kind, node.id] for node in nodes])


def _mark(row: Row) -> Mark:
    return Mark(row["what"], row["detail"], row["at"])
