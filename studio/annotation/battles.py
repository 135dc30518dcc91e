"""Battles of the arena as items: they join a project as they are fought.

The arena is a room beside this one, so the studio hands in a callable; what it gives must be finished
battles that were fought blind, without a word about who answered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol

from studio.annotation.records import ItemKind, Project, Source, StoredItem
from studio.annotation.store import AnnotationStore
from studio.core import SYSTEM, Actor, Edge, Lineage, Node
from studio.datasets import Message

_AT_ONCE = 200
#: People who ask for items look for new battles no more often than this.
_PAUSE_SECONDS = 2.0


class FoughtBattle(Protocol):
    """A blind battle with two whole answers; ``number`` grows from one battle to the next."""

    @property
    def number(self) -> int:
        """The cursor after it."""

    @property
    def id(self) -> str:
        """The battle's id."""

    @property
    def prompt(self) -> tuple[Message, ...]:
        """What both were asked."""

    @property
    def first(self) -> tuple[Message, ...]:
        """One answer."""

    @property
    def second(self) -> tuple[Message, ...]:
        """The other."""

    @property
    def generations(self) -> tuple[str, str]:
        """The ids of the two answers, for lineage."""


class BattleSource(Protocol):
    """Gives finished blind battles newer than a cursor, oldest first."""

    def __call__(self, actor: Actor, after: int, limit: int) -> Sequence[FoughtBattle]:
        """At most ``limit`` battles whose number is above ``after``."""


class BattleIntake:
    """Adds new battles to the projects that live on them."""

    def __init__(self, store: AnnotationStore, lineage: Lineage, source: BattleSource | None) -> None:
        self._store = store
        self._lineage = lineage
        self._source = source
        self._looked: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def offered(self) -> bool:
        """Whether there is an arena at all."""
        return self._source is not None

    def pull(self, project: Project) -> None:
        """Add what was fought since the last time, up to the project's target."""
        if self._source is None or project.source is not Source.ARENA or not self._is_time(project.id):
            return
        room = _AT_ONCE if project.target is None else min(_AT_ONCE, project.target - project.items)
        while room > 0:
            after = self._store.cursor(project.id)
            battles = self._source(SYSTEM, after, room)
            if not battles or not self._add(project, after, battles):
                return
            room = room if project.target is None else room - len(battles)

    def _add(self, project: Project, after: int, battles: Sequence[FoughtBattle]) -> bool:
        # Edges first: they are idempotent, and an item whose answers nobody can trace would be worse.
        self._lineage.link(
            Edge(Node("battle", battle.id), Node("generation", generation), "shows")
            for battle in battles
            for generation in battle.generations
        )
        items = [_item(battle) for battle in battles]
        return self._store.add_from(project.id, after, battles[-1].number, items)

    def _is_time(self, project_id: str) -> bool:
        at = time.monotonic()
        with self._lock:
            if at - self._looked.get(project_id, -_PAUSE_SECONDS) < _PAUSE_SECONDS:
                return False
            self._looked[project_id] = at
            return True


def _item(battle: FoughtBattle) -> StoredItem:
    return StoredItem("", 0, ItemKind.DATA, battle.prompt, battle.first, battle.second, battle_id=battle.id)
