"""Telemetry and usage: what the trainer writes about the machine, and who reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from studio.core import read_json, write_json
from studio.training import Stage, parse_recipe
from studio.training.engines import usage
from studio.training.memory import read_usage
from studio.training.task import TrainTask
from studio.training.telemetry import (
    TELEMETRY,
    GpuSample,
    Sample,
    Sampler,
    TelemetryWriter,
    read_telemetry,
)


def sample(at: float, run_memory: int = 10) -> Sample:
    gpu = GpuSample(0, 55.0, 1, 2, None, 80.5)
    return Sample(at, 12.5, 100, 200, run_memory, 5, 9, (gpu,))


def test_samples_are_read_back_from_a_cursor(tmp_path: Path) -> None:
    path = tmp_path / TELEMETRY
    assert read_telemetry(path, "run").samples == ()
    writer = TelemetryWriter(path)
    for at in range(3):
        writer.append(sample(at))
    first = read_telemetry(path, "run")
    assert first.samples == tuple(sample(at) for at in range(3))
    writer.append(sample(3))
    second = read_telemetry(path, "run", first.cursor)
    assert second.samples == (sample(3),)
    assert read_telemetry(path, "run", second.cursor).samples == ()
    # A cursor of a longer file that is gone: from the start.
    assert len(read_telemetry(path, "run", 10**9).samples) == 4
    writer.close()


def test_a_half_written_line_waits_and_a_broken_one_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / TELEMETRY
    writer = TelemetryWriter(path)
    writer.append(sample(1))
    with path.open("ab") as handle:
        handle.write(b'{"at": 2, "cpu_per')
    chunk = read_telemetry(path, "run")
    assert chunk.samples == (sample(1),)
    writer.close()
    again = TelemetryWriter(path)
    again.append(sample(5))
    again.close()
    assert read_telemetry(path, "run", chunk.cursor).samples == (sample(5),)


def test_many_samples_are_thinned_and_the_newest_stays(tmp_path: Path) -> None:
    path = tmp_path / TELEMETRY
    writer = TelemetryWriter(path)
    for at in range(1000):
        writer.append(sample(at))
    writer.close()
    found = read_telemetry(path, "run", most=100).samples
    assert len(found) == 100
    assert found[-1].at == 999


def test_a_sample_tells_of_this_machine(tmp_path: Path) -> None:
    sampler = Sampler(tmp_path)
    taken = sampler.take(1.0, 42)
    sampler.close()
    assert 0 < taken.memory_used < taken.memory_total
    assert 0 < taken.disk_free <= taken.disk_total
    assert 0 <= taken.cpu_percent <= 100
    assert taken.run_memory == 42


@pytest.fixture
def task(tmp_path: Path) -> TrainTask:
    recipe = parse_recipe(Stage.SFT, "model: m\ndataset: d\n")
    return TrainTask("run_1", recipe, tmp_path, tmp_path, None, tmp_path, tmp_path)


def test_a_watched_block_leaves_its_peak_and_its_telemetry(
    task: TrainTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "EVERY_SECONDS", 0.02)
    before = usage.ProcessTree(usage.psutil.Process()).memory()
    with pytest.raises(ValueError, match="diverged"), usage.watch(task):
        held = b"x" * (64 << 20)
        del held
        raise ValueError("diverged")
    found = read_usage(task.usage)
    assert found is not None
    # The peak is the kernel's, so what came and went between two looks is in it.
    assert found.peak_memory_bytes >= before + (60 << 20)
    assert found.attempt_peak_bytes == found.peak_memory_bytes
    assert found.memory_total_bytes > found.lowest_available_bytes > 0
    assert read_telemetry(task.directory / TELEMETRY, "run_1").samples


def test_the_peak_of_an_earlier_attempt_stays(task: TrainTask) -> None:
    write_json(task.usage, {"peak_memory_bytes": 10**15, "peak_cuda_bytes": 7})
    with usage.watch(task):
        pass
    found = read_usage(task.usage)
    assert found is not None
    assert (found.peak_memory_bytes, found.peak_cuda_bytes) == (10**15, 7)
    assert found.attempt_peak_bytes < 10**15


def test_only_the_first_of_several_processes_writes(task: TrainTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with usage.watch(task):
        pass
    assert read_json(task.usage) is None


def test_the_memory_of_child_processes_counts(task: TrainTask) -> None:
    script = "held = b'x' * (80 << 20); print('ready', flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdin is not None
    child.stdout.readline()
    tree = usage.ProcessTree(usage.psutil.Process())
    alone = tree.peak()
    tree.refresh()
    together = tree.peak()
    child.communicate("\n")
    assert together - alone > 80 << 20


def test_the_outermost_process_of_a_job_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usage._outermost().pid == os.getpid()
    script = (
        "from studio.training.engines import usage; import os; print(os.getpid(), usage._outermost().pid)"
    )
    wrapper = (
        f"import subprocess, sys, os; print(os.getpid()); subprocess.run([sys.executable, '-c', {script!r}])"
    )
    environment = {**os.environ, "STUDIO_JOB_TOKEN": "abc", "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        [sys.executable, "-c", wrapper], env=environment, capture_output=True, text=True, check=True
    )
    outer, line = done.stdout.splitlines()
    inner, found = line.split()
    assert found == outer != inner
