"""What datasets may be called, and how people refer to their versions."""

from __future__ import annotations

import re

from studio.core.errors import InvalidInput

# No "@", which sets the number apart, and nothing that means something in a path or a URL.
_NAME = re.compile(r"\w[\w .+-]{0,79}")


def check_name(name: str) -> str:
    """``name`` if a dataset may be called that.

    Raises:
        InvalidInput: It may not.
    """
    if not _NAME.fullmatch(name) or name != name.strip():
        raise InvalidInput(
            f"A dataset cannot be called {name[:80]!r}.",
            "Use up to 80 letters, digits, spaces and . _ + - , beginning with a letter or digit.",
        )
    return name


def split_reference(reference: str) -> tuple[str, int | None]:
    """``name@3`` as name and number; a plain name has none.

    Raises:
        InvalidInput: What follows the ``@`` is no number.
    """
    name, at, number = reference.rpartition("@")
    if not at:
        return reference, None
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise InvalidInput(f"{reference} is no reference to a version.", "Write it as name@3.")
    return name, int(number)
