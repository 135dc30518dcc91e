"""Pairs of answers from a dataset, judged by people one after the other.

A queue offers the pairs of one preference dataset version, each to every annotator with the sides
shuffled, so that nobody sees which answer the dataset prefers. Labels are only ever added (an undo is
one more row) and leave the room as judgements.
"""

from studio.annotation.records import Item, Label, NewLabel, Queue, QueueProgress
from studio.annotation.service import AnnotationService

__all__ = [
    "AnnotationService",
    "Item",
    "Label",
    "NewLabel",
    "Queue",
    "QueueProgress",
]
