"""Accounts as the doors and the pages ask for them.

Two rules hold at every moment, also across processes: there is always somebody who can run the studio (the
last admin cannot be demoted, shut out or erased), and whoever is shut out is out at once.
"""

from __future__ import annotations

import sqlite3

from argon2 import PasswordHasher

from studio.accounts.names import check_name, erased_name, free_name
from studio.accounts.passwords import Passwords
from studio.accounts.records import Account, NewAccount, NewToken, Token, Visitor
from studio.accounts.sessions import Sessions
from studio.accounts.signing import Seal
from studio.accounts.store import AccountStore, Kept
from studio.accounts.throttle import Throttle
from studio.accounts.tokens import Tokens
from studio.core import (
    EVERYONE,
    SYSTEM,
    Actor,
    Audit,
    Conflict,
    Database,
    Forbidden,
    InvalidInput,
    Node,
    NotFound,
    Role,
    Settings,
    Unauthenticated,
    new_id,
    now,
    require,
)
from studio.core.text import plain_text


class AccountService:
    """Adds and changes accounts, opens and ends sessions, and knows who stands behind a cookie or token.

    Args:
        hasher: Tests give a cheap one.
    """

    def __init__(
        self, database: Database, audit: Audit, settings: Settings, *, hasher: PasswordHasher | None = None
    ) -> None:
        self._store = AccountStore(database)
        self._audit = audit
        self._settings = settings
        seal = Seal(settings.home)
        self._passwords = Passwords(hasher)
        self._throttle = Throttle(self._store, seal)
        self._sessions = Sessions(self._store, seal, settings.session_hours)
        self._tokens = Tokens(self._store)

    def exist(self) -> bool:
        """Whether there is an account at all; without one the studio is single-user.

        It asks the database each time: the terminal may have added one a moment ago.
        """
        return self._store.any()

    def create_first(self, name: str, password: str) -> Account:
        """Add the first account, an admin.

        Raises:
            Conflict: There is an account already.
            InvalidInput: The name or the password cannot be used.
        """
        if self._store.any():
            raise _not_first()
        kept = self._new(NewAccount(name, Role.ADMIN, password))
        with self._store.write() as connection:
            if self._store.any():
                raise _not_first()
            self._store.add(connection, kept)
            self._note(connection, kept.account.actor, "added", name, Role.ADMIN)
        return kept.account

    def add(self, actor: Actor, new: NewAccount) -> Account:
        """Add an account; for admins.

        Raises:
            Conflict: The name is taken, or this would be the first account and is no admin.
            InvalidInput: The name or the password cannot be used.
        """
        require(actor)
        kept = self._new(new)
        with self._store.write() as connection:
            if self._store.by_name(new.name) is not None:
                raise Conflict(f"There is an account {new.name} already.", "Choose another name.")
            if new.role is not Role.ADMIN and not self._store.any():
                raise Conflict("The first account must be an admin's.", "Add that one first.")
            self._store.add(connection, kept)
            self._note(connection, actor, "added", new.name, new.role)
        return kept.account

    def list(self, actor: Actor) -> tuple[Account, ...]:
        """Every account by name; for admins."""
        require(actor)
        return self._store.all()

    def names(self, actor: Actor) -> tuple[str, ...]:
        """The names of those who can log in, for whoever gives others work or access."""
        require(actor, Role.RESEARCHER)
        return tuple(account.name for account in self._store.all() if not account.disabled)

    def account(self, actor: Actor, name: str) -> Account:
        """One's own account, or any for an admin.

        Raises:
            NotFound: There is none of that name.
        """
        _require_own(actor, name)
        return self._known(name).account

    def change_role(self, actor: Actor, name: str, role: Role) -> Account:
        """Give a person another role; ends their sessions, and their tokens have it at once; for admins.

        Raises:
            NotFound: There is no such account.
            Conflict: It is the last admin's.
        """
        require(actor)
        with self._store.write() as connection:
            account = self._known(name).account
            if role is account.role:
                return account
            self._keep_an_admin(account)
            self._store.set_role(connection, account.id, role)
            self._store.end_sessions(connection, account.id)
            self._note(connection, actor, "changed the role of", name, f"{account.role} to {role}")
            return self._known(name).account

    def set_password(self, actor: Actor, name: str, new: str, current: str = "") -> None:
        """Change one's own password, or give a person a new one as an admin; ends their sessions.

        Raises:
            NotFound: There is no such account.
            InvalidInput: The new password cannot be used.
            Unauthenticated: The current password of one's own account is wrong.
            TooManyRequests: It was wrong too often.
        """
        _require_own(actor, name)
        kept = self._known(name)
        if actor.name == name:
            # Also for an admin: whoever finds an open browser must not be able to keep the account.
            self._check_own(kept, current)
        hashed = self._passwords.hash(new, name, kept.account.full_name)
        with self._store.write() as connection:
            if self._known(name).password != kept.password:
                raise Conflict("The password was changed a moment ago.", "Log in with that one.")
            self._store.set_password(connection, kept.account.id, hashed)
            self._store.end_sessions(connection, kept.account.id)
            self._throttle.forgive(connection, name)
            self._note(connection, actor, "changed the password of", name)

    def disable(self, actor: Actor, name: str) -> Account:
        """Keep a person out: sessions end, tokens are refused; for admins.

        Raises:
            NotFound: There is no such account.
            Conflict: It is the last admin's.
        """
        require(actor)
        with self._store.write() as connection:
            account = self._known(name).account
            if account.disabled:
                return account
            self._keep_an_admin(account)
            self._store.set_disabled(connection, account.id, True)
            self._store.end_sessions(connection, account.id)
            self._note(connection, actor, "disabled", name)
            return self._known(name).account

    def enable(self, actor: Actor, name: str) -> Account:
        """Let a person in again; for admins.

        Raises:
            NotFound: There is no such account.
        """
        require(actor)
        with self._store.write() as connection:
            account = self._known(name).account
            if not account.disabled:
                return account
            self._store.set_disabled(connection, account.id, False)
            self._throttle.forgive(connection, name)
            self._note(connection, actor, "enabled", name)
            return self._known(name).account

    def pseudonym(self, actor: Actor, name: str) -> str:
        """What a person is called once erased: the same each time, so that erasing can be taken up again.

        Raises:
            NotFound: There is no such account.
        """
        require(actor)
        return erased_name(self._known(name).account.id)

    def erase(self, actor: Actor, name: str) -> str:
        """Delete an account with its sessions and tokens, and the name from the audit log; for admins.

        What the person made in other rooms is theirs to pseudonymise.

        Returns:
            The pseudonym.

        Raises:
            NotFound: There is no such account.
            Conflict: It is the last admin's.
        """
        require(actor)
        with self._store.write() as connection:
            account = self._known(name).account
            self._keep_an_admin(account)
            pseudonym = erased_name(account.id)
            self._store.delete(connection, account.id)
            self._throttle.forgive(connection, name)
            self._audit.rename_on(connection, name, pseudonym)
            by = Actor(pseudonym, actor.role) if actor.name == name else actor
            self._note(connection, by, "erased", pseudonym)
        return pseudonym

    def log_in(self, name: str, password: str, address: str) -> str:
        """Open a session; the value of its cookie. ``address`` is where the request came from.

        Raises:
            Unauthenticated: Name and password do not fit, or the account is disabled.
            TooManyRequests: There were too many wrong tries.
        """
        name = name.strip().lower()
        self._throttle.attempt(name, address)
        kept = self._store.by_name(name)
        if not self._passwords.check(kept.password if kept else "", password) or kept is None:
            # Written down for an unknown name too, without it: the time must not tell which it was.
            target = Node("account", kept.account.name if kept else "unknown")
            self._audit.record(SYSTEM, "refused a log-in of", target)
            raise Unauthenticated("The name or the password is wrong.", "Try again, or ask an admin.")
        self._throttle.passed(name, address)
        stale = self._passwords.outdated(kept.password)
        renewed = self._passwords.hash(password) if stale else kept.password
        with self._store.write() as connection:
            again = self._store.by_name(name)
            if again is None or again.password != kept.password:
                raise Unauthenticated("The password was changed a moment ago.", "Use the new one.")
            self._store.set_password(connection, again.account.id, renewed)
            return self._open(connection, again.account)

    def log_in_external(self, issuer: str, subject: str, name: str, full_name: str) -> str:
        """Open a session for someone whom an identity provider vouches for; the value of its cookie.

        ``subject`` is who it is; ``name`` is only a wish. At the first log-in the person gets an account of
        their own, never one that is there already.

        Raises:
            Unauthenticated: The account is disabled.
            Conflict: There is no account yet: the first is an admin's, with a password.
        """
        if not plain_text("The issuer", issuer, 1000) or not plain_text("The subject", subject, 1000):
            raise InvalidInput("The identity provider did not say who this is.", "Ask whoever runs it.")
        with self._store.write() as connection:
            kept = self._store.by_identity(issuer, subject)
            account = kept.account if kept else self._join(connection, issuer, subject, name, full_name)
            return self._open(connection, account)

    def log_out(self, cookie: str | None) -> None:
        """End a session; a cookie that is none is ignored."""
        if cookie is None or self.session(cookie) is None:
            return
        with self._store.write() as connection:
            account = self._sessions.end(connection, cookie)
            if account is not None:
                self._note(connection, account.actor, "logged out", account.name)

    def session(self, cookie: str | None) -> Visitor | None:
        """Who holds this cookie: the person in today's role, or None."""
        return self._sessions.visitor(cookie)

    def actor(self, name: str) -> Actor | None:
        """The person of that name in today's role, unless unknown or disabled."""
        kept = self._store.by_name(name)
        return None if kept is None or kept.account.disabled else kept.account.actor

    def create_token(self, actor: Actor, new: NewToken) -> tuple[Token, str]:
        """Make a token for oneself; its secret is shown this once.

        Raises:
            Conflict: There is no account to make it for, or it has too many.
            InvalidInput: The label, the scopes or the days cannot be used.
        """
        require(actor, *EVERYONE)
        with self._store.write() as connection:
            kept = self._store.by_name(actor.name)
            if kept is None:
                raise Conflict("A token belongs to an account, and you have none.", "Add an account first.")
            token, secret = self._tokens.create(connection, kept.account, new)
            self._audit.record_on(connection, actor, "created", Node("token", token.id), token.label)
        return token, secret

    def tokens(self, actor: Actor, owner: str = "") -> tuple[Token, ...]:
        """One's own tokens, or those of ``owner`` for an admin; newest first, those that ended too."""
        owner = owner or actor.name
        _require_own(actor, owner)
        return tuple(kept.token for kept in self._store.tokens(owner))

    def revoke_token(self, actor: Actor, token_id: str) -> Token:
        """End a token: one's own, or any for an admin; once more changes nothing.

        Raises:
            NotFound: There is none of that id, or it is somebody else's.
        """
        require(actor, *EVERYONE)
        with self._store.write() as connection:
            kept = self._store.token(token_id)
            if kept is None or not (kept.token.owner == actor.name or actor.role is Role.ADMIN):
                raise NotFound(f"You have no token {token_id}.", "Look at the list of tokens.")
            if kept.token.revoked_at is None:
                self._store.revoke_token(connection, token_id, now())
                self._audit.record_on(connection, actor, "revoked", Node("token", token_id), kept.token.label)
            found = self._store.token(token_id)
            assert found is not None
            return found.token

    def by_token(self, secret: str) -> Visitor | None:
        """Who holds this token: its owner in today's role with the token's scopes, or None."""
        return self._tokens.visitor(secret)

    def _new(self, new: NewAccount) -> Kept:
        name = check_name(new.name)
        full_name = plain_text("The full name", new.full_name.strip(), 80)
        password = self._passwords.hash(new.password, name, full_name)
        return Kept(_fresh(name, new.role, full_name, external=False), password)

    def _known(self, name: str) -> Kept:
        kept = self._store.by_name(name)
        if kept is None:
            raise NotFound(f"There is no account {name!r}.", "Look at the list of accounts.")
        return kept

    def _keep_an_admin(self, account: Account) -> None:
        """Refuse to take the power of the last person who has it; called inside the transaction."""
        powerful = account.role is Role.ADMIN and not account.disabled
        if powerful and self._store.other_admins(account.id) == 0:
            raise Conflict(
                f"{account.name} is the last admin, and somebody must be able to run the studio.",
                "Make somebody else an admin first.",
            )

    def _check_own(self, kept: Kept, current: str) -> None:
        # Counted apart from log-ins (no name has a space), so that a guesser outside cannot get in the way.
        counter = f"{kept.account.name} password"
        self._throttle.attempt(counter)
        if not self._passwords.check(kept.password, current):
            raise Unauthenticated("The current password is wrong.", "Try again, or ask an admin.")
        self._throttle.passed(counter)

    def _open(self, connection: sqlite3.Connection, account: Account) -> str:
        if account.disabled:
            raise Unauthenticated("This account is disabled.", "Ask an admin to enable it.")
        self._note(connection, account.actor, "logged in", account.name)
        return self._sessions.open(connection, account)

    def _join(
        self, connection: sqlite3.Connection, issuer: str, subject: str, name: str, full_name: str
    ) -> Account:
        if not self._store.any():
            raise Conflict("The studio has no accounts yet.", "Add an admin first.")
        free = free_name(name, lambda wanted: self._store.by_name(wanted) is not None)
        shown = "".join(c for c in full_name if c.isprintable())[:80]
        account = _fresh(free, self._settings.oidc_role, shown, external=True)
        self._store.add(connection, Kept(account, ""))
        self._store.add_identity(connection, issuer, subject, account.id)
        self._note(connection, SYSTEM, "added", free, f"{account.role}, vouched for by {issuer}")
        return account

    def _note(
        self, connection: sqlite3.Connection, actor: Actor, verb: str, name: str, detail: str = ""
    ) -> None:
        self._audit.record_on(connection, actor, verb, Node("account", name), detail)


def _fresh(name: str, role: Role, full_name: str, *, external: bool) -> Account:
    return Account(new_id("account"), name, role, full_name, False, now(), None, external)


def _not_first() -> Conflict:
    return Conflict("The studio has its first account already.", "Log in, or ask an admin for an account.")


def _require_own(actor: Actor, name: str) -> None:
    if actor.name == name:
        require(actor, *EVERYONE)
    elif actor.role is not Role.ADMIN:
        raise Forbidden(f"{actor.name} may not look into other accounts.", "Ask an admin.")
