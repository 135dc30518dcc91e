"""Passwords: what one must be like, and how it is kept.

Kept is an argon2id hash with the library's parameters (RFC 9106, the low-memory profile: 64 MiB, 3 passes).
Checking costs the same whether or not there is a password to check against, so the time does not tell
who has an account. It does not protect against a password that is also used elsewhere.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from studio.core import InvalidInput, Unavailable

SHORTEST = 12
LONGEST = 256

#: Each check takes 64 MiB and a core for a tenth of a second; more at once would starve everybody else.
_AT_ONCE = 2
_PATIENCE_SECONDS = 10.0


class Passwords:
    """Hashes and checks passwords.

    Args:
        hasher: Tests give a cheap one.
    """

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._gate = threading.BoundedSemaphore(_AT_ONCE)

    @cached_property
    def _nobody(self) -> str:
        """A hash of the same cost as any other, of a password that opens nothing."""
        return self._hasher.hash("nobody has this password")

    def hash(self, password: str, *names: str) -> str:
        """The hash to keep of a new password.

        Raises:
            InvalidInput: It is too short, too long, or one of ``names``.
            Unavailable: Too many others are being checked.
        """
        plain = _normal(password)
        if plain is None:
            raise InvalidInput("The password holds characters that are not text.", "Choose another.")
        if len(plain) < SHORTEST:
            raise InvalidInput(
                f"The password has {len(plain)} characters and needs {SHORTEST} or more.",
                "Four unrelated words make a good one.",
            )
        if len(plain) > LONGEST:
            raise InvalidInput(f"The password may have {LONGEST} characters.", "Choose a shorter one.")
        if plain.casefold() in {name.casefold() for name in names}:
            raise InvalidInput("The password is the name.", "Choose one that nobody would guess.")
        with self._turn():
            return self._hasher.hash(plain)

    def check(self, kept: str, password: str) -> bool:
        """Whether ``password`` is the one of the hash ``kept``; empty where the person has none.

        Raises:
            Unavailable: Too many others are being checked.
        """
        plain = _normal(password)
        nobody = self._nobody  # made before it is known whether it is needed
        known = bool(kept) and plain is not None and len(plain) <= LONGEST
        with self._turn():
            try:
                self._hasher.verify(kept if known else nobody, (plain or "")[:LONGEST])
            except (VerificationError, InvalidHashError):
                return False
        return known

    def outdated(self, kept: str) -> bool:
        """Whether ``kept`` was made with other parameters than those of today."""
        return self._hasher.check_needs_rehash(kept)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._gate.acquire(timeout=_PATIENCE_SECONDS):
            raise Unavailable("Many people are logging in just now.", "Try again in a minute.")
        try:
            yield
        finally:
            self._gate.release()


def _normal(password: str) -> str | None:
    """One spelling for what looks the same on every keyboard; None for what is no text."""
    plain = unicodedata.normalize("NFKC", password)
    if "\0" in plain or any("\ud800" <= character <= "\udfff" for character in plain):
        return None
    return plain
