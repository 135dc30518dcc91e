"""Rows in canonical form: what each kind of row must be, how it is written down, and its digest.

The invariant: two rows that say the same have the same canonical JSON, and a version's digest depends
on its rows and their sides only, never on the order of a file or on how Parquet encodes them.
It does not judge whether a text is any good.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from studio.datasets.records import Message, SchemaKind, Split

Row = dict[str, Any]

ROLES = ("system", "user", "assistant", "tool")

#: What a row of a kind must have, and what the preference builder may add to it.
REQUIRED = {
    SchemaKind.CORPUS: ("text",),
    SchemaKind.INSTRUCTION: ("messages",),
    SchemaKind.PREFERENCE: ("prompt", "chosen", "rejected"),
    SchemaKind.UNPAIRED: ("prompt", "completion", "label"),
}
EXTRAS = ("votes", "agreement", "builder")


class RowError(Exception):
    """A row that cannot be used: ``field`` is the path of what is wrong, ``why`` says what."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}" if field else why)
        self.field = field
        self.why = why


def check_row(kind: SchemaKind, row: Mapping[str, Any]) -> Row:
    """The row in canonical form.

    Raises:
        RowError: A part is missing, has the wrong shape, or says nothing.
    """
    unknown = set(row) - set(REQUIRED[kind]) - set(EXTRAS)
    if unknown:
        raise RowError(sorted(unknown)[0], f"is not part of a {kind.value} row")
    for name in REQUIRED[kind]:
        if name not in row:
            raise RowError(name, "is missing")
    checked = _CHECKS[kind](row)
    for name in EXTRAS:
        if row.get(name) is not None:
            checked[name] = list(row[name]) if name == "votes" else row[name]
    return checked


def _check_corpus(row: Mapping[str, Any]) -> Row:
    return {"text": check_text(row["text"], "text")}


def _check_instruction(row: Mapping[str, Any]) -> Row:
    return {"messages": check_conversation(row["messages"], "messages")}


def _check_preference(row: Mapping[str, Any]) -> Row:
    chosen = check_answer(row["chosen"], "chosen")
    rejected = check_answer(row["rejected"], "rejected")
    if chosen == rejected:
        raise RowError("rejected", "is the same as chosen")
    return {"prompt": check_prompt(row["prompt"], "prompt"), "chosen": chosen, "rejected": rejected}


def _check_unpaired(row: Mapping[str, Any]) -> Row:
    if not isinstance(row["label"], bool):
        raise RowError("label", "is not true or false")
    prompt = check_prompt(row["prompt"], "prompt")
    return {
        "prompt": prompt,
        "completion": check_answer(row["completion"], "completion"),
        "label": row["label"],
    }


_CHECKS = {
    SchemaKind.CORPUS: _check_corpus,
    SchemaKind.INSTRUCTION: _check_instruction,
    SchemaKind.PREFERENCE: _check_preference,
    SchemaKind.UNPAIRED: _check_unpaired,
}


def check_text(value: Any, field: str) -> str:
    """``value`` if it is a text that says something and can be stored.

    Raises:
        RowError: It is missing, not a text, blank, or holds a character that no store keeps whole.
    """
    if value is None:
        raise RowError(field, "is missing")
    if not isinstance(value, str):
        raise RowError(field, f"is {kind_of(value)}, not text")
    flaw = text_flaw(value)
    if flaw:
        raise RowError(field, flaw)
    if not value.strip():
        raise RowError(field, "is empty")
    return value


def text_flaw(text: str) -> str:
    """Why ``text`` cannot be stored, or nothing.

    A lone surrogate has no UTF-8 form, and SQLite's length() stops at a NUL. Bytes that were not
    UTF-8 arrive here as U+DC80 to U+DCFF, which is how the readers decode them.
    """
    if "\0" in text:
        return "holds a NUL character"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        if "\udc80" <= text[error.start] <= "\udcff":
            return "is not UTF-8 text"
        return "holds half of a surrogate pair, which is no character"
    return ""


def kind_of(value: Any) -> str:
    """What a value is, in the words of someone who writes JSON."""
    names = ((bool, "a true/false value"), (int, "a number"), (float, "a number"), (str, "text"))
    containers = ((list, "a list"), (dict, "an object"), (type(None), "null"))
    return next((name for kind, name in (*names, *containers) if isinstance(value, kind)), "not text")


def check_messages(value: Any, field: str) -> list[Message]:
    """A list of messages with known roles and real content.

    Raises:
        RowError: It is not one.
    """
    if not isinstance(value, (list, tuple)):
        raise RowError(
            field, "is missing" if value is None else f"is {kind_of(value)}, not a list of messages"
        )
    if not value:
        raise RowError(field, "holds no message")
    messages = [_message(item, f"{field}[{place}]") for place, item in enumerate(value)]
    for place, message in enumerate(messages):
        if message["role"] == "system" and place:
            raise RowError(f"{field}[{place}].role", "a system message may only come first")
    return messages


def _message(item: Any, field: str) -> Message:
    if not isinstance(item, Mapping):
        raise RowError(field, f"is {kind_of(item)}, not a message with role and content")
    role = item.get("role")
    if role not in ROLES:
        raise RowError(f"{field}.role", f"{str(role)[:40]!r} is none of {', '.join(ROLES)}")
    return {"role": str(role), "content": check_text(item.get("content"), f"{field}.content")}


def check_conversation(value: Any, field: str) -> list[Message]:
    """Messages that start with a user (after the system message) and end with the assistant's answer.

    Raises:
        RowError: They do not.
    """
    messages = check_messages(value, field)
    if messages[-1]["role"] != "assistant":
        raise RowError(f"{field}[{len(messages) - 1}].role", "the last message is not the assistant's")
    _starts_with_user(messages, field)
    return messages


def check_prompt(value: Any, field: str) -> list[Message]:
    """Messages that start with a user (after the system message) and wait for an answer.

    Raises:
        RowError: They do not.
    """
    messages = check_messages(value, field)
    _starts_with_user(messages, field)
    if messages[-1]["role"] == "assistant":
        raise RowError(f"{field}[{len(messages) - 1}].role", "a prompt may not end with an answer")
    return messages


def check_answer(value: Any, field: str) -> list[Message]:
    """Messages that start and end with the assistant's.

    Raises:
        RowError: They do not.
    """
    messages = check_messages(value, field)
    for place in (0, len(messages) - 1):
        if messages[place]["role"] != "assistant":
            raise RowError(f"{field}[{place}].role", "an answer starts and ends with the assistant")
    return messages


def _starts_with_user(messages: list[Message], field: str) -> None:
    first = 1 if messages[0]["role"] == "system" else 0
    if len(messages) == first or messages[first]["role"] != "user":
        raise RowError(field, "does not start with a user's message")


def canonical_json(value: Any) -> str:
    """One way to write a row: sorted keys, no spaces, UTF-8 as it is."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def row_digest(row: Mapping[str, Any]) -> bytes:
    """The SHA-256 of a row's canonical JSON (32 bytes)."""
    return hashlib.sha256(canonical_json(row).encode()).digest()


def content_digest(row: Mapping[str, Any]) -> bytes:
    """Like ``row_digest``, without what a preference build adds: two rows that teach the same."""
    return row_digest({name: value for name, value in row.items() if name not in EXTRAS})


def version_digest(kind: SchemaKind, sides: Mapping[Split, Iterable[bytes]]) -> str:
    """The digest of a version, in hex, from the digests of the rows of each split in any order."""
    digest = hashlib.sha256(f"{kind.value}\n".encode())
    for split in Split:
        digest.update(f"{split.value}\n".encode())
        for row in sorted(sides.get(split, ())):
            digest.update(row)
    return digest.hexdigest()


def normalise(text: str) -> str:
    """``text`` without what people do not see as a difference: case, width, white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def prompt_key(row: Mapping[str, Any]) -> str:
    """What a row asks, normalised: the text of a corpus row, else the opening of the conversation.

    The opening is every message before the first answer, without the system message. Two
    conversations that go on from one opening count as one prompt, because to train on the longer
    one teaches the answers of the shorter.
    """
    if "text" in row:
        return normalise(row["text"])
    opening: list[str] = []
    for message in row["messages"] if "messages" in row else row["prompt"]:
        if message["role"] == "assistant":
            break
        if message["role"] != "system":
            opening.append(normalise(message["content"]))
    return "\n".join(opening)


def key_digest(key: str) -> bytes:
    """A prompt key in 16 bytes, for holding millions of them."""
    return hashlib.blake2b(key.encode(), digest_size=16).digest()
