"""The tables of accounts, sessions, tokens and tries.

No secret is in them: passwords are argon2 hashes, sessions and tokens are digests of random secrets, and
tries are counted under keyed digests. Deleting an account deletes everything that hangs on it.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.accounts.records import Account, Scope, Token
from studio.core import Database, Role
from studio.core.database import Row, insert

migrations = Migrations("accounts")


@migrations()
def accounts(db: SqliteUtils) -> None:
    _run(
        db,
        """
        CREATE TABLE accounts (
            id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, full_name TEXT NOT NULL,
            role TEXT NOT NULL CHECK (role IN ('admin', 'researcher', 'annotator', 'stakeholder')),
            password TEXT NOT NULL, disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
            created_at REAL NOT NULL, last_login_at REAL
        ) STRICT;
        CREATE TABLE identities (
            issuer TEXT NOT NULL, subject TEXT NOT NULL,
            account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
            PRIMARY KEY (issuer, subject)
        ) STRICT;
        CREATE INDEX identities_account ON identities (account_id);
        CREATE TABLE sessions (
            digest TEXT PRIMARY KEY,
            account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
            expires_at REAL NOT NULL, ends_at REAL NOT NULL
        ) STRICT;
        CREATE INDEX sessions_account ON sessions (account_id);
        CREATE TABLE tokens (
            id TEXT PRIMARY KEY, prefix TEXT NOT NULL UNIQUE, digest TEXT NOT NULL,
            account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
            label TEXT NOT NULL, scopes TEXT NOT NULL, created_at REAL NOT NULL,
            expires_at REAL, last_used_at REAL, revoked_at REAL
        ) STRICT;
        CREATE INDEX tokens_account ON tokens (account_id);
        CREATE TABLE tries (
            key TEXT PRIMARY KEY, count INTEGER NOT NULL, last_at REAL NOT NULL, blocked_until REAL NOT NULL
        ) STRICT;
        """,
    )


@dataclass(frozen=True)
class Kept:
    """An account with the hash of its password; empty for a person who has none."""

    account: Account
    password: str


@dataclass(frozen=True)
class KeptSession:
    """A session; it expires unless it is used, and ends in any case."""

    account: Account
    expires_at: float
    ends_at: float


@dataclass(frozen=True)
class KeptToken:
    """A token with what its secret is checked against."""

    token: Token
    account: Account
    digest: str


@dataclass(frozen=True)
class Tries:
    """Wrong tries in a row."""

    count: int
    last_at: float
    blocked_until: float


_ACCOUNT = """accounts.id, accounts.name, accounts.role, accounts.full_name, accounts.disabled,
    accounts.created_at, accounts.last_login_at, accounts.password,
    EXISTS (SELECT 1 FROM identities WHERE identities.account_id = accounts.id) AS external"""
_KEY = """tokens.id AS token_id, tokens.label, tokens.scopes, tokens.created_at AS made_at,
    tokens.expires_at, tokens.last_used_at, tokens.revoked_at, tokens.digest"""


class AccountStore:
    """Reads by itself; writes in a transaction that the caller has open."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate(migrations)

    def write(self) -> AbstractContextManager[sqlite3.Connection]:
        """One durable transaction."""
        return self._database.write()

    def any(self) -> bool:
        """Whether there is an account."""
        return self._database.row("SELECT 1 FROM accounts LIMIT 1") is not None

    def all(self) -> tuple[Account, ...]:
        """Every account by name."""
        rows = self._database.rows(f"SELECT {_ACCOUNT} FROM accounts ORDER BY name")
        return tuple(_account(row) for row in rows)

    def by_name(self, name: str) -> Kept | None:
        """The account of that name."""
        if not name.isascii():
            return None  # no account has such a name, and half a surrogate pair would make the driver raise
        return self._kept("name = ?", (name,))

    def by_identity(self, issuer: str, subject: str) -> Kept | None:
        """The account of whom an identity provider calls ``subject``."""
        where = "id = (SELECT account_id FROM identities WHERE issuer = ? AND subject = ?)"
        return self._kept(where, (issuer, subject))

    def add(self, connection: sqlite3.Connection, kept: Kept) -> None:
        """Store a new account."""
        record = asdict(kept.account)
        del record["external"]
        insert(connection, "accounts", {**record, "disabled": 0, "password": kept.password})

    def add_identity(
        self, connection: sqlite3.Connection, issuer: str, subject: str, account_id: str
    ) -> None:
        """Remember whom an identity provider calls ``subject``."""
        insert(connection, "identities", {"issuer": issuer, "subject": subject, "account_id": account_id})

    def other_admins(self, account_id: str) -> int:
        """How many people could still run the studio without this one."""
        sql = "SELECT count(*) AS n FROM accounts WHERE role = 'admin' AND NOT disabled AND id <> ?"
        row = self._database.row(sql, (account_id,))
        assert row is not None
        return int(row["n"])

    def set_role(self, connection: sqlite3.Connection, account_id: str, role: Role) -> None:
        """Give another role."""
        connection.execute("UPDATE accounts SET role = ? WHERE id = ?", (role.value, account_id))

    def set_disabled(self, connection: sqlite3.Connection, account_id: str, disabled: bool) -> None:
        """Keep a person out, or not."""
        connection.execute("UPDATE accounts SET disabled = ? WHERE id = ?", (disabled, account_id))

    def set_password(self, connection: sqlite3.Connection, account_id: str, password: str) -> None:
        """Keep another hash."""
        connection.execute("UPDATE accounts SET password = ? WHERE id = ?", (password, account_id))

    def set_login(self, connection: sqlite3.Connection, account_id: str, at: float) -> None:
        """Remember when a person last logged in."""
        connection.execute("UPDATE accounts SET last_login_at = ? WHERE id = ?", (at, account_id))

    def delete(self, connection: sqlite3.Connection, account_id: str) -> None:
        """Delete an account with its sessions, tokens and identities."""
        connection.execute("DELETE FROM accounts WHERE id = ?", (account_id,))

    def add_session(
        self, connection: sqlite3.Connection, digest: str, account_id: str, expires_at: float, ends_at: float
    ) -> None:
        """Store a new session."""
        insert(
            connection,
            "sessions",
            {"digest": digest, "account_id": account_id, "expires_at": expires_at, "ends_at": ends_at},
        )

    def session(self, digest: str) -> KeptSession | None:
        """The session with that digest, expired or not."""
        sql = f"""SELECT {_ACCOUNT}, sessions.expires_at, sessions.ends_at
            FROM sessions JOIN accounts ON accounts.id = sessions.account_id WHERE sessions.digest = ?"""
        row = self._database.row(sql, (digest,))
        return None if row is None else KeptSession(_account(row), row["expires_at"], row["ends_at"])

    def extend_session(self, connection: sqlite3.Connection, digest: str, expires_at: float) -> None:
        """Let a session that is used go on."""
        connection.execute("UPDATE sessions SET expires_at = ? WHERE digest = ?", (expires_at, digest))

    def end_session(self, connection: sqlite3.Connection, digest: str) -> None:
        """Delete one session."""
        connection.execute("DELETE FROM sessions WHERE digest = ?", (digest,))

    def end_sessions(self, connection: sqlite3.Connection, account_id: str) -> None:
        """Delete every session of a person."""
        connection.execute("DELETE FROM sessions WHERE account_id = ?", (account_id,))

    def drop_expired(self, connection: sqlite3.Connection, at: float) -> None:
        """Delete the sessions that were over at ``at``."""
        connection.execute("DELETE FROM sessions WHERE expires_at <= ?", (at,))

    def add_token(
        self, connection: sqlite3.Connection, token: Token, account_id: str, prefix: str, digest: str
    ) -> None:
        """Store a new token."""
        record = asdict(token)
        del record["owner"]
        record |= {"account_id": account_id, "prefix": prefix, "digest": digest}
        insert(connection, "tokens", {**record, "scopes": json.dumps(sorted(token.scopes))})

    def tokens(self, owner: str) -> tuple[KeptToken, ...]:
        """A person's tokens, newest first."""
        return self._tokens("accounts.name = ?", owner)

    def token(self, token_id: str) -> KeptToken | None:
        """The token with that id."""
        if not token_id.isascii():
            return None
        return next(iter(self._tokens("tokens.id = ?", token_id)), None)

    def token_by_prefix(self, prefix: str) -> KeptToken | None:
        """The token whose secret begins so."""
        return next(iter(self._tokens("tokens.prefix = ?", prefix)), None)

    def revoke_token(self, connection: sqlite3.Connection, token_id: str, at: float) -> None:
        """End a token."""
        sql = "UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
        connection.execute(sql, (at, token_id))

    def use_token(self, connection: sqlite3.Connection, token_id: str, at: float) -> None:
        """Remember when a token was last used."""
        connection.execute("UPDATE tokens SET last_used_at = ? WHERE id = ?", (at, token_id))

    def tries(self, connection: sqlite3.Connection, key: str) -> Tries:
        """The wrong tries kept under ``key``."""
        sql = "SELECT count, last_at, blocked_until FROM tries WHERE key = ?"
        row = connection.execute(sql, (key,)).fetchone()
        return Tries(0, 0.0, 0.0) if row is None else Tries(*row)

    def set_tries(self, connection: sqlite3.Connection, key: str, tries: Tries) -> None:
        """Keep tries under ``key``."""
        values = (key, tries.count, tries.last_at, tries.blocked_until)
        connection.execute("INSERT OR REPLACE INTO tries VALUES (?, ?, ?, ?)", values)

    def drop_tries(self, connection: sqlite3.Connection, key: str) -> None:
        """Forget the tries kept under ``key``."""
        connection.execute("DELETE FROM tries WHERE key = ?", (key,))

    def forget_tries(self, connection: sqlite3.Connection, before: float) -> None:
        """Forget tries of long ago."""
        connection.execute("DELETE FROM tries WHERE last_at < ?", (before,))

    def _kept(self, where: str, values: tuple[str, ...]) -> Kept | None:
        row = self._database.row(f"SELECT {_ACCOUNT} FROM accounts WHERE {where}", values)
        return None if row is None else Kept(_account(row), row["password"])

    def _tokens(self, where: str, value: str) -> tuple[KeptToken, ...]:
        sql = f"""SELECT {_ACCOUNT}, {_KEY} FROM tokens JOIN accounts ON accounts.id = tokens.account_id
            WHERE {where} ORDER BY tokens.rowid DESC"""
        rows = self._database.rows(sql, (value,))
        return tuple(KeptToken(_token(row), _account(row), row["digest"]) for row in rows)


def _account(row: Row) -> Account:
    return Account(
        id=row["id"],
        name=row["name"],
        role=Role(row["role"]),
        full_name=row["full_name"],
        disabled=bool(row["disabled"]),
        created_at=row["created_at"],
        last_login_at=row["last_login_at"],
        external=bool(row["external"]),
    )


def _token(row: Row) -> Token:
    return Token(
        id=row["token_id"],
        label=row["label"],
        owner=row["name"],
        scopes=frozenset(Scope(scope) for scope in json.loads(row["scopes"])),
        created_at=row["made_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
        revoked_at=row["revoked_at"],
    )


def _run(db: SqliteUtils, script: str) -> None:
    # executescript would end the migration's transaction; none of these statements holds a semicolon.
    for statement in script.split(";"):
        if statement.strip():
            db.execute(statement)
