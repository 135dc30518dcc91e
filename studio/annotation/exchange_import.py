"""Labels from files: rows that were exported here, or pairs that somebody judged elsewhere.

A row names its item by ``item_id``, or by the texts: ``prompt`` with ``first`` and ``second``, or with
``chosen`` and ``rejected``, which is a verdict too. Every row that cannot be a label is named with its
field and the reason; the others are added. An imported label says that it is one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from studio.annotation.checks import ANSWER_LIMIT, TEXT_LIMIT, rated_verdict
from studio.annotation.exchange_files import parsed_messages, plain_cell
from studio.annotation.items import seen_from
from studio.annotation.records import ItemKind, Project, Standing, StoredItem, Task
from studio.annotation.verdict_table import CATEGORIES
from studio.core import InvalidInput
from studio.core.text import plain_text
from studio.datasets import Message
from studio.datasets.canonical import RowError, canonical_json, check_answer, check_prompt

Row = Mapping[str, Any]

#: Columns that mean something, and those of an export that are known anyway.
COLUMNS = frozenset(
    [
        "item_id",
        "prompt",
        "first",
        "second",
        "chosen",
        "rejected",
        "standing",
        "annotator",
        "strength",
        "rating_first",
        "rating_second",
        "comment",
        "reason",
        "better_answer",
        "labelled_at",
        "active_seconds",
        "kind",
    ]
)
KNOWN_ANYWAY = frozenset(
    ["label_id", "position", "verdict", "first_side", "guideline_version", "shown_at", "suggested", "origin"]
)

_NAME_LIMIT = 100
_RESERVED = ("studio", "annotation", "import")
_DAY = 86_400.0


@dataclass(frozen=True)
class ForeignLabel:
    """A row that can be a label; standing and ratings are in the item's own terms."""

    item_id: str
    annotator: str
    standing: Standing
    strength: int | None
    rating_first: int | None
    rating_second: int | None
    comment: str
    reason: str
    better_answer: str
    labelled_at: float
    active_seconds: float | None


class LabelReader:
    """Reads the rows of one file for one project.

    Args:
        project: What the labels are for.
        items: Its items.
        at: Now, in seconds since the epoch.
        cells: The values are texts of CSV cells.
    """

    def __init__(self, project: Project, items: Sequence[StoredItem], at: float, *, cells: bool) -> None:
        self._project = project
        self._by_id = {item.id: item for item in items}
        self._by_text: dict[str, list[StoredItem]] = defaultdict(list)
        for item in items:
            if item.kind is ItemKind.DATA:
                self._by_text[_text_key(item.prompt, item.first, item.second)].append(item)
        self._at = at
        self._cells = cells

    def read(self, row: Row) -> ForeignLabel:
        """The label of a row.

        Raises:
            RowError: The row cannot be a label; it names the field and says why.
        """
        values = {name: self._value(value) for name, value in row.items() if name in COLUMNS}
        values = {name: value for name, value in values.items() if value is not None}
        if values.get("kind", "data") != "data":
            raise RowError(
                "kind", "is no data item; gold and repeats belong to the person they were shown to"
            )
        item, told = self._item(values)
        first, second = self._ratings(values, item)
        standing = self._standing(values, told, first, second)
        better = _text(values, "better_answer", ANSWER_LIMIT)
        if standing is Standing.EDITED and not better.strip():
            raise RowError("better_answer", "is missing, and the row says that the answer was edited")
        return ForeignLabel(
            item_id=item.id,
            annotator=_annotator(values),
            standing=standing,
            strength=self._strength(values, standing),
            rating_first=first,
            rating_second=second,
            comment=_text(values, "comment", TEXT_LIMIT),
            reason=_text(values, "reason", TEXT_LIMIT) if standing is Standing.SKIP else "",
            better_answer=better,
            labelled_at=self._moment(values),
            active_seconds=_number(values, "active_seconds", 0.0, _DAY),
        )

    def _value(self, value: Any) -> Any:
        if isinstance(value, str) and self._cells:
            value = plain_cell(value)
        return None if value == "" else value

    def _item(self, values: Row) -> tuple[StoredItem, Standing | None]:
        """The item of a row, and the standing that naming chosen and rejected gives it."""
        if "item_id" in values:
            item = self._by_id.get(str(values["item_id"]))
            if item is None:
                raise RowError("item_id", "is no item of this project")
            if item.kind is not ItemKind.DATA:
                raise RowError("item_id", "is a gold item, which takes no imported labels")
            return item, None
        prompt = self._messages(values, "prompt", "user", check_prompt)
        if "chosen" in values or "rejected" in values:
            chosen = self._messages(values, "chosen", "assistant", check_answer)
            rejected = self._messages(values, "rejected", "assistant", check_answer)
            if found := self._by_text.get(_text_key(prompt, chosen, rejected)):
                return _only(found), Standing.FIRST
            return _only(self._by_text.get(_text_key(prompt, rejected, chosen), [])), Standing.SECOND
        first = self._messages(values, "first", "assistant", check_answer)
        second = self._messages(values, "second", "assistant", check_answer) if values.get("second") else ()
        return _only(self._by_text.get(_text_key(prompt, first, second), [])), None

    def _messages(
        self, values: Row, name: str, role: str, check: Callable[[Any, str], list[Message]]
    ) -> list[Message]:
        value = values.get(name)
        if value is None:
            raise RowError(name, "is missing, and there is no item_id")
        return check(parsed_messages(value, role) if isinstance(value, str) else value, name)

    def _ratings(self, values: Row, item: StoredItem) -> tuple[int | None, int | None]:
        first, second = (_whole(values, name, 1, 5) for name in ("rating_first", "rating_second"))
        skipped = values.get("standing") == Standing.SKIP.value
        if self._project.task is not Task.RATING or skipped:
            if first is not None or second is not None:
                raise RowError("rating_first", "has no place here: nothing is rated")
            return None, None
        if first is None:
            raise RowError("rating_first", "is missing; a rating is 1 to 5")
        if (second is None) == bool(item.second):
            raise RowError(
                "rating_second", "is missing" if item.second else "rates an answer that is not there"
            )
        return first, second

    def _standing(
        self, values: Row, told: Standing | None, first: int | None, second: int | None
    ) -> Standing:
        allowed = (*CATEGORIES[self._project.task], Standing.SKIP)
        said = values.get("standing")
        if said is not None and said not in [one.value for one in allowed]:
            raise RowError("standing", f"{str(said)[:40]!r} is none of {', '.join(allowed)}")
        given = Standing(said) if said is not None else None
        if first is not None:
            rated = _seen(rated_verdict(first, second).value)
            if given not in (None, rated):
                raise RowError("standing", f"is {given}, but the ratings say {rated}")
            return rated
        if told is not None and told not in allowed:
            raise RowError("chosen", f"is no verdict for the task {self._project.task}")
        if None not in (given, told) and given is not told:
            raise RowError("standing", f"is {given}, but chosen and rejected say {told}")
        found = given or told
        if found is None:
            raise RowError("standing", "is missing")
        return found

    def _strength(self, values: Row, standing: Standing) -> int | None:
        strength = _whole(values, "strength", 1, 3)
        prefers = standing in (Standing.FIRST, Standing.SECOND) and self._project.task is Task.PREFERENCE
        if strength is not None and not prefers:
            raise RowError("strength", "goes with first or second alone")
        return strength

    def _moment(self, values: Row) -> float:
        value = values.get("labelled_at")
        if isinstance(value, str) and not _is_number(value):
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                raise RowError("labelled_at", "is neither seconds since 1970 nor an ISO 8601 date") from None
            value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        found = _number({"labelled_at": value}, "labelled_at", 0.0, self._at + _DAY)
        return self._at if found is None else found


def _seen(verdict: str) -> Standing:
    """A verdict of somebody who sees the first answer on A."""
    return next(one for one in Standing if seen_from(one, "a").value == verdict)


def _text_key(prompt: Iterable[Message], first: Iterable[Message], second: Iterable[Message]) -> str:
    parts = [[{"role": m["role"], "content": m["content"]} for m in part] for part in (prompt, first, second)]
    return canonical_json(parts)


def _only(found: Sequence[StoredItem]) -> StoredItem:
    if not found:
        raise RowError("prompt", "with these answers is no item of this project")
    if len(found) > 1:
        raise RowError("prompt", f"with these answers is {len(found)} items of this project; give item_id")
    return found[0]


def _annotator(values: Row) -> str:
    name = values.get("annotator")
    if not isinstance(name, str) or not name.strip():
        raise RowError("annotator", "is missing")
    name = _text({"annotator": name.strip()}, "annotator", _NAME_LIMIT)
    if not name.isprintable():
        raise RowError("annotator", "holds characters that cannot be printed")
    if name in _RESERVED:
        raise RowError("annotator", f"{name} is the studio's own name")
    return name


def _text(values: Row, name: str, limit: int) -> str:
    value = values.get(name, "")
    if not isinstance(value, str):
        raise RowError(name, "is not text")
    try:
        return plain_text("It", value, limit)
    except InvalidInput as error:
        raise RowError(name, error.message.replace("It ", "", 1).rstrip(".")) from None


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _number(values: Row, name: str, low: float, high: float) -> float | None:
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, str) and _is_number(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RowError(name, "is not a number")
    if not low <= value <= high:
        raise RowError(name, f"is {value:g}, not {low:g} to {high:g}")
    return float(value)


def _whole(values: Row, name: str, low: int, high: int) -> int | None:
    value = _number(values, name, -math.inf, math.inf)
    if value is None:
        return None
    if value != int(value) or not low <= value <= high:
        raise RowError(name, f"is {value:g}, not a whole number from {low} to {high}")
    return int(value)
