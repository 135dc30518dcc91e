"""Short ids that a person can read aloud and copy: ``run_7k2m9q4xvt``.

Crockford's base 32 without the letters that look like digits; 50 random bits make a collision
among a million objects of one kind about as likely as 1 in 2,000, and a primary key refuses it.
"""

from __future__ import annotations

import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 10


def new_id(kind: str) -> str:
    """A fresh id such as ``run_7k2m9q4xvt``; ``kind`` is a short lower-case noun."""
    # One draw for all letters: 32 of them take five bits of a byte each, and none is likelier than another.
    return kind + "_" + "".join([_ALPHABET[byte & 31] for byte in os.urandom(_LENGTH)])


def new_ordered_id(kind: str) -> str:
    """A fresh id that sorts by when it was made, to the millisecond, with 30 random bits behind it.

    For rows that come by the thousand: neighbours in time are then neighbours in every index that holds
    the id, so that those which share a commit share its pages.
    """
    moment = time.time_ns() // 1_000_000
    # Eight letters of milliseconds last for 34 years before they begin again, which only costs the order.
    letters = [_ALPHABET[moment >> shift & 31] for shift in range(35, -1, -5)]
    letters += [_ALPHABET[byte & 31] for byte in os.urandom(6)]
    return kind + "_" + "".join(letters)
