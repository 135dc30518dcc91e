"""Text that people send in, checked before it is stored.

A lone surrogate makes SQLite's driver raise, and a NUL makes ``length()`` lie, so both are refused here
with a sentence instead of failing later without one.
"""

from __future__ import annotations

from studio.core.errors import InvalidInput


def plain_text(field: str, value: str, limit: int) -> str:
    """``value`` as it is, if it can be stored and has at most ``limit`` characters.

    Raises:
        InvalidInput: It holds characters that cannot be stored, or is too long.
    """
    if len(value) > limit:
        raise InvalidInput(
            f"{field} has {len(value):,} characters and may have {limit:,}.", "Make it shorter."
        )
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidInput(
            f"{field} holds characters that are not text (NUL or half of a surrogate pair).",
            "Remove them and send it again.",
        )
    return value
