"""What came from what: a graph of typed edges between the studio's objects.

An edge says that ``child`` would not be what it is without ``parent`` (a run and its dataset, a
dataset and a vote). Edges are only ever added. The graph does not copy what its nodes are: their
rooms know that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.core.database import Database

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


class Lineage:
    """Reads and adds edges."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate(migrations)

    def link(self, new: Iterable[Edge]) -> None:
        """Add edges; one that is there already stays as it is."""
        rows = [(e.child.kind, e.child.id, e.parent.kind, e.parent.id, e.relation) for e in new]
        with self._database.write() as connection:
            connection.executemany("INSERT OR IGNORE INTO edges VALUES (?, ?, ?, ?, ?)", rows)

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
