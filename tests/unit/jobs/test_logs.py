"""Logs by byte offset."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.core import LOCAL_ADMIN, InvalidInput
from studio.jobs import JobService, LogChunk
from studio.jobs.logs import last_lines, read_log
from tests.unit.jobs.conftest import spec


def test_a_log_read_piece_by_piece_is_the_log(service: JobService):
    job = service.submit(LOCAL_ADMIN, spec("speak"))
    service.wait(LOCAL_ADMIN, job.id, 20)
    whole = "äöü€\n" * 3 + "\ufffd\n"
    assert service.log(LOCAL_ADMIN, job.id) == LogChunk(whole, 32)
    for limit in (4, 5, 7):
        text, offset = "", 0
        while chunk := service.log(LOCAL_ADMIN, job.id, offset, limit):
            if not chunk.text:
                break
            text, offset = text + chunk.text, chunk.offset
        assert text == whole


def test_the_end_of_a_log(tmp_path: Path):
    path = tmp_path / "log.txt"
    path.write_text("one\nzwei €")
    assert read_log(path, -2, 100) == LogChunk("", 12)
    assert read_log(path, -4, 100) == LogChunk(" €", 12)
    assert read_log(path, -1000, 100) == LogChunk("one\nzwei €", 12)
    assert read_log(path, 500, 100) == LogChunk("", 12)


def test_a_character_that_is_half_written_waits(tmp_path: Path):
    path = tmp_path / "log.txt"
    path.write_bytes(b"a\xe2\x82")
    assert read_log(path, 0, 100) == LogChunk("a", 1)
    path.write_bytes("a€".encode())
    assert read_log(path, 1, 100) == LogChunk("€", 4)


def test_no_log_yet(service: JobService, tmp_path: Path):
    assert read_log(tmp_path / "none", -10, 10) == LogChunk("", 0)
    job = service.submit(LOCAL_ADMIN, spec("succeed"))
    assert service.log(LOCAL_ADMIN, job.id) == LogChunk("", 0)


@pytest.mark.parametrize("limit", [0, -1, 1 << 21])
def test_a_limit_must_make_sense(service: JobService, limit: int):
    job = service.submit(LOCAL_ADMIN, spec("succeed"))
    with pytest.raises(InvalidInput):
        service.log(LOCAL_ADMIN, job.id, 0, limit)


def test_last_lines_are_few_and_short(tmp_path: Path):
    path = tmp_path / "log.txt"
    path.write_text("".join(f"line {n}\n\n" for n in range(1000)))
    assert last_lines(path).splitlines() == [f"line {n}" for n in range(994, 1000)]
    path.write_text("x" * 100_000)
    assert len(last_lines(path)) == 1000
