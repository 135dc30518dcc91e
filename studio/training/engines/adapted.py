"""Frozen linear layers under LoRA, those with the same input together, as one step of the graph.

Queries, keys and values read the same input, and so do gate and up: their weights W are laid one under
another, their adapters' A matrices too, and their B matrices stand on the diagonal of one. All three lie in
one block of memory, of which the modules' weights become views, so nothing is held twice:

    W   B        forward   [x, x A'] [W, B]'  =  x W' + (x A') B'
    A   0        backward  [g, g B] [W; A]    =  g W  + (g B) A

so an adapter costs a few more columns of the layer's own product instead of a pass over its whole answer.
For that, x and g need room behind their rows for x A' and g B; who makes them is told how much (``room``).
Where it is not there, the adapter's part is added as a product of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear

from studio.training.engines.kernels import with_room


@dataclass(frozen=True)
class Adapter:
    """What one layer's adapter trains: ``down`` (A) [rank, in], ``up`` (B) [out, rank]."""

    down: torch.nn.Parameter
    up: torch.nn.Parameter
    scale: float


class _Block:
    """The block of memory [outputs + ranks, inputs + ranks] of a group of layers, and who trains in it."""

    def __init__(self, whole: torch.Tensor, bias: torch.Tensor | None, adapters: tuple[Adapter, ...]) -> None:
        self.whole, self.bias, self.adapters = whole, bias, adapters
        self.ranks = sum(len(adapter.down) for adapter in adapters)
        self.outputs, self.inputs = len(whole) - self.ranks, whole.shape[1] - self.ranks
        self.weight = whole[: self.outputs, : self.inputs]
        self.up = whole[: self.outputs, self.inputs :]
        self.down = whole[self.outputs :, : self.inputs]
        #: For the forward and for the backward product.
        self.beside, self.below = whole[: self.outputs].t(), whole[:, : self.inputs]
        self.places = tuple(_places(adapters))

    def refresh(self) -> None:
        """Take over the adapters as they stand."""
        for adapter, (rows, columns) in zip(self.adapters, self.places, strict=True):
            self.down[columns].copy_(adapter.down)
            torch.mul(adapter.up, adapter.scale, out=self.up[rows, columns])


def _places(adapters: tuple[Adapter, ...]) -> Iterator[tuple[slice, slice]]:
    """Which outputs and which ranks of the group are each adapter's."""
    row = column = 0
    for adapter in adapters:
        outputs, rank = adapter.up.shape
        yield slice(row, row + outputs), slice(column, column + rank)
        row, column = row + outputs, column + rank


class Projection:
    """Linear layers that read the same input, called as one; their answers stand beside each other."""

    def __init__(self, layers: list[Any]) -> None:
        self._layers = layers
        adapters = [found for layer in layers if (found := _adapter(layer))]
        alike = _alike(layers) and len(adapters) == len(layers)
        self._block = _joined(layers, tuple(adapters)) if alike else None
        self._trained = [matrix for adapter in adapters for matrix in (adapter.down, adapter.up)]

    @property
    def trained(self) -> list[torch.nn.Parameter]:
        """The adapters' matrices, if they are taken part by part with the layers; empty if not."""
        return self._trained if self._block else []

    @property
    def joined(self) -> bool:
        """Whether the layers are called as one."""
        return self._block is not None and not _resting(self._layers[0])

    def refresh(self) -> None:
        """Take over the adapters as they stand; to be called before a pass that uses them."""
        if self._block:
            with torch.no_grad():
                self._block.refresh()

    @property
    def room(self) -> int:
        """How much is wanted behind the rows of the input, and of the answer's gradient."""
        return self._block.ranks if self._block else 0

    def __call__(self, x: torch.Tensor, onto: torch.Tensor | None = None) -> torch.Tensor:
        """The answers [tokens, all outputs] to ``x`` [tokens, inputs], added to ``onto`` if it is given."""
        block = self._block
        if block is None or x.dtype != block.whole.dtype or not self.joined:
            parts = [layer(x) for layer in self._layers]
            answer = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
            return answer if onto is None else onto + answer
        found: torch.Tensor = _Adapted.apply(x, onto, block, *self._trained)
        return found


class _Adapted(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, onto: torch.Tensor | None, block: _Block, *_trained: torch.Tensor
    ) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            inner = torch.mm(x, block.down.t())
            wide = with_room(x, block.ranks)
            if wide is None:
                answer = _product(x, block.weight.t(), onto).addmm_(inner, block.up.t())
            else:
                wide[:, block.inputs :] = inner
                answer = _product(wide, block.beside, onto)
            if block.bias is not None:
                answer.add_(block.bias)
        ctx.save_for_backward(x, inner)
        ctx.block = block
        return answer

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        x, inner = ctx.saved_tensors
        block: _Block = ctx.block
        back = torch.mm(grad, block.up)
        wanted = _input_gradient(grad, back, block) if ctx.needs_input_grad[0] else None
        downs = torch.mm(back.t(), x).float()
        # This way round the large matrix needs no turning: 0.7 against 0.9 to 1.2 ms for 3,072 x 1,296.
        ups = torch.mm(inner.t(), grad).t()
        found: list[torch.Tensor] = []
        for adapter, (rows, columns) in zip(block.adapters, block.places, strict=True):
            part = torch.empty_like(adapter.up)
            found += downs[columns], part.copy_(ups[rows, columns]).mul_(adapter.scale)
        return wanted, grad if ctx.needs_input_grad[1] else None, None, *found


def _product(x: torch.Tensor, weight: torch.Tensor, onto: torch.Tensor | None) -> torch.Tensor:
    return torch.mm(x, weight) if onto is None else torch.addmm(onto, x, weight)


def _input_gradient(grad: torch.Tensor, back: torch.Tensor, block: _Block) -> torch.Tensor:
    wide = with_room(grad, block.ranks)
    if wide is None:
        return torch.mm(grad, block.weight).addmm_(back, block.down)
    wide[:, block.outputs :] = back
    return torch.mm(wide, block.below)


def _adapter(layer: Any) -> Adapter | None:
    """The one plain adapter of ``layer``; None where there is none, or more, or it does more."""
    if type(layer) is not LoraLinear or type(layer.base_layer) is not torch.nn.Linear:
        return None
    names = list(layer.lora_A)
    if len(names) != 1 or layer.lora_variant or layer.base_layer.weight.requires_grad:
        return None
    name = names[0]
    down, up = layer.lora_A[name], layer.lora_B[name]
    dropped = not isinstance(layer.lora_dropout[name], torch.nn.Identity)
    if dropped or up.bias is not None:
        return None
    return Adapter(down.weight, up.weight, float(layer.scaling[name]))


def _alike(layers: list[Any]) -> bool:
    bases = [getattr(layer, "base_layer", layer) for layer in layers]
    if not all(type(base) is torch.nn.Linear for base in bases):
        return False
    kinds = {(base.in_features, base.weight.dtype, base.weight.device, base.bias is None) for base in bases}
    return len(kinds) == 1


def _joined(layers: list[Any], adapters: tuple[Adapter, ...]) -> _Block:
    """The layers' weights in one block; the modules' own become views of it."""
    bases = [layer.base_layer for layer in layers]
    outputs, ranks = sum(base.out_features for base in bases), sum(len(one.down) for one in adapters)
    inputs = bases[0].in_features
    whole = bases[0].weight.new_zeros(outputs + ranks, inputs + ranks).detach()
    row = 0
    for base in bases:
        part = whole[row : row + base.out_features, :inputs]
        part.copy_(base.weight.detach())
        base.weight.data = part
        row += base.out_features
    bias = None if bases[0].bias is None else torch.cat([base.bias.detach() for base in bases])
    return _Block(whole, bias, adapters)


def _resting(layer: Any) -> bool:
    """Whether the adapters are switched off, merged, or others are asked for."""
    return bool(layer.disable_adapters or layer.merged or list(layer.lora_A) != list(layer.active_adapters))
