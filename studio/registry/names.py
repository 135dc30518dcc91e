"""What a model or an alias may be called.

The rule keeps every name usable in a URL, in a file name and before ``@number`` in a reference. An
alias may have one colon (``assistant:production``), which no model name has.
"""

from __future__ import annotations

import re

from studio.core import InvalidInput

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}(:[A-Za-z0-9._-]{1,40})?")


def check_name(name: str) -> str:
    """Return ``name`` if a model may have it.

    Raises:
        InvalidInput: It is empty, too long, or has other characters.
    """
    return _checked(_NAME, name, "a model's name", "letters, digits, '.', '_' and '-'")


def check_alias(name: str) -> str:
    """Return ``name`` if an alias may have it.

    Raises:
        InvalidInput: It is empty, too long, or has other characters.
    """
    return _checked(_ALIAS, name, "an alias", "letters, digits, '.', '_', '-' and one ':'")


def _checked(rule: re.Pattern[str], name: str, what: str, allowed: str) -> str:
    if rule.fullmatch(name):
        return name
    raise InvalidInput(
        f"{name[:90]!r} cannot be {what}.",
        f"Use up to 80 {allowed}, beginning with a letter or a digit.",
    )
