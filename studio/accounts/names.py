"""The names that people log in with: short, lower case, and never one that means somebody else.

A name stands in the audit log, on labels and in leases, so it is fixed once given.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from studio.accounts.signing import Seal
from studio.core import InvalidInput

#: Names that the studio itself signs with.
RESERVED = frozenset({"local", "studio", "annotation", "import"})
_ERASED = "erased-"
_ERASED_DIGITS = 8

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,39}")
_LONGEST = 40


def check_name(name: str) -> str:
    """``name``, if an account may have it.

    Raises:
        InvalidInput: It is not of the form, or it is reserved.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "A name has 2 to 40 lower-case letters, digits, dots, hyphens and underscores, and begins with "
            "a letter or digit.",
            "Choose another, such as ann.lee.",
        )
    if is_reserved(name):
        raise InvalidInput(f"The name {name} is reserved for the studio itself.", "Choose another.")
    return name


def is_reserved(name: str) -> bool:
    """Whether a name means the studio itself or somebody who was erased."""
    return name in RESERVED or name.startswith(_ERASED)


def free_name(wanted: str, taken: Callable[[str], bool]) -> str:
    """A name as near to ``wanted`` as an account may have; for people whom another service names."""
    # No mail domain: labels are exported with names, and an address is more than they need.
    stem = re.sub(r"[^a-z0-9._-]+", "-", wanted.partition("@")[0].lower()).strip("._-")[: _LONGEST - 5]
    if len(stem) < 2 or stem.startswith(_ERASED):
        stem = "person"
    name, number = stem, 1
    while name in RESERVED or taken(name):
        number += 1
        name = f"{stem}-{number}"
    return name


def erased_foreign(seal: Seal, name: str) -> str:
    """What stands where the name of somebody without an account stood, who is known from imported labels.

    It follows from the name and the studio's own key, so that erasing can be taken up again, and nobody
    without the key can try names on it.
    """
    return _ERASED + seal.mark("erased", name)[:_ERASED_DIGITS]


def erased_name(account_id: str) -> str:
    """What stands where the name of an erased person stood: ``erased-`` and eight digits of no meaning.

    It follows from the account's random id, so it is the same when an erasure is taken up again, and another
    for the next person of the same name. With the account gone nothing leads from it to the person.
    """
    return _ERASED + hashlib.sha256(f"erased {account_id}".encode()).hexdigest()[:_ERASED_DIGITS]
