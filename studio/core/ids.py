"""Short ids that a person can read aloud and copy: ``run_7k2m9q4xvt``.

Crockford's base 32 without the letters that look like digits; 50 random bits make a collision
among a million objects of one kind about as likely as 1 in 2,000, and a primary key refuses it.
"""

from __future__ import annotations

import secrets

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 10


def new_id(kind: str) -> str:
    """A fresh id such as ``run_7k2m9q4xvt``; ``kind`` is a short lower-case noun."""
    return kind + "_" + "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
