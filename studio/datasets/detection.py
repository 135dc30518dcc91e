"""What a file is, from its columns and its first rows.

Sure means: the columns carry the names that the format is known by, and most of the first rows
convert. Everything else is a proposal for a person to look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from studio.datasets.canonical import Row, RowError
from studio.datasets.conversion import FORMATS, convert_row
from studio.datasets.readers import CSV_SUFFIXES, Budget, SourceRow, open_rows
from studio.datasets.records import ColumnMap, Inspection, SourceFormat

#: How many rows are looked at, and how many are shown.
LOOKED_AT = 100
SHOWN = 5

# In the order in which a file that fits several is taken: the more special before the more general.
_KNOWN_BY: tuple[tuple[SourceFormat, dict[str, str]], ...] = (
    (SourceFormat.PREFERENCE, {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}),
    (SourceFormat.PREFERENCE_IMPLICIT, {"chosen": "chosen", "rejected": "rejected"}),
    (SourceFormat.UNPAIRED, {"prompt": "prompt", "completion": "completion", "label": "label"}),
    (SourceFormat.SHAREGPT, {"messages": "conversations"}),
    (SourceFormat.MESSAGES, {"messages": "messages"}),
    (SourceFormat.ALPACA, {"instruction": "instruction", "output": "output"}),
    (SourceFormat.PROMPT_COMPLETION, {"prompt": "prompt", "completion": "completion"}),
    (SourceFormat.TEXT, {"text": "text"}),
)

# Names that other collections use; a guess, so never sure.
_OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "prompt": ("prompt", "question", "query", "instruction", "input", "user", "problem", "conversations"),
    "completion": ("completion", "answer", "response", "output", "reply", "solution", "target"),
    "chosen": ("chosen", "preferred", "chosen_response", "response_chosen", "better", "accepted"),
    "rejected": ("rejected", "dispreferred", "rejected_response", "response_rejected", "worse"),
    "label": ("label", "desirable", "liked", "thumbs_up", "is_good"),
    "messages": ("messages", "conversation", "conversations", "dialogue", "dialog", "turns", "chat"),
    "instruction": ("instruction",),
    "output": ("output", "response", "answer"),
    "input": ("input", "context"),
    "system": ("system", "system_prompt"),
    "text": ("text", "content", "document", "passage", "body", "article"),
}
_GUESSED = (
    SourceFormat.PREFERENCE,
    SourceFormat.PREFERENCE_IMPLICIT,
    SourceFormat.UNPAIRED,
    SourceFormat.MESSAGES,
    SourceFormat.ALPACA,
    SourceFormat.PROMPT_COMPLETION,
    SourceFormat.TEXT,
)

# Beside a text column these say where it comes from, not what it is paired with.
_ABOUT_A_TEXT = frozenset(
    [
        "id",
        "idx",
        "index",
        "source",
        "url",
        "uri",
        "title",
        "date",
        "timestamp",
        "created",
        "language",
        "lang",
        "licence",
        "license",
        "author",
        "meta",
        "metadata",
        "split",
        "file",
        "path",
    ]
)


@dataclass(frozen=True)
class _Guess:
    format: SourceFormat
    mapping: ColumnMap
    sure: bool


def inspect_file(source: Path, budget: Budget | None = None) -> Inspection:
    """Look at the first rows of ``source``.

    Raises:
        InvalidInput: The file is not readable at all.
        TooLarge: Its first rows are over the budget.
    """
    rows, _ = open_rows(source, budget)
    looked_at = _first(rows)
    values = [row.value for row in looked_at if row.value is not None]
    columns = tuple(dict.fromkeys(name for value in values for name in value))
    guess = _guess(columns, values, cells=source.suffix.lower() in CSV_SUFFIXES)
    return Inspection(
        columns=columns,
        format=guess.format if guess else None,
        sure=bool(guess and guess.sure),
        mapping=guess.mapping if guess else ColumnMap({}),
        sample=tuple(values[:SHOWN]),
        note=_note(guess, columns, looked_at),
    )


def _first(rows: Iterator[SourceRow]) -> list[SourceRow]:
    try:
        return list(islice(rows, LOOKED_AT))
    finally:
        close = getattr(rows, "close", None)
        if close:
            close()


def propose(format_: SourceFormat, columns: Sequence[str]) -> ColumnMap:
    """The columns that most likely play the parts of a format that somebody chose."""
    for known, names in _KNOWN_BY:
        if known is format_ and (exact := _exact(format_, names, columns)):
            return exact
    return _by_other_names(format_, columns) or ColumnMap({})


def _guess(columns: tuple[str, ...], rows: list[Row], *, cells: bool) -> _Guess | None:
    doubtful: _Guess | None = None
    for format_, names in _KNOWN_BY:
        mapping = _exact(format_, names, columns)
        if mapping is None:
            continue
        taken = _told_apart(format_, mapping, rows)
        fits = _fitting(taken, mapping, rows, cells=cells) * 2 > len(rows)
        if fits and (taken is not SourceFormat.TEXT or _only_about_text(columns)):
            return _Guess(taken, mapping, sure=True)
        doubtful = doubtful or _Guess(taken, mapping, sure=False)
    return doubtful or _by_guess(columns, rows, cells=cells)


def _exact(format_: SourceFormat, names: dict[str, str], columns: Sequence[str]) -> ColumnMap | None:
    by_lower = {column.lower(): column for column in reversed(columns)}
    if not set(names.values()) <= set(by_lower):
        return None
    found = {part: by_lower[name] for part, name in names.items()}
    for part in FORMATS[format_].optional:
        if part in by_lower and by_lower[part] not in found.values():
            found[part] = by_lower[part]
    return ColumnMap(found)


def _told_apart(format_: SourceFormat, mapping: ColumnMap, rows: list[Row]) -> SourceFormat:
    """ShareGPT and OpenAI messages differ in the keys of a message, whatever the column is called."""
    if format_ not in (SourceFormat.SHAREGPT, SourceFormat.MESSAGES):
        return format_
    for row in rows:
        value = row.get(mapping.columns["messages"])
        if isinstance(value, str):
            return SourceFormat.SHAREGPT if '"from"' in value else SourceFormat.MESSAGES
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return SourceFormat.SHAREGPT if "from" in value[0] else SourceFormat.MESSAGES
    return format_


def _fitting(format_: SourceFormat, mapping: ColumnMap, rows: list[Row], *, cells: bool) -> int:
    return sum(_fits(format_, mapping, row, cells=cells) for row in rows)


def _fits(format_: SourceFormat, mapping: ColumnMap, row: Row, *, cells: bool) -> bool:
    try:
        convert_row(format_, mapping, row, cells=cells)
    except RowError:
        return False
    return True


def _only_about_text(columns: Sequence[str]) -> bool:
    return {column.lower() for column in columns} - {"text"} <= _ABOUT_A_TEXT


def _by_guess(columns: tuple[str, ...], rows: list[Row], *, cells: bool) -> _Guess | None:
    for format_ in _GUESSED:
        mapping = _by_other_names(format_, columns)
        if mapping and _fitting(format_, mapping, rows, cells=cells):
            return _Guess(_told_apart(format_, mapping, rows), mapping, sure=False)
    return _by_shape(columns, rows)


def _by_other_names(format_: SourceFormat, columns: Sequence[str]) -> ColumnMap | None:
    by_lower = {column.lower(): column for column in reversed(columns)}
    spec = FORMATS[format_]
    found: dict[str, str] = {}
    for part in (*spec.required, *spec.optional):
        names = (name for name in _OTHER_NAMES[part] if name in by_lower)
        free = (by_lower[name] for name in names if by_lower[name] not in found.values())
        if column := next(free, None):
            found[part] = column
        elif part in spec.required:
            return None
    return ColumnMap(found)


def _by_shape(columns: tuple[str, ...], rows: list[Row]) -> _Guess | None:
    for column in columns:
        if any(_is_messages(row.get(column)) for row in rows):
            mapping = ColumnMap({"messages": column})
            return _Guess(_told_apart(SourceFormat.MESSAGES, mapping, rows), mapping, sure=False)
    lengths = {column: _mean_length([row.get(column) for row in rows]) for column in columns}
    texts = [column for column in columns if lengths[column] >= 1]
    if not texts:
        return None
    longest = max(texts, key=lambda column: lengths[column])
    others = [column for column in texts if column != longest]
    if not others:
        return _Guess(SourceFormat.TEXT, ColumnMap({"text": longest}), sure=False)
    prompt = max(others, key=lambda column: lengths[column])
    # Files put the question before the answer, whichever is longer.
    first, second = sorted((prompt, longest), key=columns.index)
    return _Guess(
        SourceFormat.PROMPT_COMPLETION, ColumnMap({"prompt": first, "completion": second}), sure=False
    )


def _is_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _mean_length(values: list[Any]) -> float:
    """Characters of the texts in a column; numbers written as text count as nothing."""
    texts = [v for v in values if isinstance(v, str) and not v.replace(".", "", 1).lstrip("-").isdigit()]
    return sum(map(len, texts)) / len(values) if values else 0.0


def _note(guess: _Guess | None, columns: Sequence[str], looked_at: list[SourceRow]) -> str:
    bad = [row for row in looked_at if row.value is None]
    said = []
    if not looked_at:
        said.append("The file has no rows.")
    elif guess is None:
        said.append("No format fits these columns.")
    elif not guess.sure:
        said.append(f"This may be {guess.format.value}; please check which column plays which part.")
    else:
        said.append(f"This is {guess.format.value}.")
    unused = [name for name in columns if guess and name not in guess.mapping.columns.values()]
    if unused:
        said.append(f"Not used: {', '.join(unused)}.")
    if bad:
        first = f"row {bad[0].number}: {bad[0].error}"
        said.append(f"{len(bad)} of the first {len(looked_at)} rows cannot be read ({first}).")
    return " ".join(said)
