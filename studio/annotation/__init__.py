"""Projects in which people judge answers: pairs, ratings, better answers, fit for training or not.

A project gives out items under leases, to as many people as its overlap asks for, with the sides shuffled
and gold and repeats among them. Labels are only ever added (an undo is one more row), stay hidden from
others until an item is finished, and leave the room as judgements.
"""

from studio.annotation.battles import BattleSource, FoughtBattle
from studio.annotation.membership import leads, may_label
from studio.annotation.records import (
    Entry,
    Item,
    ItemKind,
    Label,
    Members,
    NewLabel,
    NewProject,
    Progress,
    Project,
    ProjectChange,
    ProjectState,
    Source,
    Standing,
    StoredItem,
    Suggestion,
    Task,
    Verdict,
)
from studio.annotation.service import AnnotationService
from studio.annotation.store import AnnotationStore

__all__ = [
    "AnnotationService",
    "AnnotationStore",
    "BattleSource",
    "Entry",
    "FoughtBattle",
    "Item",
    "ItemKind",
    "Label",
    "Members",
    "NewLabel",
    "NewProject",
    "Progress",
    "Project",
    "ProjectChange",
    "ProjectState",
    "Source",
    "Standing",
    "StoredItem",
    "Suggestion",
    "Task",
    "Verdict",
    "leads",
    "may_label",
]
