"""Freed blocks go back to the system where a run asked for less memory."""

from __future__ import annotations

import subprocess
import sys

# Frees large blocks between small ones that live on, as a backward pass with adapters does.
_SCRIPT = """
import sys
from pathlib import Path
from studio.training.engines.allocator import return_large_blocks

def resident():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line)
    return int(line.split()[1]) // 1024

if sys.argv[1] == "returned":
    assert return_large_blocks()
bytearray(b"x") * (30 << 20)  # Its end raises the size from which glibc asks the system.
large, small = [], []
before = resident()
for place in range(60):
    large.append(bytearray(b"x") * (2 << 20))
    small.append(bytearray(b"x") * 5000)
large.clear()
print(resident() - before)
"""


def left(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", _SCRIPT, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_large_blocks_go_back() -> None:
    assert left("returned") < 20
    assert left("kept") > 80
