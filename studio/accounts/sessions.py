"""Sessions: what a browser holds after a log-in.

The cookie is a random secret, signed; the database keeps its digest. Both must fit, and the account is read
anew at each request, so a role that changes or a person who is shut out is so at once. A session that is
used goes on, up to 30 days. Whoever steals the cookie is let in until it ends.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3

from studio.accounts.records import Account, Visitor
from studio.accounts.signing import Seal, digest
from studio.accounts.store import AccountStore
from studio.core import now

_LONGEST_SECONDS = 30 * 24 * 3600.0
#: How late the end of a session that is in use may be put off: each time is a write.
_STEP_SECONDS = 300.0

_log = logging.getLogger(__name__)


class Sessions:
    """Opens, reads and ends sessions."""

    def __init__(self, store: AccountStore, seal: Seal, hours: float) -> None:
        self._store = store
        self._seal = seal
        self._life = hours * 3600.0

    def open(self, connection: sqlite3.Connection, account: Account) -> str:
        """A new session in the transaction of the log-in; the value of its cookie."""
        at = now()
        secret = secrets.token_urlsafe(32)
        self._store.drop_expired(connection, at)
        ends_at = at + max(_LONGEST_SECONDS, self._life)
        self._store.add_session(connection, digest(secret), account.id, at + self._life, ends_at)
        self._store.set_login(connection, account.id, at)
        return self._seal.sign(secret)

    def visitor(self, cookie: str | None) -> Visitor | None:
        """Who holds this cookie."""
        secret = self._seal.open(cookie) if cookie else None
        if secret is None:
            return None
        key = digest(secret)
        found = self._store.session(key)
        at = now()
        if found is None or found.expires_at <= at or found.account.disabled:
            return None
        later = min(at + self._life, found.ends_at)
        if later - found.expires_at > min(_STEP_SECONDS, self._life / 20):
            self._extend(key, later)
        return Visitor(found.account.actor, None)

    def end(self, connection: sqlite3.Connection, cookie: str) -> Account | None:
        """End the session of this cookie; whose it was."""
        secret = self._seal.open(cookie)
        if secret is None:
            return None
        found = self._store.session(digest(secret))
        self._store.end_session(connection, digest(secret))
        return found.account if found else None

    def _extend(self, key: str, until: float) -> None:
        try:
            with self._store.write() as connection:
                self._store.extend_session(connection, key, until)
        except sqlite3.OperationalError:
            # A full disk or a busy database is no reason to keep a person out who is logged in.
            _log.warning("A session could not be extended.", exc_info=True)
