"""Causal attention over packed rows, with the rotation of positions, as one step of the graph.

Rows of a block are attended to by batched matrix products: on the CPU their backward pass is 14 times as
fast as that of torch's fused attention for 8 rows of 96 tokens (1.3 ms against 18.4 ms a layer), because
they reach the matrix units and it does not. Long rows go to the fused one, whose memory does not grow with
the square of a row's length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from studio.training.engines.kernels import roomy, usable
from studio.training.engines.packing import Block, Packed

#: Probabilities of rows up to this length are kept for the backward pass: they are then smaller than the
#: layer's other activations. Those of longer rows are computed again.
_KEPT = 256
#: Longer rows are attended to by torch's fused attention.
_LONGEST = 512

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass(frozen=True)
class Heads:
    """The shape of an attention: ``queries`` heads of ``size`` over ``keys`` heads of keys and values."""

    queries: int
    keys: int
    size: int
    scale: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """As the kernels want it."""
        return self.keys, self.times, self.size

    @property
    def times(self) -> int:
        """How many query heads share one head of keys."""
        return self.queries // self.keys


class RowAttention(torch.autograd.Function):  # type: ignore[misc]
    """[tokens, (queries + 2 keys) * size] -> [tokens, queries * size]; angles [tokens, size / 2].

    ``rooms`` are what is wanted behind the rows of its gradient and of its answer.
    """

    @staticmethod
    def forward(
        ctx: Any,
        joined: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        packed: Packed,
        heads: Heads,
        rooms: tuple[int, int],
    ) -> torch.Tensor:
        """Rotate, attend within each row, and lay the answers side by side."""
        out = roomy(joined, (len(joined), heads.queries * heads.size), rooms[1])
        saved = []
        with torch.autocast(joined.device.type, enabled=False):
            for block in packed.blocks:
                parts = _take(joined, cos, sin, block, heads)
                given, kept = _attend(parts, packed, heads, block)
                _collect(given, block, heads, out)
                saved += [*parts, *kept]
        ctx.save_for_backward(cos, sin, *saved)
        ctx.packed, ctx.heads, ctx.room = packed, heads, rooms[0]
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        """The gradient of what was joined."""
        packed, heads = ctx.packed, ctx.heads
        cos, sin, *saved = ctx.saved_tensors
        joined = roomy(grad, (len(grad), (heads.queries + 2 * heads.keys) * heads.size), ctx.room)
        for block in packed.blocks:
            count = 3 + _saved(block)
            (parts, kept), saved = (saved[:3], saved[3:count]), saved[count:]
            padded = _spread(grad, block, heads)
            found = _attend_backward(padded, parts, kept, packed, heads, block)
            _give(found, cos, sin, block, heads, joined)
        return joined, None, None, None, None, None


def _take(
    joined: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, block: Block, heads: Heads
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A block's rotated queries [keys * rows, length * times, size], and its keys and values, padded."""
    fast = usable(joined)
    if fast:
        count, (_, times, size) = heads.keys * block.rows, heads.shape
        query = joined.new_empty(count, block.length * times, size)
        key, value = (joined.new_empty(count, block.length, size) for _ in range(2))
        fast.run("take", joined, cos, sin, *_rows(block), *heads.shape, query, key, value)
        return query, key, value
    span = slice(block.start, block.start + block.tokens)
    query, key, value = _split(joined[span], heads)
    cos, sin = cos[span].to(joined.dtype), sin[span].to(joined.dtype)
    return (
        _padded(_rotated(query, cos, sin), block),
        _padded(_rotated(key, cos, sin), block),
        _padded(value, block),
    )


def _give(
    parts: Any, cos: torch.Tensor, sin: torch.Tensor, block: Block, heads: Heads, joined: torch.Tensor
) -> None:
    """Write the gradients of a block's queries, keys and values to their places in ``joined``."""
    parts = [part.contiguous() for part in parts]
    fast = usable(*parts)
    if fast:
        fast.run("give", *parts, cos, sin, *_rows(block), *heads.shape, joined, joined.stride(0))
        return
    span = slice(block.start, block.start + block.tokens)
    turn = cos[span].to(joined.dtype), sin[span].to(joined.dtype)
    whole = _split(joined[span], heads)
    query, key, value = (
        part.view(heads.keys, block.rows * block.length, -1, heads.size).index_select(1, block.real)
        for part in parts
    )
    _rotate(query, *turn, whole[0], -1)
    _rotate(key, *turn, whole[1], -1)
    whole[2].copy_(value)


def _spread(flat: torch.Tensor, block: Block, heads: Heads) -> torch.Tensor:
    """A block of [tokens, queries * size], padded with zeros: [keys * rows, length * times, size]."""
    flat = flat.contiguous()
    width = heads.times * heads.size
    fast = usable(flat)
    if fast:
        padded = flat.new_empty(heads.keys, block.rows * block.length, width)
        fast.run("spread", flat, *_rows(block), heads.keys, width, padded)
    else:
        padded = flat.new_zeros(heads.keys, block.rows * block.length, width)
        part = flat[block.start : block.start + block.tokens].view(-1, heads.keys, width)
        padded.index_copy_(1, block.real, part.transpose(0, 1))
    return padded.view(heads.keys * block.rows, -1, heads.size)


def _collect(given: torch.Tensor, block: Block, heads: Heads, out: torch.Tensor) -> None:
    """Write a block's answers [keys * rows, length * times, size] to their places in ``out``."""
    width = heads.times * heads.size
    fast = usable(given)
    if fast:
        fast.run("collect", given, *_rows(block), heads.keys, width, out, out.stride(0))
        return
    given = given.view(heads.keys, block.rows * block.length, width).index_select(1, block.real)
    out[block.start : block.start + block.tokens] = given.transpose(0, 1).flatten(1)


def _rows(block: Block) -> tuple[Any, ...]:
    return block.begin, block.sizes, block.rows, block.length


def _split(joined: torch.Tensor, heads: Heads) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Views of queries [keys, tokens, times, size], keys and values [keys, tokens, 1, size]."""
    sizes = [heads.queries * heads.size, heads.keys * heads.size, heads.keys * heads.size]
    query, key, value = (
        part.view(len(joined), heads.keys, -1, heads.size).transpose(0, 1)
        for part in joined.split(sizes, dim=1)
    )
    return query, key, value


def _rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    _rotate(x, cos, sin, out, 1)
    return out


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, out: torch.Tensor, way: int) -> None:
    """Turn each pair (place i of the first half, place i of the second) by its angle; ``way`` -1: back."""
    half = cos.shape[-1]
    cos, sin = cos[:, None], sin[:, None]
    first, second = x[..., :half], x[..., half:]
    torch.mul(first, cos, out=out[..., :half]).addcmul_(second, sin, value=-way)
    torch.mul(second, cos, out=out[..., half:]).addcmul_(first, sin, value=way)


def _padded(x: torch.Tensor, block: Block) -> torch.Tensor:
    """A block's [keys, tokens, times, size] as [keys * rows, length * times, size]."""
    return x.index_select(1, block.taken).view(x.shape[0] * block.rows, -1, x.shape[3])


def _saved(block: Block) -> int:
    """How many tensors are kept for the backward pass beside queries, keys and values."""
    return 1 if block.length <= _KEPT else 0 if block.length <= _LONGEST else 2


def _attend(
    parts: Any, packed: Packed, heads: Heads, block: Block
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """The answers [keys * rows, length * times, size], and what the backward pass will want."""
    query, key, value = parts
    if block.length > _LONGEST:
        given, sums = _flash(*_apart(parts, heads), 0.0, True, scale=heads.scale)
        return given.transpose(1, 2).reshape(query.shape), (given, sums)
    likely = _probabilities(query, key, packed, heads, block)
    return torch.bmm(likely, value), (likely,) if block.length <= _KEPT else ()


def _probabilities(
    query: torch.Tensor, key: torch.Tensor, packed: Packed, heads: Heads, block: Block
) -> torch.Tensor:
    fast = usable(query)
    if fast:
        scores = torch.bmm(query, key.transpose(1, 2))
        fast.run("probabilities", scores, heads.scale, len(scores), block.length, heads.times)
        return scores
    mask = packed.causal(block.length, heads.times, query.dtype)
    return torch.softmax(torch.baddbmm(mask, query, key.transpose(1, 2), alpha=heads.scale), -1)


def _attend_backward(
    grad: torch.Tensor, parts: Any, kept: Any, packed: Packed, heads: Heads, block: Block
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The gradients of queries, keys and values, shaped as these."""
    query, key, value = parts
    if block.length > _LONGEST:
        return _fused_backward(grad, parts, kept, heads)
    likely = kept[0] if kept else _probabilities(query, key, packed, heads, block)
    scores = torch.bmm(grad, value.transpose(1, 2))
    fast = usable(scores, likely)
    if fast:
        sizes = len(scores), block.length, heads.times
        fast.run("probabilities_backward", likely, scores, heads.scale, *sizes)
    else:
        scores = torch._softmax_backward_data(scores, likely, -1, likely.dtype).mul_(heads.scale)
    return (
        torch.bmm(scores, key),
        torch.bmm(scores.transpose(1, 2), query),
        torch.bmm(likely.transpose(1, 2), grad),
    )


def _apart(parts: Any, heads: Heads) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The parts as the fused attention wants them: [keys * rows, times, length, size]."""
    query, key, value = parts
    shape = (len(query), heads.times, -1, -1)
    return _by_head(query, heads), key[:, None].expand(shape), value[:, None].expand(shape)


def _by_head(x: torch.Tensor, heads: Heads) -> torch.Tensor:
    return x.view(len(x), -1, heads.times, heads.size).transpose(1, 2)


def _fused_backward(
    grad: torch.Tensor, parts: Any, kept: Any, heads: Heads
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    given, sums = kept
    query, key, value = _flash_backward(
        _by_head(grad, heads), *_apart(parts, heads), given, sums, 0.0, True, scale=heads.scale
    )
    return query.transpose(1, 2).reshape(parts[0].shape), key.sum(1), value.sum(1)
