"""Guessing: how soon it has to wait, that nothing resets it, and that it does not tell who has an account."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from studio.accounts import AccountService
from studio.core import Audit, Database, Settings, StudioError, TooManyRequests, Unauthenticated
from tests.unit.accounts.conftest import HERE, PASSWORD, ROOT, Clock, Open

REPOSITORY = Path(__file__).resolve().parents[3]


def _fail(accounts: AccountService, name: str, address: str = HERE) -> StudioError:
    with pytest.raises((Unauthenticated, TooManyRequests)) as raised:
        accounts.log_in(name, "a wrong password", address)
    return raised.value


def _fail_many(accounts: AccountService, times: int, name: str, address: str = HERE) -> None:
    for _ in range(times):
        assert isinstance(_fail(accounts, name, address), Unauthenticated)


def test_five_wrong_tries_and_then_even_the_right_one_waits(accounts: AccountService, clock: Clock) -> None:
    _fail_many(accounts, 5, "ann")
    with pytest.raises(TooManyRequests, match="Try again in 5 seconds") as raised:
        accounts.log_in("ann", PASSWORD, HERE)
    assert raised.value.retry_after == pytest.approx(5.0)
    assert raised.value.status == 429
    clock.advance(5.0)
    assert accounts.log_in("ann", PASSWORD, HERE)
    _fail_many(accounts, 5, "ann")  # the right one forgave the account


def test_each_further_wrong_try_waits_twice_as_long_up_to_a_quarter_of_an_hour(
    accounts: AccountService, clock: Clock
) -> None:
    _fail_many(accounts, 4, "ann", "198.51.100.0")
    waits = []
    for number in range(12):
        assert isinstance(_fail(accounts, "ann", f"198.51.100.{number}"), Unauthenticated)
        refused = _fail(accounts, "ann", f"198.51.100.{number}")
        assert isinstance(refused, TooManyRequests)
        waits.append(refused.retry_after)
        clock.advance(refused.retry_after)
    assert waits == pytest.approx([5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900])


def test_a_refused_try_does_not_make_the_wait_longer(accounts: AccountService, clock: Clock) -> None:
    _fail_many(accounts, 5, "ann")
    for _ in range(50):
        assert isinstance(_fail(accounts, "ann"), TooManyRequests)
    clock.advance(5.0)
    assert accounts.log_in("ann", PASSWORD, HERE)


def test_tries_are_forgotten_after_an_hour(
    accounts: AccountService, clock: Clock, database: Database
) -> None:
    _fail_many(accounts, 4, "ann")
    clock.advance(3601.0)
    _fail_many(accounts, 4, "ann")
    assert len(database.rows("SELECT * FROM tries")) == 2
    clock.advance(3601.0)
    _fail(accounts, "sten", "198.51.100.1")
    assert len(database.rows("SELECT * FROM tries")) == 2


def test_an_address_that_tries_many_names_waits_and_others_do_not(
    accounts: AccountService, clock: Clock
) -> None:
    for number in range(20):
        assert isinstance(_fail(accounts, f"name{number}"), Unauthenticated)
    with pytest.raises(TooManyRequests):
        accounts.log_in("ann", PASSWORD, HERE)
    assert accounts.log_in("ann", PASSWORD, "198.51.100.1")


def test_an_own_account_does_not_clear_the_address(accounts: AccountService, clock: Clock) -> None:
    for number in range(19):
        _fail(accounts, f"name{number}")
        if number % 3 == 0:
            accounts.log_in("sten", PASSWORD, HERE)
    _fail(accounts, "name19")
    with pytest.raises(TooManyRequests):
        accounts.log_in("sten", PASSWORD, HERE)


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1%eth0", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
    ],
)
def test_what_counts_as_one_address(
    accounts: AccountService, clock: Clock, one: str, two: str, same: bool
) -> None:
    for number in range(20):
        _fail(accounts, f"name{number}", one)
    assert isinstance(_fail(accounts, "other", two), TooManyRequests if same else Unauthenticated)


def test_a_restart_forgives_nothing(accounts: AccountService, reopen: Open, clock: Clock) -> None:
    _fail_many(accounts, 5, "ann")
    with pytest.raises(TooManyRequests):
        reopen().log_in("ann", PASSWORD, HERE)


_GUESSER = """
import os, signal, sys
from pathlib import Path
from argon2 import PasswordHasher
from studio.accounts import AccountService
from studio.core import Audit, Database, Settings, Unauthenticated
settings = Settings(_env_file=None, home=Path(sys.argv[1]))
base = Database(settings.database_path)
cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
service = AccountService(base, Audit(base), settings, hasher=cheap)
for _ in range(5):
    try:
        service.log_in("ann", "a wrong password", "203.0.113.7")
    except Unauthenticated:
        pass
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.faults
def test_a_server_that_is_killed_forgives_nothing(accounts: AccountService, settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _GUESSER, str(settings.home)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(TooManyRequests):
        accounts.log_in("ann", PASSWORD, HERE)


def test_many_at_the_same_moment_are_no_way_round(accounts: AccountService) -> None:
    start = threading.Barrier(16)
    outcomes: list[type[StudioError]] = []

    def guess() -> None:
        start.wait()
        outcomes.append(type(_fail(accounts, "ann")))

    threads = [threading.Thread(target=guess) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(Unauthenticated) == 5
    assert outcomes.count(TooManyRequests) == 11


def test_a_new_password_from_an_admin_lets_the_person_in(accounts: AccountService, clock: Clock) -> None:
    _fail_many(accounts, 5, "ann")
    accounts.set_password(ROOT, "ann", "another good password")
    assert accounts.log_in("ann", "another good password", HERE)


def test_a_clock_that_was_set_back_does_not_lock_for_longer(accounts: AccountService, clock: Clock) -> None:
    _fail_many(accounts, 5, "ann")
    clock.advance(-90 * 24 * 3600.0)
    refused = _fail(accounts, "ann")
    assert isinstance(refused, TooManyRequests)
    assert refused.retry_after <= 900.0


@pytest.mark.parametrize("name", ["ann", "nobody", "", "no such name", "ånn", "\ud800", "a\0b", "x" * 10_000])
def test_an_unknown_name_is_told_the_same_and_waits_the_same(
    accounts: AccountService, clock: Clock, name: str
) -> None:
    words = {str(_fail(accounts, name)) for _ in range(5)}
    assert words == {"The name or the password is wrong. Try again, or ask an admin."}
    refused = _fail(accounts, name)
    assert isinstance(refused, TooManyRequests)
    assert refused.retry_after == pytest.approx(5.0)


def test_an_unknown_name_takes_as_long(
    accounts: AccountService, database: Database, settings: Settings
) -> None:
    # About 20 ms a check: leaving it out for an unknown name would show as a tenth of the time.
    dear = PasswordHasher(time_cost=2, memory_cost=16_384, parallelism=1)
    service = AccountService(database, Audit(database), settings, hasher=dear)
    service.set_password(ROOT, "ann", "another good password")
    times: dict[str, list[float]] = {"ann": [], "nobody": []}
    for number in range(7):
        for name, taken in times.items():
            if number % 2 == 0:
                service.enable(ROOT, "sten")  # other work in between
            began = time.perf_counter()
            _fail_once(service, name, f"198.51.100.{number}")
            taken.append(time.perf_counter() - began)
            _forgive(database)
    ratio = statistics.median(times["nobody"]) / statistics.median(times["ann"])
    assert 0.5 < ratio < 2.0


def _fail_once(service: AccountService, name: str, address: str) -> None:
    with pytest.raises(Unauthenticated):
        service.log_in(name, "a wrong password", address)


def _forgive(database: Database) -> None:
    with database.write() as connection:
        connection.execute("DELETE FROM tries")


def test_an_unknown_name_leaves_as_many_rows_and_not_itself(
    accounts: AccountService, database: Database, audit: Audit
) -> None:
    def rows() -> int:
        return sum(len(database.rows(f"SELECT * FROM {table}")) for table in ("tries", "audit"))

    counts = []
    for name in ("ann", "nobody"):
        before = rows()
        _fail(accounts, name, "198.51.100.1" if name == "ann" else "198.51.100.2")
        counts.append(rows() - before)
    assert counts[0] == counts[1]
    assert "nobody" not in str([tuple(row) for row in database.rows("SELECT * FROM audit")])
    assert [e.target.id for e in audit.search(ROOT, verb="refused a log-in of")] == ["unknown", "ann"]
