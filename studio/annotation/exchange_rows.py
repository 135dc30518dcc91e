"""What an export says: one row a label, one an item's consensus, or one a preference pair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

from studio.annotation.exchange_files import Column, Columns, Row
from studio.annotation.exchange_pairs import ProjectPair
from studio.annotation.records import Entry, StoredItem
from studio.annotation.review_records import Adjudication, Consensus
from studio.annotation.verdict_table import ratings_of


class Export(StrEnum):
    """What can be exported of a project."""

    LABELS = "labels"
    CONSENSUS = "consensus"
    PREFERENCES = "preferences"


_ITEM: dict[str, Column] = {
    "item_id": Column.TEXT,
    "position": Column.WHOLE,
    "prompt": Column.MESSAGES,
    "first": Column.MESSAGES,
    "second": Column.MESSAGES,
    "standing": Column.TEXT,
}

COLUMNS: dict[Export, Columns] = {
    Export.LABELS: {
        "label_id": Column.TEXT,
        **_ITEM,
        "kind": Column.TEXT,
        "annotator": Column.TEXT,
        "verdict": Column.TEXT,
        "first_side": Column.TEXT,
        "strength": Column.WHOLE,
        "rating_first": Column.WHOLE,
        "rating_second": Column.WHOLE,
        "comment": Column.TEXT,
        "reason": Column.TEXT,
        "better_answer": Column.TEXT,
        "guideline_version": Column.WHOLE,
        "shown_at": Column.NUMBER,
        "labelled_at": Column.NUMBER,
        "active_seconds": Column.NUMBER,
        "suggested": Column.TEXT,
        "origin": Column.TEXT,
    },
    Export.CONSENSUS: {
        **_ITEM,
        "probability": Column.NUMBER,
        "people": Column.WHOLE,
        "agreement": Column.NUMBER,
        "adjudicated": Column.FLAG,
        "adjudicator": Column.TEXT,
        "rating_first": Column.NUMBER,
        "rating_second": Column.NUMBER,
        "label_ids": Column.IDS,
    },
    Export.PREFERENCES: {
        "prompt": Column.MESSAGES,
        "chosen": Column.MESSAGES,
        "rejected": Column.MESSAGES,
        "agreement": Column.NUMBER,
        "votes": Column.IDS,
    },
}


def label_rows(entries: Iterable[Entry], items: Mapping[int, StoredItem]) -> Iterator[Row]:
    """One row a standing label of any kind; a project's own side and verdict stand beside the standing."""
    for entry in entries:
        item = items.get(entry.position)
        if item is None:
            continue
        label = entry.label
        first, second = ratings_of(entry)
        yield {
            "label_id": label.id,
            **_item(item, label.item_id),
            "standing": entry.standing.value,
            "kind": entry.kind.value,
            "annotator": label.annotator,
            "verdict": label.verdict.value,
            "first_side": entry.first_side,
            "strength": label.strength,
            "rating_first": first,
            "rating_second": second,
            "comment": label.comment,
            "reason": label.reason,
            "better_answer": label.better_answer,
            "guideline_version": label.guideline_version,
            "shown_at": label.shown_at,
            "labelled_at": label.labelled_at,
            "active_seconds": label.active_seconds,
            "suggested": label.suggested.value if label.suggested else "",
            "origin": label.origin,
        }


def consensus_rows(
    agreed: Iterable[Consensus],
    items: Mapping[int, StoredItem],
    decisions: Mapping[int, Adjudication],
) -> Iterator[Row]:
    """One row an item that has a label or a decision."""
    for one in agreed:
        item = items.get(one.position)
        if item is None:
            continue
        decision = decisions.get(one.position)
        yield {
            **_item(item, item.id),
            "standing": one.standing.value,
            "probability": one.probability,
            "people": one.people,
            "agreement": one.agreement,
            "adjudicated": decision is not None,
            "adjudicator": decision.adjudicator if decision else "",
            "rating_first": one.rating_first,
            "rating_second": one.rating_second,
            "label_ids": list(one.label_ids),
        }


def pair_rows(pairs: Iterable[ProjectPair]) -> Iterator[Row]:
    """One row a pair."""
    for pair in pairs:
        yield {
            "prompt": list(pair.prompt),
            "chosen": list(pair.chosen),
            "rejected": list(pair.rejected),
            "agreement": pair.agreement,
            "votes": [node.id for node in pair.verdicts],
        }


def _item(item: StoredItem, item_id: str) -> Row:
    return {
        "item_id": item_id,
        "position": item.position,
        "prompt": list(item.prompt),
        "first": list(item.first),
        "second": list(item.second),
    }
