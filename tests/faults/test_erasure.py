"""Erasing is broken off by kill -9 at every joint, and done again: it ends as if nothing had happened."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from studio.core import Settings
from studio.studio import open_studio
from tests.unit.api.conftest import with_cheap_passwords
from tests.unit.erasing import ADA, NAME, busy_home, check_erased

pytestmark = pytest.mark.faults

# A studio that dies as soon as one step of the erasure has done its work.
DOOMED = """
import os, signal, sys
from pathlib import Path
from studio.core import Actor, Role, Settings
from studio.studio import open_studio
home = Path(sys.argv[1])
studio = open_studio(Settings(_env_file=None, home=home, embedded_model=False, sample_data=False))
*path, step = sys.argv[2].split(".")
owner = studio
for part in path:
    owner = getattr(owner, part)
done = getattr(owner, step)
def die(*given, **named):
    done(*given, **named)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, step, die)
studio.erase(Actor("ada", Role.ADMIN), "zacharias")
"""

STEPS = (
    "accounts.disable",
    "access.pseudonymise",
    "datasets.pseudonymise",
    "training.pseudonymise",
    "serving.pseudonymise",
    "arena.pseudonymise",
    "annotation.store.pseudonymise",
    "lineage.mark",
)


@pytest.mark.parametrize("step", STEPS)
def test_it_can_be_taken_up_wherever_it_was_broken_off(
    step: str, settings: Settings, tiny_model: Path
) -> None:
    first = open_studio(settings)
    ids = busy_home(with_cheap_passwords(first), tiny_model)
    first.close()
    died = subprocess.run(
        [sys.executable, "-c", DOOMED, str(settings.home), step], capture_output=True, text=True, check=False
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    again = open_studio(settings)
    try:
        expected = again.accounts.pseudonym(ADA, NAME)
        pseudonym = again.erase(ADA, NAME)
        assert pseudonym == expected
        check_erased(again, ids, pseudonym)
    finally:
        again.close()


def test_once_the_account_is_gone_all_is_done(settings: Settings, tiny_model: Path) -> None:
    first = open_studio(settings)
    ids = busy_home(with_cheap_passwords(first), tiny_model)
    pseudonym = first.accounts.pseudonym(ADA, NAME)
    first.close()
    died = subprocess.run(
        [sys.executable, "-c", DOOMED, str(settings.home), "accounts.erase"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    again = open_studio(settings)
    try:
        check_erased(again, ids, pseudonym)
    finally:
        again.close()
