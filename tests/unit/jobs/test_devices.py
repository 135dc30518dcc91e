"""Which GPUs there are, told by made-up machines; and memory, told by this one."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from studio.jobs.devices import Devices, Gpu, _left_in_container, free_memory, read_gpus, visible

GPUS = tuple(Gpu(n, f"GPU-{n}{n}ab", "A card", 100, free) for n, free in enumerate((10, 70, 40)))


def machine(setting: str = "") -> Devices:
    return Devices(setting, read=lambda: GPUS)


@pytest.mark.parametrize(
    ("mask", "left"),
    [
        (None, (0, 1, 2)),
        ("", ()),
        ("2,0", (2, 0)),
        ("1,1", (1,)),
        ("GPU-22,1", (2, 1)),
        ("0,9,1", (0,)),
        ("-1", ()),
    ],
)
def test_the_studios_own_mask_is_kept(mask: str | None, left: tuple[int, ...]):
    assert visible(GPUS, mask) == left


def test_settings(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert machine().all() == (0, 1, 2)
    assert machine("none").all() == ()
    assert machine("2,5").all() == (2, 5)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert machine().all() == (1,)


def test_the_machine_is_asked_once_and_not_before_somebody_wants_to_know(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    asked: list[int] = []

    def read() -> tuple[Gpu, ...]:
        asked.append(1)
        return ()

    devices = Devices(read=read)
    assert not asked
    assert devices.all() == devices.all() == ()
    assert len(asked) == 1


def test_the_emptiest_devices_come_first():
    assert machine().emptiest((0, 1, 2)) == (1, 2, 0)
    assert machine().emptiest(iter((2, 0))) == (2, 0)
    # Of one that the library does not know, nothing is free.
    assert machine().emptiest((5, 0)) == (0, 5)


def test_what_a_job_sees():
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert machine().environment((2, 0)) == {"CUDA_VISIBLE_DEVICES": "2,0", **order}
    # A job on the CPU of a machine with GPUs must not find one that belongs to another.
    assert machine().environment(()) == {"CUDA_VISIBLE_DEVICES": "", **order}
    assert machine("none").environment(()) == {"CUDA_VISIBLE_DEVICES": "", **order}
    assert Devices(read=lambda: ()).environment(()) == {}


def test_reading_this_machine_does_not_fail():
    assert all(0 <= gpu.free_bytes <= gpu.total_bytes for gpu in read_gpus())


def test_free_memory_is_the_machines_or_the_containers(tmp_path: Path):
    assert 0 < free_memory() <= psutil.virtual_memory().total
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 50\n")
    assert _left_in_container(tmp_path) == 350
    (tmp_path / "memory.max").write_text("max\n")
    assert _left_in_container(tmp_path) > 1 << 60
    assert _left_in_container(tmp_path / "none") > 1 << 60
