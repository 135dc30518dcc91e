"""Rows that never change, save that an erased person's name in them gives way to a pseudonym.

The invariant of the triggers made here: an update changes one column, from a name to a pseudonym
(``erased-`` and eight digits), and nothing else, not even back.
"""

from __future__ import annotations

from collections.abc import Sequence

#: What a pseudonym looks like, for SQLite's GLOB.
PSEUDONYM = "erased-????????"


def only_pseudonyms(table: str, person: str, others: Sequence[str], message: str) -> str:
    """The trigger that takes the place of one that forbids every update.

    Args:
        table: The table.
        person: The column that holds the person's name.
        others: Every other column.
        message: What an error says.
    """
    same = " AND ".join(f"NEW.{column} IS OLD.{column}" for column in ("rowid", *others))
    return f"""CREATE TRIGGER {table}_only_pseudonyms BEFORE UPDATE ON {table}
    WHEN NOT ({same} AND NEW.{person} GLOB '{PSEUDONYM}' AND OLD.{person} NOT GLOB '{PSEUDONYM}')
    BEGIN SELECT RAISE(ABORT, '{message}'); END"""
