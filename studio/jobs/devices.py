"""The GPUs that jobs may have, by NVIDIA's management library, and how much memory is free.

The index of a device is its number in PCI order, which is how the library counts; CUDA counts otherwise
unless it is told to, so a job gets both variables (``environment``). The library is asked for the first
time when a job wants a device, never when the studio starts.

It knows NVIDIA's devices only; on a machine with others jobs share its CPU slots. What is said here about
GPUs is tested with made-up ones: no machine with a GPU was at hand.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_LOG = logging.getLogger(__name__)

#: The setting that keeps every job off the GPUs.
NONE = "none"

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Gpu:
    """One device; ``uuid`` is how NVIDIA names it, memory is in bytes."""

    index: int
    uuid: str
    name: str
    total_bytes: int
    free_bytes: int


class Devices:
    """The devices that one studio may give to its jobs.

    Args:
        setting: Empty for every device that is found, ``none``, or their indices (``0,1``). Indices
            are believed even where the library does not answer.
        read: Lists the machine's devices as they are now.
    """

    def __init__(self, setting: str = "", read: Callable[[], tuple[Gpu, ...]] | None = None) -> None:
        self._setting = setting.strip()
        self._read = read or read_gpus
        self._all: tuple[int, ...] | None = None

    def all(self) -> tuple[int, ...]:
        """The indices of the devices that jobs may have; found once."""
        if self._all is None:
            self._all = self._find()
        return self._all

    def emptiest(self, among: Iterable[int]) -> tuple[int, ...]:
        """``among``, those with the most free memory first."""
        wanted = tuple(among)
        if len(wanted) < 2:
            return wanted
        free = {gpu.index: gpu.free_bytes for gpu in self._read()}
        return tuple(sorted(wanted, key=lambda index: (-free.get(index, 0), index)))

    def memory(self) -> dict[int, Gpu]:
        """The devices that jobs may have and that the library tells of, by index."""
        return {gpu.index: gpu for gpu in self._read() if gpu.index in self.all()}

    def environment(self, given: tuple[int, ...]) -> dict[str, str]:
        """What a training job finds in its environment, so that it sees no devices but those ``given``."""
        if not given and self._setting != NONE and not self.all():
            return {}  # Whatever else there is (another maker's device) is the operator's affair.
        shown = ",".join(str(index) for index in given)
        return {"CUDA_VISIBLE_DEVICES": shown, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}

    def _find(self) -> tuple[int, ...]:
        if self._setting == NONE:
            return ()
        if self._setting:
            return tuple(int(part) for part in self._setting.split(","))
        return visible(self._read(), os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(gpus: tuple[Gpu, ...], mask: str | None) -> tuple[int, ...]:
    """The indices of ``gpus`` that the studio's own ``CUDA_VISIBLE_DEVICES`` leaves, if it has one.

    An index, a UUID or the beginning of one may stand there; as in CUDA, what comes after the first
    entry that means nothing is left out.
    """
    if mask is None:
        return tuple(gpu.index for gpu in gpus)
    left: list[int] = []
    for entry in (part.strip() for part in mask.split(",")):
        meant = [
            gpu.index for gpu in gpus if entry == str(gpu.index) or (entry and gpu.uuid.startswith(entry))
        ]
        if not meant:
            break
        left += meant[:1]
    return tuple(dict.fromkeys(left))


def read_gpus() -> tuple[Gpu, ...]:
    """The machine's NVIDIA devices as they are now; none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError as error:
        _LOG.warning("the GPUs could not be read: %s", error)
        return ()
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def free_memory() -> int:
    """Bytes of main memory that a new process can have: the machine's, or its container's if that is less."""
    return min(int(psutil.virtual_memory().available), _left_in_container(_CGROUP))


def _gpu(library: Any, index: int) -> Gpu:
    handle = library.nvmlDeviceGetHandleByIndex(index)
    memory = library.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(
        index,
        str(library.nvmlDeviceGetUUID(handle)),
        str(library.nvmlDeviceGetName(handle)),
        int(memory.total),
        int(memory.free),
    )


def _left_in_container(root: Path) -> int:
    """What the limit of a cgroup (version 2) leaves; its page cache counts as free."""
    try:
        limit = int((root / "memory.max").read_text())
        used = int((root / "memory.current").read_text())
        lines = (root / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # No such file, or "max": no limit.
        return 1 << 62
    cached = next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
    return max(0, limit - used + cached)
