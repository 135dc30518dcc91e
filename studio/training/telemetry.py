"""What a machine does while a run trains: ``telemetry.jsonl`` in the run's folder, a line every two seconds.

The trainer writes it from a thread of its own (``engines.usage``) and anyone reads it by byte offset, as the
metrics. A resumed run appends to the file, so it tells the hours of every attempt, with gaps between
them. The reader takes no lock; a line that is still being written is left for the next time, and one
that a crash cut short is passed over.

A GPU is asked through nvidia-ml-py, and what it does not tell is None. That part is unproven on GPUs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

TELEMETRY = "telemetry.jsonl"
#: How often a sample is taken, in seconds.
EVERY_SECONDS = 2.0
#: The most that one call reads; the reader asks again for more.
_READ_BYTES = 4 << 20


@dataclass(frozen=True)
class GpuSample:
    """One GPU at one moment: use in percent, memory in bytes, degrees Celsius, watts."""

    index: int
    use_percent: float | None
    memory_used: int
    memory_total: int
    temperature: float | None
    power_watts: float | None


@dataclass(frozen=True)
class Sample:
    """The machine at one moment: seconds since the epoch, percent of all cores, and bytes.

    ``run_memory`` is the resident memory of the run's processes together; ``disk_free`` is what is left on
    the disk that the run writes to.
    """

    at: float
    cpu_percent: float
    memory_used: int
    memory_total: int
    run_memory: int
    disk_free: int
    disk_total: int
    gpus: tuple[GpuSample, ...] = ()


@dataclass(frozen=True)
class TelemetryChunk:
    """Samples of a run after a cursor, oldest first; ask again with ``cursor``."""

    run_id: str
    cursor: int
    samples: tuple[Sample, ...]


class Sampler:
    """Takes samples; ``folder`` is where the run writes. The first CPU figure counts from its making."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._gpus = _Gpus()
        psutil.cpu_percent()

    def take(self, at: float, run_memory: int) -> Sample:
        """The machine as it stands; ``at`` is now, ``run_memory`` what the run's processes hold."""
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(str(self._folder))
        return Sample(
            at=round(at, 2),
            cpu_percent=psutil.cpu_percent(),
            memory_used=int(memory.total - memory.available),
            memory_total=int(memory.total),
            run_memory=run_memory,
            disk_free=int(disk.free),
            disk_total=int(disk.total),
            gpus=self._gpus.samples(),
        )

    def close(self) -> None:
        """Let go of the GPUs."""
        self._gpus.close()


class TelemetryWriter:
    """Appends samples to a file, each with one write, so that no reader sees two halves mixed."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        # What a crash left half written must not swallow the first line of this attempt.
        if os.fstat(self._descriptor).st_size:
            os.write(self._descriptor, b"\n")

    def append(self, sample: Sample) -> None:
        """Write one sample; telemetry is not synced, as nothing depends on it."""
        os.write(self._descriptor, json.dumps(asdict(sample)).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def read_telemetry(path: Path, run_id: str, cursor: int = 0, most: int = 0) -> TelemetryChunk:
    """The samples after ``cursor`` (a byte offset that an earlier call gave; 0: from the start).

    With ``most`` at most about so many come back, evenly spread, the newest among them.
    """
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        return TelemetryChunk(run_id, 0, ())
    with handle:
        end = handle.seek(0, os.SEEK_END)
        start = cursor if 0 <= cursor <= end else 0
        handle.seek(start)
        data = handle.read(_READ_BYTES)
    used = data.rfind(b"\n") + 1
    lines = data[:used].split(b"\n")[:-1]
    return TelemetryChunk(run_id, start + used, tuple(_parsed(_spread(lines, most))))


def _spread(lines: list[bytes], most: int) -> list[bytes]:
    step = -(-len(lines) // most) if most > 0 else 1
    return lines[::-1][:: max(step, 1)][::-1]


def _parsed(lines: Iterable[bytes]) -> list[Sample]:
    found = []
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):
            values: dict[str, Any] = json.loads(line)
            gpus = tuple(GpuSample(**gpu) for gpu in values.pop("gpus", ()))
            found.append(Sample(**values, gpus=gpus))
    return found


class _Gpus:
    """The GPUs that this process may see; none where there is no driver."""

    def __init__(self) -> None:
        import pynvml

        self._handles: list[tuple[int, Any]] = []
        try:
            pynvml.nvmlInit()
            self._handles = [(index, pynvml.nvmlDeviceGetHandleByIndex(index)) for index in _visible(pynvml)]
        except pynvml.NVMLError:
            self._handles = []

    def samples(self) -> tuple[GpuSample, ...]:
        import pynvml

        found = []
        for index, handle in self._handles:
            with suppress(pynvml.NVMLError):
                found.append(_gpu(pynvml, index, handle))
        return tuple(found)

    def close(self) -> None:
        import pynvml

        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _visible(library: Any) -> list[int]:
    """The indices in CUDA_VISIBLE_DEVICES, as far as they are numbers, or all."""
    count = int(library.nvmlDeviceGetCount())
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return list(range(count))
    return [int(part) for part in named.split(",") if part.strip().isdigit() and int(part) < count]


def _gpu(library: Any, index: int, handle: Any) -> GpuSample:
    memory = library.nvmlDeviceGetMemoryInfo(handle)
    return GpuSample(
        index=index,
        use_percent=_asked(library, lambda: float(library.nvmlDeviceGetUtilizationRates(handle).gpu)),
        memory_used=int(memory.used),
        memory_total=int(memory.total),
        temperature=_asked(
            library, lambda: float(library.nvmlDeviceGetTemperature(handle, library.NVML_TEMPERATURE_GPU))
        ),
        power_watts=_asked(library, lambda: library.nvmlDeviceGetPowerUsage(handle) / 1000),
    )


def _asked(library: Any, ask: Any) -> float | None:
    # Some GPUs do not tell their power, some no temperature.
    try:
        return float(ask())
    except library.NVMLError:
        return None
