"""Recognising processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from studio.jobs.identity import TOKEN_VARIABLE, from_record, identify, members, signal_members


def marked(token: str, group: int = 0) -> subprocess.Popen:
    """A process with a token, once the system shows its environment: a moment after it was started."""
    process = subprocess.Popen(["sleep", "60"], process_group=group, env={TOKEN_VARIABLE: token})
    deadline = time.monotonic() + 10
    while not Path(f"/proc/{process.pid}/environ").read_bytes() and time.monotonic() < deadline:
        time.sleep(0.001)
    return process


@pytest.fixture
def sleeper():
    process = marked("abc")
    yield process
    process.kill()
    process.wait()


def test_this_process_is_alive_and_survives_a_round_trip():
    me = identify(os.getpid())
    assert me.alive
    assert from_record(me.record()) == me


def test_another_start_or_another_boot_is_another_process():
    me = identify(os.getpid())
    assert not replace(me, start_ticks=me.start_ticks + 1).alive
    assert not replace(me, boot_id="before").alive


def test_a_zombie_holds_its_number_but_is_not_alive(sleeper: subprocess.Popen):
    it = identify(sleeper.pid)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert (it.alive, it.holds_number) == (False, True)
    assert members(it, "abc") == ()
    sleeper.wait()
    assert (it.alive, it.holds_number) == (False, False)


@pytest.mark.parametrize("record", [None, {}, {"pid": "x", "start_ticks": 1, "boot_id": ""}, {"pid": 1}])
def test_a_damaged_record_is_nobody(record):
    assert from_record(record) is None


def test_nobody_has_no_identity():
    assert identify(2**22 + 1) is None


def test_a_strange_command_name(tmp_path: Path):
    command = tmp_path / "a) Z 1 (b"
    shutil.copy(shutil.which("sleep"), command)
    with subprocess.Popen([command, "60"]) as process:
        assert identify(process.pid).alive
        process.kill()


def test_members_carry_the_token_or_stand_in_the_leaders_group(sleeper: subprocess.Popen):
    it = identify(sleeper.pid)
    unmarked = subprocess.Popen(["sleep", "60"], process_group=sleeper.pid, env={})
    both = tuple(sorted((sleeper.pid, unmarked.pid)))
    assert members(it, "other") == both
    assert members(None, "abc") == both
    assert members(None, "ab") == ()
    assert members(replace(it, start_ticks=1), "other") == ()
    assert signal_members(replace(it, start_ticks=1), "other", signal.SIGKILL) == 0
    assert signal_members(it, "other", signal.SIGKILL) == 2
    assert unmarked.wait(5) == sleeper.wait(5) == -signal.SIGKILL


def test_a_group_that_a_marked_process_joined_is_not_the_jobs():
    with subprocess.Popen(["sleep", "60"], process_group=0, env={}) as stranger:
        guest = marked("guest", stranger.pid)
        try:
            assert members(None, "guest") == (guest.pid,)
        finally:
            for process in (guest, stranger):
                process.kill()
            guest.wait()
