"""One source row in, one canonical row out, or the reason why not.

Each format says which parts it needs; a ``ColumnMap`` says which columns play them. A converter is a
pure function of a row, so that a preview, an inline import and an import job agree to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from studio.core.errors import InvalidInput
from studio.datasets.canonical import Row, RowError, check_messages, check_row, check_text, kind_of
from studio.datasets.records import ColumnMap, Message, SchemaKind, SourceFormat
from studio.datasets.strict_json import parse_value

Parts = dict[str, Any]


@dataclass(frozen=True)
class FormatSpec:
    """What a format is made of: parts that a row must have, parts that it may have, and its kind."""

    kind: SchemaKind
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


FORMATS = {
    SourceFormat.ALPACA: FormatSpec(SchemaKind.INSTRUCTION, ("instruction", "output"), ("input", "system")),
    SourceFormat.SHAREGPT: FormatSpec(SchemaKind.INSTRUCTION, ("messages",), ("system",)),
    SourceFormat.MESSAGES: FormatSpec(SchemaKind.INSTRUCTION, ("messages",), ("system",)),
    SourceFormat.PROMPT_COMPLETION: FormatSpec(SchemaKind.INSTRUCTION, ("prompt", "completion"), ("system",)),
    SourceFormat.PREFERENCE: FormatSpec(SchemaKind.PREFERENCE, ("prompt", "chosen", "rejected"), ("system",)),
    SourceFormat.PREFERENCE_IMPLICIT: FormatSpec(SchemaKind.PREFERENCE, ("chosen", "rejected"), ("system",)),
    SourceFormat.UNPAIRED: FormatSpec(SchemaKind.UNPAIRED, ("prompt", "completion", "label"), ("system",)),
    SourceFormat.TEXT: FormatSpec(SchemaKind.CORPUS, ("text",)),
}

# The names that ShareGPT's descendants and the model cards of open chat sets give the speakers.
_SPEAKERS = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatgpt"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "function_response"), "tool"),
    "system": "system",
}

_LABELS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

# The transcripts of Anthropic's hh-rlhf and what was made after it.
_TURN = re.compile(r"\n\n(Human|Assistant): ?")


def check_mapping(format_: SourceFormat, mapping: ColumnMap, columns: tuple[str, ...]) -> None:
    """Refuse a map that cannot work, naming everything that is wrong with it.

    Raises:
        InvalidInput: A part is unknown or missing, or a column is not in the file.
    """
    spec = FORMATS[format_]
    known = (*spec.required, *spec.optional)
    wrong = [
        f"{part} is no part of {format_.value} ({', '.join(known)})"
        for part in mapping.columns
        if part not in known
    ]
    wrong += [f"{part} needs a column" for part in spec.required if part not in mapping.columns]
    wrong += [
        f"there is no column {column} for {part}"
        for part, column in mapping.columns.items()
        if column not in columns
    ]
    if wrong:
        raise InvalidInput(
            f"The columns do not make rows of the format {format_.value}.",
            f"Choose among the columns {', '.join(columns)}.",
            tuple(wrong),
        )


def convert_row(
    format_: SourceFormat, mapping: ColumnMap, row: Mapping[str, Any], *, cells: bool = False
) -> Row:
    """The canonical row.

    Args:
        format_: What the row is taken for.
        mapping: Which column plays which part; ``check_mapping`` has passed it.
        row: The source row.
        cells: Whether values are cells of a CSV file, where lists are written as JSON text.

    Raises:
        RowError: The row does not fit, with the source column (or a path in it) as its field.
    """
    parts = {part: row.get(column) for part, column in mapping.columns.items()}
    try:
        if cells:
            parts = {part: _unpack_cell(part, value) for part, value in parts.items()}
        return check_row(FORMATS[format_].kind, _CONVERTERS[format_](parts))
    except RowError as error:
        raise RowError(_source_field(error.field, mapping), error.why) from None


def _source_field(field: str, mapping: ColumnMap) -> str:
    found = re.match(r"\w+", field)
    if found is None:
        return field
    part = found.group()
    return mapping.columns.get(part, part) + field[len(part) :]


def _unpack_cell(part: str, value: Any) -> Any:
    if part in ("text", "label", "system", "instruction", "input", "output") or not isinstance(value, str):
        return value
    if not value.lstrip().startswith("[{"):
        return value
    try:
        return parse_value(value)
    except RowError as error:
        if "{'" in value:
            raise RowError(
                part, "is a list as Python prints it, not JSON; write the column with to_json"
            ) from None
        raise RowError(part, error.why) from None


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _alpaca(parts: Parts) -> Row:
    request = check_text(parts["instruction"], "instruction")
    if not _blank(parts.get("input")):
        request += "\n\n" + check_text(parts["input"], "input")
    answer = check_text(parts["output"], "output")
    messages = [*_system(parts), _say("user", request), _say("assistant", answer)]
    return {"messages": messages}


def _conversation(parts: Parts) -> Row:
    return {"messages": _with_system(parts, _speech(parts["messages"], "messages"))}


def _prompt_completion(parts: Parts) -> Row:
    prompt = _with_system(parts, _part(parts, "prompt", "user"))
    return {"messages": [*prompt, *_part(parts, "completion", "assistant")]}


def _unpaired(parts: Parts) -> Row:
    prompt = _with_system(parts, _part(parts, "prompt", "user"))
    return {
        "prompt": prompt,
        "completion": _part(parts, "completion", "assistant"),
        "label": _label(parts["label"]),
    }


def _text(parts: Parts) -> Row:
    return {"text": parts["text"]}


def _preference(parts: Parts) -> Row:
    prompt = _part(parts, "prompt", "user")
    chosen = _part(parts, "chosen", "assistant")
    rejected = _part(parts, "rejected", "assistant")
    if chosen[0]["role"] == "assistant" and rejected[0]["role"] == "assistant":
        return {"prompt": _with_system(parts, prompt), "chosen": chosen, "rejected": rejected}
    # As in UltraFeedback: beside the prompt stand two whole conversations.
    row = _diverge(parts, chosen, rejected)
    if row["prompt"][-1]["content"].strip() != prompt[-1]["content"].strip():
        raise RowError("prompt", "is not what the conversations in chosen and rejected answer")
    return row


def _implicit(parts: Parts) -> Row:
    return _diverge(parts, _part(parts, "chosen", ""), _part(parts, "rejected", ""))


def _diverge(parts: Parts, chosen: list[Message], rejected: list[Message]) -> Row:
    """Two conversations as the prompt that they share and the two ways they go on."""
    shared = 0
    for ours, theirs in zip(chosen, rejected, strict=False):
        if ours != theirs:
            break
        shared += 1
    if shared == len(chosen) == len(rejected):
        raise RowError("rejected", "is the same as chosen")
    # The answers may begin alike and go on unlike: back to the last message that waits for an answer.
    while shared and chosen[shared - 1]["role"] == "assistant":
        shared -= 1
    if shared == 0:
        raise RowError("rejected", "shares no prompt with chosen")
    if shared == len(chosen) or shared == len(rejected):
        raise RowError(
            "chosen" if shared == len(chosen) else "rejected", "has no answer behind the shared prompt"
        )
    if chosen[shared]["role"] != "assistant" or rejected[shared]["role"] != "assistant":
        raise RowError("rejected", "goes on from another prompt than chosen")
    prompt = _with_system(parts, chosen[:shared])
    return {"prompt": prompt, "chosen": chosen[shared:], "rejected": rejected[shared:]}


def _label(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = _LABELS.get(str(value).strip().lower()) if isinstance(value, (str, int)) else None
    if known is None:
        raise RowError(
            "label", "is missing" if _blank(value) else f"{str(value)[:40]!r} is neither true nor false"
        )
    return known


def _part(parts: Parts, name: str, role: str) -> list[Message]:
    """A part as messages: a list of them, a single one, a transcript, or plain text said by ``role``."""
    value = parts[name]
    if isinstance(value, Mapping):
        return _speech([value], name)
    if not isinstance(value, str):
        return _speech(value, name)
    if name in ("chosen", "rejected") and value.startswith("\n\nHuman:"):
        return _transcript(value, name)
    if not role:
        raise RowError(name, "is plain text; without a prompt column it must be a conversation")
    return [_say(role, check_text(value, name))]


def _transcript(text: str, field: str) -> list[Message]:
    pieces = _TURN.split(text)[1:]
    turns = zip(pieces[::2], pieces[1::2], strict=True)
    names = {"Human": "user", "Assistant": "assistant"}
    return check_messages([_say(names[who], said.strip()) for who, said in turns], field)


def _speech(value: Any, field: str) -> list[Message]:
    """Messages in OpenAI's words (role, content) or in ShareGPT's (from, value)."""
    if not isinstance(value, (list, tuple)):
        return check_messages(value, field)
    return check_messages([_message(item, f"{field}[{place}]") for place, item in enumerate(value)], field)


def _message(item: Any, field: str) -> Any:
    if not isinstance(item, Mapping):
        return item
    if item.get("tool_calls") or item.get("function_call"):
        raise RowError(field, "calls a tool, which cannot be trained yet")
    style = ("from", "value") if item.get("role") is None and "from" in item else ("role", "content")
    speaker = item.get(style[0])
    role = _SPEAKERS.get(speaker.strip().lower()) if isinstance(speaker, str) else None
    if role is None:
        raise RowError(
            f"{field}.{style[0]}",
            "is missing" if _blank(speaker) else f"nobody is known as {str(speaker)[:40]!r}",
        )
    return _say(role, _content(item.get(style[1]), f"{field}.{style[1]}"))


def _content(value: Any, field: str) -> str:
    if isinstance(value, list):
        return "".join(_text_piece(piece, f"{field}[{place}]") for place, piece in enumerate(value))
    return check_text(value, field)


def _text_piece(piece: Any, field: str) -> str:
    if isinstance(piece, Mapping) and piece.get("type") == "text":
        return check_text(piece.get("text"), field)
    held = piece.get("type") if isinstance(piece, Mapping) else kind_of(piece)
    raise RowError(field, f"holds {str(held)[:40]}, not text")


def _system(parts: Parts) -> list[Message]:
    value = parts.get("system")
    return [] if _blank(value) else [_say("system", check_text(value, "system"))]


def _with_system(parts: Parts, messages: list[Message]) -> list[Message]:
    system = _system(parts)
    if system and messages and messages[0]["role"] == "system":
        raise RowError("system", "is given twice: here and as the first message")
    return [*system, *messages]


def _say(role: str, content: str) -> Message:
    return {"role": role, "content": content}


_CONVERTERS: dict[SourceFormat, Callable[[Parts], Row]] = {
    SourceFormat.ALPACA: _alpaca,
    SourceFormat.SHAREGPT: _conversation,
    SourceFormat.MESSAGES: _conversation,
    SourceFormat.PROMPT_COMPLETION: _prompt_completion,
    SourceFormat.PREFERENCE: _preference,
    SourceFormat.PREFERENCE_IMPLICIT: _implicit,
    SourceFormat.UNPAIRED: _unpaired,
    SourceFormat.TEXT: _text,
}
