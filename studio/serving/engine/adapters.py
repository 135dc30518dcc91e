"""LoRA adapters, applied row by row: each row of a batch has its own adapter or none.

Plain peft runs each adapter's rows through each layer apart. Here the adapters of a batch are laid side
by side into one narrow matrix: ``h = x @ [A1 | A2]``, then every row keeps the columns of its own
adapter (a mask of zeros and ones), then ``out += h @ [B1; B2]``. Layers that read the same input (q, k
and v; gate and up) share the first product. So a layer costs two small products however many adapters
the batch has.

The invariant: a row's result does not depend on the other rows' adapters, except by rounding. A masked
column adds exactly zero as long as it is finite; that is why an adapter with NaN or infinity is
refused. It knows plain LoRA on linear layers; DoRA, trained biases and whole trained modules are
refused by name.
"""

from __future__ import annotations

import json
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from studio.serving.engine.errors import Refusal

_PREFIX = "base_model.model."
#: Siblings that read the same input in every architecture that names them so.
_SHARED_INPUT = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


@dataclass(frozen=True, eq=False)
class Adapter:
    """An adapter in memory: for each layer its ``down`` (r, in) and ``up`` (out, r), scaling included."""

    id: str
    path: Path
    layers: dict[str, tuple[Tensor, Tensor]]


class AdapterBank:
    """Loads adapters and routes the rows of the next forward pass to them.

    ``load`` and ``unload`` may be called from any thread. ``route`` belongs to the thread that decodes.
    An adapter that is dropped while rows use it goes on for those rows.
    """

    def __init__(self, model: nn.Module, most: int = 64) -> None:
        self._model = model
        self._most = most
        self._lock = threading.Lock()
        self._adapters: OrderedDict[str, Adapter] = OrderedDict()
        self._linear = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}
        self._sites: dict[str, _Site] = {}
        self._stacked: tuple[Adapter, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The loaded adapters."""
        with self._lock:
            return tuple(self._adapters)

    def get(self, adapter_id: str) -> Adapter:
        """The adapter with that id.

        Raises:
            Refusal: It is not loaded.
        """
        with self._lock:
            if adapter_id not in self._adapters:
                raise Refusal(
                    404, "unknown_adapter", f"No adapter {adapter_id!r} is loaded.", "Load it first."
                )
            self._adapters.move_to_end(adapter_id)
            return self._adapters[adapter_id]

    def load(self, adapter_id: str, path: Path) -> None:
        """Read an adapter; the same id and path again is free. The least recently used one makes room.

        Raises:
            Refusal: It cannot be applied to this base.
        """
        with self._lock:
            known = self._adapters.get(adapter_id)
            if known is not None and known.path == path:
                self._adapters.move_to_end(adapter_id)
                return
        adapter = Adapter(adapter_id, path, self._read(path))
        with self._lock:
            self._adapters[adapter_id] = adapter
            self._adapters.move_to_end(adapter_id)
            while len(self._adapters) > self._most:
                self._adapters.popitem(last=False)

    def unload(self, adapter_id: str) -> None:
        """Forget an adapter; rows that use it go on."""
        with self._lock:
            self._adapters.pop(adapter_id, None)

    def route(self, rows: Sequence[Adapter | None]) -> None:
        """Apply these adapters to the rows of the forward passes that follow."""
        used = tuple(dict.fromkeys(a for a in rows if a is not None))
        if used != self._stacked:
            self._stack(used)
        for site in self._sites.values():
            site.mask_rows(rows, used)

    def forget_inputs(self) -> None:
        """Let go of the activations that were kept to be shared."""
        for site in self._sites.values():
            site.forget()

    def _stack(self, used: tuple[Adapter, ...]) -> None:
        for name in {layer for adapter in used for layer in adapter.layers}:
            self._wrap(name)
        for site in self._sites.values():
            site.stack(used)
        self._stacked = used

    def _wrap(self, name: str) -> None:
        """Put a layer that adds adapters in the place of a linear layer."""
        if name in self._sites:
            return
        parent_name, _, leaf = name.rpartition(".")
        parent = self._model.get_submodule(parent_name)
        siblings = next((group for group in _SHARED_INPUT if leaf in group), (leaf,))
        names = [f"{parent_name}.{s}" for s in siblings if f"{parent_name}.{s}" in self._linear]
        site = _Site(names)
        for sibling in names:
            wrapped = AdaptedLinear(self._linear[sibling], site, sibling)
            setattr(parent, sibling.rpartition(".")[2], wrapped)
            self._sites[sibling] = site

    def _read(self, path: Path) -> dict[str, tuple[Tensor, Tensor]]:
        try:
            config = json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))
            tensors = load_file(path / "adapter_model.safetensors")
        except (OSError, ValueError) as error:
            raise Refusal(
                422, "bad_adapter", f"The adapter in {path} cannot be read: {error}", "Check the folder."
            ) from error
        _check_config(path, config)
        names = {key.removeprefix(_PREFIX).split(".lora_")[0] for key in tensors}
        layers = {name: self._layer(path, name, tensors, config) for name in names}
        if len(tensors) != 2 * len(layers):
            raise _cannot(path, "holds weights other than LoRA matrices")
        return layers

    def _layer(
        self, path: Path, name: str, tensors: dict[str, Tensor], config: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        linear = self._linear.get(name)
        down = tensors.get(f"{_PREFIX}{name}.lora_A.weight")
        up = tensors.get(f"{_PREFIX}{name}.lora_B.weight")
        if linear is None or down is None or up is None:
            raise _cannot(path, f"changes {name}, which is not a linear layer of this base")
        rank = down.shape[0]
        if down.shape != (rank, linear.in_features) or up.shape != (linear.out_features, rank):
            raise _cannot(path, f"has the wrong shape at {name}: it belongs to another base")
        if not (torch.isfinite(down).all() and torch.isfinite(up).all()):
            raise _cannot(path, f"holds NaN or infinity at {name}: its training diverged")
        scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
        weight = linear.weight
        scaled = up.to(torch.float32) * scale
        return down.to(weight.device, weight.dtype), scaled.to(weight.device, weight.dtype)


class _Site:
    """The adapters of the layers that read one input, laid side by side for the batch at hand.

    Columns stand layer by layer, and within a layer adapter by adapter, so that a layer's part is contiguous.
    """

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._down: Tensor | None = None
        self._owners: list[Adapter] = []
        self._widths: list[int] = []
        self._mask: Tensor | None = None
        self._input: Tensor | None = None
        self._product: Tensor | None = None
        self._parts: dict[str, tuple[int, int, Tensor]] = {}

    def stack(self, used: tuple[Adapter, ...]) -> None:
        self._owners, self._widths, self._parts = [], [], {}
        downs: list[Tensor] = []
        for name in self._names:
            pairs = [(a, *a.layers[name]) for a in used if name in a.layers]
            begin = sum(self._widths)
            for adapter, down, _ in pairs:
                self._owners.append(adapter)
                self._widths.append(down.shape[0])
                downs.append(down)
            if pairs:
                ups = torch.cat([up for _, _, up in pairs], dim=1)
                self._parts[name] = (begin, sum(self._widths), ups.t().contiguous())
        self._down = torch.cat(downs) if downs else None
        self._mask = None

    def mask_rows(self, rows: Sequence[Adapter | None], used: tuple[Adapter, ...]) -> None:
        self.forget()
        if self._down is None or (len(used) == 1 and None not in rows):
            self._mask = None  # every column belongs to every row
            return
        own = torch.tensor([[row is owner for owner in self._owners] for row in rows])
        widths = torch.tensor(self._widths)
        mask = own.repeat_interleave(widths, dim=1)
        self._mask = mask.to(self._down.device, self._down.dtype).unsqueeze(1)

    def add(self, name: str, x: Tensor, out: Tensor) -> Tensor:
        """``out`` with the adapters' share of layer ``name`` for input ``x`` (rows, length, in)."""
        part = self._parts.get(name)
        if part is None or self._down is None:
            return out
        if self._input is not x or self._product is None:
            product = functional.linear(x, self._down)
            self._product = product if self._mask is None else product * self._mask
            self._input = x
        begin, end, up = part
        narrow = self._product[..., begin:end].reshape(-1, end - begin)
        flat = out.view(-1, out.shape[-1])
        return torch.addmm(flat, narrow, up, out=flat).view_as(out)

    def forget(self) -> None:
        self._input = None
        self._product = None


class AdaptedLinear(nn.Module):  # type: ignore[misc]  # torch is not typed for us
    """A linear layer that adds what the batch's adapters say, with the weights of the one it replaces."""

    def __init__(self, linear: nn.Linear, site: _Site, name: str) -> None:
        super().__init__()
        self.weight = linear.weight
        self.bias = linear.bias
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self._site = site
        self._name = name

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (rows, length, in) to (rows, length, out)."""
        return self._site.add(self._name, x, functional.linear(x, self.weight, self.bias))


def _check_config(path: Path, config: dict[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise _cannot(path, f"is of the kind {config.get('peft_type')}, not LORA")
    for key, harmless in (("use_dora", False), ("lora_bias", False), ("bias", "none")):
        if config.get(key, harmless) not in (harmless, None):
            raise _cannot(path, f"was trained with {key}")
    for key in ("modules_to_save", "alpha_pattern", "rank_pattern", "fan_in_fan_out"):
        if config.get(key):
            raise _cannot(path, f"was trained with {key}")


def _cannot(path: Path, why: str) -> Refusal:
    return Refusal(
        422,
        "bad_adapter",
        f"The adapter in {path} {why}.",
        "Serve it merged into its base, or train it as a plain LoRA of this base.",
    )
