"""Lets the C library give freed activations back, for runs that ask for less memory.

glibc keeps freed blocks in its heap, and small blocks that live on (a layer's gradients) are cut out of
them. With ``recompute: true`` the next layer's activations then find no block of their size any more, and
the heap grows by a layer's worth for every layer: 480 MB more than needed for 30 layers of 2,048 tokens.
Blocks above a fixed size come from the system instead and go back to it when they are freed. That costs
some percent of time, so it is done only where memory was asked to go first.
"""

from __future__ import annotations

import ctypes

#: glibc's number for the size from which blocks come from the system; setting it also ends its growing.
_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1 << 20


def return_large_blocks() -> bool:
    """Let freed blocks of 1 MiB and more go back to the system; False where the C library cannot."""
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES))
    except (AttributeError, OSError):
        return False
