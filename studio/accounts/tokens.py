"""Tokens: keys that people make for their programs.

A token looks like ``tdm_1a2b3c4d_…``: the first part finds it, the rest is 256 random bits, of which the
database keeps a digest. It has its owner's role at the moment of use, narrowed to its scopes.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import sqlite3
from typing import cast

from studio.accounts.records import Account, NewToken, Scope, Token, Visitor
from studio.accounts.signing import digest
from studio.accounts.store import AccountStore, KeptToken
from studio.core import Conflict, InvalidInput, Role, new_id, now
from studio.core.text import plain_text

_SECRET = re.compile(r"tdm_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_MOST_ALIVE = 50
_LONGEST_DAYS = 3650
_DAY_SECONDS = 24 * 3600.0
#: How exactly the last use is known: each time is a write.
_USE_STEP_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Tokens:
    """Makes, finds and ends tokens."""

    def __init__(self, store: AccountStore) -> None:
        self._store = store

    def create(self, connection: sqlite3.Connection, owner: Account, new: NewToken) -> tuple[Token, str]:
        """Store a new token; its secret is known only now.

        Raises:
            InvalidInput: The label, the scopes or the days cannot be used.
            Conflict: The person has too many.
        """
        label, scopes, expires_at = _checked(owner, new)
        if sum(_alive(kept.token) for kept in self._store.tokens(owner.name)) >= _MOST_ALIVE:
            raise Conflict(f"{owner.name} has {_MOST_ALIVE} tokens already.", "Revoke one that is not used.")
        prefix = secrets.token_hex(4)
        secret = f"tdm_{prefix}_{secrets.token_urlsafe(32)}"
        token = Token(new_id("token"), label, owner.name, scopes, now(), expires_at, None, None)
        self._store.add_token(connection, token, owner.id, prefix, digest(secret))
        return token, secret

    def visitor(self, secret: str) -> Visitor | None:
        """Who holds this token."""
        found = self._find(secret)
        if found is None or not _alive(found.token) or found.account.disabled:
            return None
        self._note_use(found.token)
        return Visitor(found.account.actor, found.token.scopes)

    def _find(self, secret: str) -> KeptToken | None:
        form = _SECRET.fullmatch(secret)
        found = self._store.token_by_prefix(cast(str, form[1])) if form else None
        return found if found and hmac.compare_digest(found.digest, digest(secret)) else None

    def _note_use(self, token: Token) -> None:
        at = now()
        if token.last_used_at is not None and at - token.last_used_at < _USE_STEP_SECONDS:
            return
        try:
            with self._store.write() as connection:
                self._store.use_token(connection, token.id, at)
        except sqlite3.OperationalError:
            # A full disk or a busy database is no reason to refuse a token that is valid.
            _log.warning("The last use of a token could not be stored.", exc_info=True)


def _checked(owner: Account, new: NewToken) -> tuple[str, frozenset[Scope], float | None]:
    label = plain_text("The label", new.label.strip(), 80)
    if not label or not label.isprintable():
        raise InvalidInput(
            "A token needs a label of one line.", "Say which program it is for, such as nightly import."
        )
    if Scope.ADMIN in new.scopes and owner.role is not Role.ADMIN:
        raise InvalidInput("Only an admin's token can have the scope admin.", "Leave it out.")
    if new.expires_days is None:
        return label, new.scopes | {Scope.READ}, None
    if not 1 <= new.expires_days <= _LONGEST_DAYS:
        raise InvalidInput(
            f"A token is valid for 1 to {_LONGEST_DAYS:,} days.",
            "Give a number in between, or none for ever.",
        )
    return label, new.scopes | {Scope.READ}, now() + new.expires_days * _DAY_SECONDS


def _alive(token: Token) -> bool:
    over = token.expires_at is not None and token.expires_at <= now()
    return token.revoked_at is None and not over
