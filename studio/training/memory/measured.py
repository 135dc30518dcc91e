"""What a run was measured to use: its peak memory and how the machine stood, from ``usage.json``.

The trainer writes the file while it works (``engines.usage``), so it is there even after the kernel
killed it. Resident memory counts a page that several processes share once for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core import read_json


@dataclass(frozen=True)
class Usage:
    """Peaks over all attempts of a run, and the last attempt's own figures; bytes.

    ``attempt_peak_bytes`` and ``lowest_available_bytes`` are of the last attempt.
    ``oom_kills_before`` is the kernel's count of processes that it killed for memory when the attempt
    began.
    """

    peak_memory_bytes: int
    peak_cuda_bytes: int
    attempt_peak_bytes: int
    memory_total_bytes: int
    lowest_available_bytes: int
    oom_kills_before: int

    @property
    def nearly_full(self) -> bool:
        """Whether the machine's memory was nearly used up when it was last seen lowest."""
        return self.memory_total_bytes > 0 and self.lowest_available_bytes < 0.06 * self.memory_total_bytes


def read_usage(path: Path) -> Usage | None:
    """What ``usage.json`` says, or None where there is none."""
    value = read_json(path)
    return usage_of(value) if isinstance(value, dict) else None


def usage_of(values: Mapping[str, Any]) -> Usage:
    """The usage in a mapping that was read from a file; what an older trainer did not write is 0."""
    return Usage(**{name: _whole(values.get(name)) for name in Usage.__dataclass_fields__})


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
