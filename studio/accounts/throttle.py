"""Guessing passwords is slow: after a few wrong ones in a row each further try has to wait longer.

It counts for the account that is tried and for the address that tries, in the database, so that a restart
forgives nothing. A try is counted before the password is looked at and taken back if it was right, so
many at the same moment are no way round. It does not stop a guesser with many addresses from keeping an
account waiting; an admin's new password, or the terminal, lets the person in again.
"""

from __future__ import annotations

import ipaddress
import sqlite3
from dataclasses import dataclass

from studio.accounts.signing import Seal
from studio.accounts.store import AccountStore, Tries
from studio.core import TooManyRequests, now

_FIRST_WAIT_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 900.0
#: Tries are forgotten this long after the last of them.
_FORGOTTEN_SECONDS = 3600.0


@dataclass(frozen=True)
class _Counter:
    key: str
    free: int


class Throttle:
    """Counts tries by account and by address."""

    def __init__(self, store: AccountStore, seal: Seal) -> None:
        self._store = store
        self._seal = seal

    def attempt(self, name: str, address: str = "") -> None:
        """Count one try.

        Raises:
            TooManyRequests: The account or the address has to wait; nothing is counted then.
        """
        with self._store.write() as connection:
            at = now()  # not before the turn to write: many may have waited for it
            self._store.forget_tries(connection, before=at - _FORGOTTEN_SECONDS)
            known = [(c, self._store.tries(connection, c.key)) for c in self._counters(name, address)]
            wait = max(tries.blocked_until - at for _, tries in known)
            if wait > 0:
                wait = min(wait, _LONGEST_WAIT_SECONDS)  # a clock that was set back must not lock for years
                raise TooManyRequests(
                    "Too many wrong tries.", f"Try again in {_told(wait)}.", retry_after=wait
                )
            for counter, tries in known:
                count = tries.count + 1
                wait = _wait(count, counter.free)
                self._store.set_tries(connection, counter.key, Tries(count, at, at + wait if wait else 0.0))

    def passed(self, name: str, address: str = "") -> None:
        """The try that was counted last was right: forget the account's, take back the address's."""
        account, *places = self._counters(name, address)
        with self._store.write() as connection:
            self._store.drop_tries(connection, account.key)
            for place in places:
                tries = self._store.tries(connection, place.key)
                self._store.set_tries(
                    connection, place.key, Tries(max(0, tries.count - 1), tries.last_at, 0.0)
                )

    def forgive(self, connection: sqlite3.Connection, name: str) -> None:
        """Forget the tries for an account."""
        for counter in self._counters(name, ""):
            self._store.drop_tries(connection, counter.key)

    def _counters(self, name: str, address: str) -> tuple[_Counter, ...]:
        account = _Counter(self._seal.mark("account", name), free=5)
        if not address:
            return (account,)
        # Many people may share an address, so it has more tries.
        return account, _Counter(self._seal.mark("address", _network(address)), free=20)


def _wait(count: int, free: int) -> float:
    """Seconds to wait after the ``count``-th wrong try; from the ``free``-th on each doubles it."""
    if count < free:
        return 0.0
    doublings = min(count - free, 20)
    return min(_FIRST_WAIT_SECONDS * 2.0**doublings, _LONGEST_WAIT_SECONDS)


def _network(address: str) -> str:
    """What one guesser holds: an IPv4 address, or the /64 that an IPv6 host moves in freely."""
    try:
        host = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(host, ipaddress.IPv6Address):
        if host.ipv4_mapped is None:
            return str(ipaddress.ip_network((host, 64), strict=False))
        host = host.ipv4_mapped
    return str(host)


def _told(seconds: float) -> str:
    if seconds <= 90:
        return f"{max(1, round(seconds))} seconds"
    return f"{round(seconds / 60)} minutes"
