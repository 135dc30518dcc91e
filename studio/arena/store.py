"""The arena's tables.

The invariants: a vote or thumb is never removed and never changed, save that the name of an erased
person gives way to a pseudonym; one nonce makes one row; and a battle changes once at most, when it is
revealed. Triggers hold all of it, also against ``INSERT OR REPLACE``.
They do not stop someone who can alter the schema.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import asdict
from typing import Any

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.arena.records import NewThumb, NewVote, Thumb, Vote
from studio.arena.rows import battle_of, thumb_of, vote_of
from studio.arena.stored import (
    Conversation,
    StoredBattle,
    StoredSide,
    ThumbCount,
    dump_matchup,
    load_matchup,
    same_thumb,
    same_vote,
)
from studio.core import Database, Node, new_id, now
from studio.core.database import insert
from studio.core.erasable import only_pseudonyms
from studio.datasets import Outcome

migrations = Migrations("arena")

_APPEND_ONLY = """
CREATE TRIGGER {table}_never_updated BEFORE UPDATE ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
CREATE TRIGGER {table}_never_deleted BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
-- INSERT OR REPLACE deletes without firing the trigger above.
CREATE TRIGGER {table}_never_replaced BEFORE INSERT ON {table}
WHEN EXISTS (SELECT 1 FROM {table} WHERE number = NEW.number OR id = NEW.id OR nonce = NEW.nonce)
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
"""


@migrations()
def battles(db: SqliteUtils) -> None:
    _run(
        db,
        """
        CREATE TABLE conversations (
            id TEXT PRIMARY KEY, matchup TEXT NOT NULL, started_by TEXT NOT NULL, created_at REAL NOT NULL
        ) STRICT;
        CREATE TABLE battles (
            number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
            conversation_id TEXT NOT NULL REFERENCES conversations (id), turn INTEGER NOT NULL,
            prompt TEXT NOT NULL, blind INTEGER NOT NULL, source TEXT NOT NULL,
            probability REAL NOT NULL CHECK (probability > 0 AND probability <= 1),
            continued_from TEXT, continuation_drawn INTEGER NOT NULL,
            created_at REAL NOT NULL, revealed_at REAL,
            UNIQUE (conversation_id, turn)
        ) STRICT;
        CREATE TABLE sides (
            generation_id TEXT PRIMARY KEY, battle_id TEXT NOT NULL REFERENCES battles (id),
            side TEXT NOT NULL CHECK (side IN ('a', 'b')), model_version_id TEXT NOT NULL,
            deployment TEXT NOT NULL, variant TEXT NOT NULL,
            UNIQUE (battle_id, side)
        ) STRICT;
        CREATE INDEX battles_hidden ON battles (id) WHERE blind AND revealed_at IS NULL;
        CREATE TRIGGER battles_reveal_once BEFORE UPDATE ON battles
        WHEN OLD.revealed_at IS NOT NULL OR NEW.revealed_at IS NULL
        BEGIN SELECT RAISE(ABORT, 'a battle changes only when it is revealed'); END;
        CREATE TRIGGER battles_fixed BEFORE UPDATE OF number, id, conversation_id, turn, prompt, blind,
            source, probability, continued_from, continuation_drawn, created_at ON battles
        BEGIN SELECT RAISE(ABORT, 'a battle changes only when it is revealed'); END;
        CREATE TRIGGER battles_kept BEFORE DELETE ON battles
        BEGIN SELECT RAISE(ABORT, 'battles are kept'); END;
        CREATE TRIGGER sides_fixed BEFORE UPDATE ON sides
        BEGIN SELECT RAISE(ABORT, 'the sides of a battle never change'); END;
        CREATE TRIGGER sides_kept BEFORE DELETE ON sides
        BEGIN SELECT RAISE(ABORT, 'the sides of a battle never change'); END;
        """,
    )


@migrations()
def votes_and_thumbs(db: SqliteUtils) -> None:
    _run(
        db,
        """
        CREATE TABLE votes (
            number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, nonce TEXT NOT NULL UNIQUE,
            battle_id TEXT NOT NULL REFERENCES battles (id), outcome TEXT NOT NULL,
            reasons TEXT NOT NULL, comment TEXT NOT NULL, better_answer TEXT NOT NULL,
            voter TEXT NOT NULL, after_reveal INTEGER NOT NULL, supersedes TEXT REFERENCES votes (id),
            shown_at REAL, voted_at REAL NOT NULL, active_seconds REAL
        ) STRICT;
        CREATE INDEX votes_battle ON votes (battle_id, number);
        CREATE TABLE thumbs (
            number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, nonce TEXT NOT NULL UNIQUE,
            generation_id TEXT NOT NULL, model_version_id TEXT NOT NULL,
            deployment TEXT NOT NULL, variant TEXT NOT NULL,
            up INTEGER CHECK (up IN (0, 1)), comment TEXT NOT NULL, voter TEXT NOT NULL, at REAL NOT NULL
        ) STRICT;
        CREATE INDEX thumbs_variant ON thumbs (deployment, variant, model_version_id);
        """
        + _APPEND_ONLY.format(table="votes")
        + _APPEND_ONLY.format(table="thumbs"),
    )


@migrations()
def erasable(db: SqliteUtils) -> None:
    votes = (
        "number id nonce battle_id outcome reasons comment better_answer after_reveal supersedes shown_at"
        " voted_at active_seconds"
    )
    thumbs = "number id nonce generation_id model_version_id deployment variant up comment at"
    for table, others in (("votes", votes), ("thumbs", thumbs)):
        db.execute(f"DROP TRIGGER {table}_never_updated")
        db.execute(only_pseudonyms(table, "voter", others.split(), f"{table} is append-only"))


class ArenaStore:
    """Reads and adds conversations, battles, votes and thumbs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate(migrations)

    def add_conversation(self, conversation: Conversation) -> None:
        """Store a new conversation."""
        with self._database.write() as connection:
            insert(
                connection,
                "conversations",
                {
                    "id": conversation.id,
                    "matchup": dump_matchup(conversation.matchup),
                    "started_by": conversation.started_by,
                    "created_at": conversation.created_at,
                },
            )

    def conversation(self, conversation_id: str) -> Conversation | None:
        """The conversation with that id."""
        row = self._database.row("SELECT * FROM conversations WHERE id = ?", (conversation_id,))
        if row is None:
            return None
        return Conversation(row["id"], load_matchup(row["matchup"]), row["started_by"], row["created_at"])

    def add_battle(self, connection: sqlite3.Connection, battle: StoredBattle) -> None:
        """Store a battle in the transaction that stores its answers."""
        record = asdict(battle)
        for name in ("a", "b", "outcome"):
            del record[name]
        record["prompt"] = json.dumps([m.model_dump() for m in battle.prompt], ensure_ascii=False)
        insert(connection, "battles", record)
        for side in (battle.a, battle.b):
            insert(connection, "sides", {**asdict(side), "battle_id": battle.id})

    def battle(self, battle_id: str) -> StoredBattle | None:
        """The battle with that id."""
        return _first(self._battles("battles.id = ?", (battle_id,), 1))

    def battles(self, limit: int, conversation_id: str = "") -> tuple[StoredBattle, ...]:
        """The newest battles first, of one conversation or of all."""
        if conversation_id:
            return self._battles("battles.conversation_id = ?", (conversation_id,), limit)
        return self._battles("TRUE", (), limit)

    def blind_after(self, number: int, limit: int) -> tuple[tuple[int, StoredBattle], ...]:
        """Blind battles that were stored after the one with that number, oldest first."""
        sql = f"{_BATTLES} WHERE battles.number > ? AND battles.blind ORDER BY battles.number LIMIT ?"
        rows = self._database.rows(sql, (number, limit))
        return tuple((row["number"], battle_of(row)) for row in rows)

    def battle_of(self, generation_id: str) -> StoredBattle | None:
        """The battle that an answer belongs to."""
        where = "battles.id = (SELECT battle_id FROM sides WHERE generation_id = ?)"
        return _first(self._battles(where, (generation_id,), 1))

    def judged(self, deployment: str = "") -> tuple[StoredBattle, ...]:
        """Every battle that has a vote, or those of them in which a variant of a deployment stood."""
        where = """EXISTS (SELECT 1 FROM votes WHERE battle_id = battles.id)
            AND ? IN ('', a.deployment, b.deployment)"""
        return self._battles(where, (deployment,), -1)

    def hides(self, generation_id: str) -> bool:
        """Whether an answer stands in a blind battle without a verdict."""
        sql = """SELECT 1 FROM sides JOIN battles ON battles.id = sides.battle_id
            WHERE sides.generation_id = ? AND battles.blind AND battles.revealed_at IS NULL"""
        return self._database.row(sql, (generation_id,)) is not None

    def hidden(self) -> frozenset[str]:
        """The answers of all blind battles without a verdict."""
        sql = """SELECT generation_id FROM sides JOIN battles ON battles.id = sides.battle_id
            WHERE battles.blind AND battles.revealed_at IS NULL"""
        return frozenset(row["generation_id"] for row in self._database.rows(sql))

    def answers_beside(self, models: Collection[str]) -> frozenset[str]:
        """The answers of all battles in which one of these model versions stood."""
        sql = """SELECT generation_id FROM sides WHERE battle_id IN (
            SELECT battle_id FROM sides WHERE model_version_id IN (SELECT value FROM json_each(?)))"""
        rows = self._database.rows(sql, (json.dumps(sorted(models)),)) if models else ()
        return frozenset(row["generation_id"] for row in rows)

    def add_vote(self, new: NewVote, voter: str) -> tuple[Vote, bool]:
        """Store a vote and reveal its battle; of a nonce that is known, return the vote it made.

        Returns:
            The vote, and whether it is new.

        Raises:
            Conflict: The nonce belongs to a vote with another content.
        """
        with self._database.write() as connection:
            known = connection.execute("SELECT * FROM votes WHERE nonce = ?", (new.nonce,)).fetchone()
            if known is not None:
                return same_vote(vote_of(known), new, voter), False
            vote = self._new_vote(connection, new, voter)
            record = {**asdict(vote), "reasons": json.dumps(vote.reasons), "nonce": new.nonce}
            insert(connection, "votes", record)
            connection.execute(
                "UPDATE battles SET revealed_at = ? WHERE id = ? AND revealed_at IS NULL",
                (vote.voted_at, new.battle_id),
            )
            return vote, True

    def votes(self, limit: int) -> tuple[Vote, ...]:
        """The newest votes first."""
        rows = self._database.rows("SELECT * FROM votes ORDER BY number DESC LIMIT ?", (limit,))
        return tuple(vote_of(row) for row in rows)

    def outcomes(self) -> dict[Outcome, int]:
        """How many votes there are by outcome."""
        rows = self._database.rows("SELECT outcome, count(*) AS n FROM votes GROUP BY outcome")
        return {Outcome(row["outcome"]): row["n"] for row in rows}

    def standing_votes(self) -> tuple[Vote, ...]:
        """What each voter's verdict on each battle is, oldest first.

        Of a blind battle only verdicts from before the reveal stand, of a named one all do; of these
        the voter's newest.
        """
        sql = """SELECT votes.* FROM votes JOIN battles ON battles.id = votes.battle_id
            WHERE NOT (battles.blind AND votes.after_reveal) ORDER BY votes.number"""
        newest = {(row["battle_id"], row["voter"]): row for row in self._database.rows(sql)}
        return tuple(vote_of(row) for row in sorted(newest.values(), key=lambda row: int(row["number"])))

    def add_thumb(self, new: NewThumb, voter: str, of: StoredSide) -> tuple[Thumb, bool]:
        """Store a thumb on an answer of ``of``; of a nonce that is known, return the thumb it made.

        Raises:
            Conflict: The nonce belongs to a thumb with another content.
        """
        with self._database.write() as connection:
            known = connection.execute("SELECT * FROM thumbs WHERE nonce = ?", (new.nonce,)).fetchone()
            if known is not None:
                return same_thumb(thumb_of(known), new, voter), False
            thumb = Thumb(new_id("thumb"), new.generation_id, new.up, new.comment, voter, now())
            who = {key: asdict(of)[key] for key in ("model_version_id", "deployment", "variant")}
            insert(connection, "thumbs", {**asdict(thumb), **who, "nonce": new.nonce})
            return thumb, True

    def standing_thumbs(self) -> tuple[Thumb, ...]:
        """Each person's newest thumb on each answer, where it was not taken back; oldest first."""
        rows = self._database.rows(f"{_standing_thumbs('TRUE')} ORDER BY number")
        return tuple(thumb_of(row) for row in rows)

    def maker(self, thumb_id: str) -> str:
        """The model version whose answer a thumb is on."""
        row = self._database.row("SELECT model_version_id FROM thumbs WHERE id = ?", (thumb_id,))
        return str(row["model_version_id"]) if row else ""

    def thumb_count(self, deployment: str, variant: str, model_version_id: str) -> ThumbCount:
        """The standing thumbs on a variant's answers, those of hidden battles left out."""
        who = "deployment = ? AND variant = ? AND model_version_id = ?"
        sql = f"""SELECT coalesce(sum(up), 0) AS ups, coalesce(sum(1 - up), 0) AS downs
            FROM ({_standing_thumbs(who)}) AS standing WHERE NOT EXISTS (
                SELECT 1 FROM sides JOIN battles ON battles.id = sides.battle_id
                WHERE sides.generation_id = standing.generation_id
                AND battles.blind AND battles.revealed_at IS NULL)"""
        row = self._database.rows(sql, (deployment, variant, model_version_id))[0]
        return ThumbCount(int(row["ups"]), int(row["downs"]))

    def pseudonymise(self, name: str, pseudonym: str) -> tuple[Node, ...]:
        """Put ``pseudonym`` where ``name`` stands; every vote and thumb that is under the pseudonym now."""
        found: list[Node] = []
        with self._database.write() as connection:
            connection.execute(
                "UPDATE conversations SET started_by = ? WHERE started_by = ?", (pseudonym, name)
            )
            for table, kind in (("votes", "vote"), ("thumbs", "thumb")):
                connection.execute(f"UPDATE {table} SET voter = ? WHERE voter = ?", (pseudonym, name))
                rows = connection.execute(f"SELECT id FROM {table} WHERE voter = ?", (pseudonym,)).fetchall()
                found += [Node(kind, row["id"]) for row in rows]
        return tuple(found)

    def _new_vote(self, connection: sqlite3.Connection, new: NewVote, voter: str) -> Vote:
        earlier = connection.execute(
            "SELECT id FROM votes WHERE battle_id = ? AND voter = ? ORDER BY number DESC LIMIT 1",
            (new.battle_id, voter),
        ).fetchone()
        battle = connection.execute(
            "SELECT revealed_at FROM battles WHERE id = ?", (new.battle_id,)
        ).fetchone()
        return Vote(
            id=new_id("vote"),
            battle_id=new.battle_id,
            outcome=new.outcome,
            reasons=new.reasons,
            comment=new.comment,
            better_answer=new.better_answer,
            voter=voter,
            after_reveal=battle["revealed_at"] is not None,
            supersedes=earlier["id"] if earlier else None,
            shown_at=new.shown_at,
            voted_at=now(),
            active_seconds=new.active_seconds,
        )

    def _battles(self, where: str, values: Iterable[Any], limit: int) -> tuple[StoredBattle, ...]:
        sql = f"{_BATTLES} WHERE {where} ORDER BY battles.number DESC LIMIT ?"
        return tuple(battle_of(row) for row in self._database.rows(sql, (*values, limit)))


_BATTLES = """SELECT battles.*,
    (SELECT outcome FROM votes WHERE battle_id = battles.id ORDER BY number DESC LIMIT 1) AS outcome,
    a.generation_id AS a_generation_id, a.model_version_id AS a_model_version_id,
    a.deployment AS a_deployment, a.variant AS a_variant,
    b.generation_id AS b_generation_id, b.model_version_id AS b_model_version_id,
    b.deployment AS b_deployment, b.variant AS b_variant
    FROM battles
    JOIN sides AS a ON a.battle_id = battles.id AND a.side = 'a'
    JOIN sides AS b ON b.battle_id = battles.id AND b.side = 'b'"""


def _run(db: SqliteUtils, script: str) -> None:
    # executescript would commit the migration's transaction, so the statements go one by one.
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            db.execute(statement)
            statement = ""


def _standing_thumbs(where: str) -> str:
    return f"""SELECT * FROM thumbs WHERE up IS NOT NULL AND number IN (
        SELECT max(number) FROM thumbs WHERE {where} GROUP BY generation_id, voter)"""


def _first(found: tuple[StoredBattle, ...]) -> StoredBattle | None:
    return found[0] if found else None
