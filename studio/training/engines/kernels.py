"""The steps between a layer's matrix products in C (``kernels.c``), compiled when a run starts.

They are used for bfloat16 on the CPU where there is a C compiler; ``loaded`` is None elsewhere, and
torch's own steps do the same. Compiling takes under a second, nothing of it stays on the disk, and torch's
threads are used (its OpenMP library is in the process already, and a library is loaded once by its name).
"""

from __future__ import annotations

import ctypes
import functools
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch

_SOURCE = Path(__file__).with_name("kernels.c")
#: Sums in any order and no error numbers, so that loops become vector instructions; infinities and what is
#: no number keep their meaning, since a diverging run is told by them.
_FLAGS = (
    *("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC"),
    *(
        "-fno-math-errno",
        "-fno-trapping-math",
        "-fno-signed-zeros",
        "-fassociative-math",
        "-freciprocal-math",
    ),
)
#: Compilers hold wide vectors back; for the gates' loops they are worth a quarter (0.36 against 0.46 ms).
_WIDE = ("-mprefer-vector-width=512",) if platform.machine() == "x86_64" else ()
_SECONDS = 60


_TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "f": ctypes.c_float}
#: The arguments of each function of ``kernels.c``: pointer, whole number (``len`` or int), float.
_SIGNATURES = {
    "norm_forward": "ppfiipip",
    "norm_backward": "pppppiip",
    "gate_forward": "piipi",
    "gate_backward": "ppiipi",
    "take": "pppppiiiiippp",
    "give": "pppppppiiiiipi",
    "spread": "pppiiiip",
    "collect": "pppiiiipi",
    "probabilities": "pfiii",
    "probabilities_backward": "ppfiii",
    "score": "ppiiipp",
}


class Kernels:
    """The compiled functions; tensors are bfloat16 and contiguous unless said otherwise."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self._functions = {name: getattr(library, name) for name in _SIGNATURES}
        for name, letters in _SIGNATURES.items():
            self._functions[name].argtypes = [_TYPES[letter] for letter in letters]

    def norm_forward(
        self, x: torch.Tensor, weight: torch.Tensor, epsilon: float, room: int = 0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``x`` [..., size] over its root mean square, times ``weight``; and the float32 factors."""
        out, factor = roomy(x, x.shape, room), torch.empty(x.shape[:-1], dtype=torch.float32)
        sizes = factor.numel(), x.shape[-1]
        self._call("norm_forward", x, weight, epsilon, *sizes, out, out.stride(-2), factor)
        return out, factor

    def norm_backward(
        self,
        grad: torch.Tensor,
        beside: torch.Tensor | None,
        x: torch.Tensor,
        weight: torch.Tensor,
        factor: torch.Tensor,
    ) -> torch.Tensor:
        """The gradient of ``x``, to which ``beside`` is added."""
        out = torch.empty_like(x)
        self._call("norm_backward", grad, beside, x, weight, factor, factor.numel(), x.shape[-1], out)
        return out

    def gate_forward(self, both: torch.Tensor, room: int = 0) -> torch.Tensor:
        """``both`` [tokens, 2 * size] -> silu of its first half, times its second."""
        out = roomy(both, (len(both), both.shape[1] // 2), room)
        self._call("gate_forward", both, *out.shape, out, out.stride(0))
        return out

    def gate_backward(self, grad: torch.Tensor, both: torch.Tensor, room: int = 0) -> torch.Tensor:
        """The gradient of ``both``."""
        out = roomy(both, both.shape, room)
        self._call("gate_backward", grad, both, *grad.shape, out, out.stride(0))
        return out

    def run(self, name: str, *arguments: Any) -> None:
        """Call a function of ``kernels.c`` with tensors, whole numbers and floats in its order."""
        self._call(name, *arguments)

    def score(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        scores: torch.Tensor,
        best: torch.Tensor,
        keep: bool,
    ) -> None:
        """As ``head._softmax``.

        Raises:
            MemoryError: There is no room for one row of float32.
        """
        if not self._call("score", logits, targets, *logits.shape, int(keep), scores, best):
            raise MemoryError("Not enough memory to score one position.")

    def _call(self, name: str, *arguments: Any) -> int:
        values = [v.data_ptr() if isinstance(v, torch.Tensor) else v for v in arguments]
        return int(self._functions[name](*values))


def roomy(like: torch.Tensor, shape: Any, room: int) -> torch.Tensor:
    """An empty tensor of ``shape`` with ``room`` elements behind each of its rows."""
    *outer, size = shape
    return like.new_empty(*outer, size + room)[..., :size]


def with_room(x: torch.Tensor, room: int) -> torch.Tensor | None:
    """``x`` [tokens, size] and the room behind its rows as one; None if it was not made with that much."""
    wide = x.shape[1] + room
    if not room or x.stride() != (wide, 1):
        return None
    if x.untyped_storage().nbytes() < (x.storage_offset() + len(x) * wide) * x.element_size():
        return None
    # By .data, so that filling the room does not count as a change of x itself.
    return x.data.as_strided((len(x), wide), (wide, 1), x.storage_offset())


def usable(*tensors: torch.Tensor) -> Kernels | None:
    """The kernels, if there are any and they take these tensors."""
    kernels = loaded()
    if kernels is None:
        return None
    fit = all(t.dtype == torch.bfloat16 and t.device.type == "cpu" and t.is_contiguous() for t in tensors)
    return kernels if fit else None


@functools.cache
def loaded() -> Kernels | None:
    """The kernels of this process; None where they cannot be compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "kernels.so"
        command = [compiler, *_FLAGS, *_WIDE, str(_SOURCE), "-o", str(target), "-lm"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)
            return Kernels(target)
        except (OSError, subprocess.SubprocessError):
            return None
