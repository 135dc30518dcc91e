"""How much memory this machine has for a run: the CPU's, within the limit of our control group, or GPUs'.

What a process may use is the smaller of what the machine has free and what its control group (a
container's limit, of version 1 or 2) leaves. It is measured afresh each time. GPUs are asked through
nvidia-ml-py; that part is unproven on GPUs.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

from studio.training.memory.records import Device

_CGROUP = Path("/sys/fs/cgroup")
#: Files of a control group in version 2 and in version 1.
_LIMIT = ("memory.max", "memory.limit_in_bytes")
_USED = ("memory.current", "memory.usage_in_bytes")
_EVENTS = ("memory.events", "memory.oom_control")
_CACHE = ("inactive_file ", "total_inactive_file ")


def this_device(gpus: tuple[int, ...] | None = None) -> Device:
    """Where a run would train: on the given GPUs (None: any that there is), or on the CPU without one."""
    return _smallest_gpu(gpus) or _cpu()


def oom_kills(root: Path = _CGROUP) -> int:
    """How often the kernel has killed a process of our control group because its memory was used up.

    0 where nobody counts. Only a difference between two moments says anything.
    """
    for group in _groups(root):
        for name in _EVENTS:
            for line in _lines(group / name):
                if line.startswith("oom_kill ") and line.split()[1].isdigit():
                    return int(line.split()[1])
    return 0


def _cpu(root: Path = _CGROUP) -> Device:
    memory = psutil.virtual_memory()
    total, available = int(memory.total), int(memory.available)
    for group in _groups(root):
        limit = _figure(group, _LIMIT)
        if limit is not None and limit < memory.total:
            used = _figure(group, _USED) or 0
            total = min(total, limit)
            available = min(available, max(limit - used + _reclaimable(group), 0))
    return Device("cpu", total, available, "CPU")


def _groups(root: Path) -> tuple[Path, ...]:
    """Our control group and those around it, innermost first, wherever they are mounted."""
    found: list[Path] = []
    for line in _lines(Path("/proc/self/cgroup")):
        number, controllers, path = line.split(":", 2)
        if number == "0" or "memory" in controllers.split(","):
            top = root if number == "0" else root / "memory"
            inner = top / path.strip("/")
            found += [inner, *(outer for outer in inner.parents if outer.is_relative_to(top))]
    return tuple(path for path in found if path.is_dir())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _figure(group: Path, names: tuple[str, ...]) -> int | None:
    for name in names:
        lines = _lines(group / name)
        if lines and lines[0].strip().isdigit():
            return int(lines[0])
    return None


def _reclaimable(group: Path) -> int:
    """Bytes of files that the group's memory holds only as a cache."""
    for line in _lines(group / "memory.stat"):
        if line.startswith(_CACHE):
            with suppress(ValueError):
                return int(line.split()[1])
    return 0


def _smallest_gpu(gpus: tuple[int, ...] | None) -> Device | None:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        wanted = gpus if gpus else range(pynvml.nvmlDeviceGetCount())
        found = [_gpu(index) for index in wanted]
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()
    return min(found, key=lambda device: device.available, default=None)


def _gpu(index: int) -> Device:
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return Device("cuda", int(memory.total), int(memory.free), str(pynvml.nvmlDeviceGetName(handle)))
