"""What a call for answers must be like."""

from __future__ import annotations

from collections.abc import Sequence

from studio.core import InvalidInput
from studio.core.text import plain_text
from studio.serving.records import ChatMessage, RowRequest

#: One call may ask for this many answers; the engine decodes them in batches of its own size.
MOST_ROWS = 64


def check_call(
    rows: Sequence[RowRequest],
    tags: Sequence[tuple[str, str]],
    generation_ids: Sequence[str] | None,
    user: str,
    source: str,
) -> None:
    """Refuse a call that asks for too many answers, or whose parts do not belong together."""
    if not 1 <= len(rows) <= MOST_ROWS:
        raise InvalidInput(f"{len(rows)} answers were asked for.", f"Ask for 1 to {MOST_ROWS} at a time.")
    if any(given and len(given) != len(rows) for given in (tags, generation_ids)):
        raise InvalidInput("Tags and ids must be as many as rows.", "Give one for each row, or none.")
    plain_text("The user", user, 200)
    plain_text("The source", source, 60)


def checked(messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    """``messages``, if there are any and they can be stored."""
    if not messages:
        raise InvalidInput("There is no message to answer.", "Send at least one message.")
    for message in messages:
        plain_text("A message", message.content, 200_000)
    return messages
