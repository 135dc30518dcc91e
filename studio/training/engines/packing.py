"""Rows of a batch laid end to end, without their padding, and sorted into blocks for attention.

A padded batch of conversations is a third padding, and every matrix product pays for it. Here the tokens
that matter are taken out of the batch into one long sequence; only attention has to know where a row
begins. Rows are laid by length, so that neighbours can be attended to in one block with little padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import torch

#: A row shorter than this share of a block's longest row opens a new block. Work in a block grows with the
#: square of its length, a further block costs some thirty small operations a layer.
_FILLED = 0.75
#: Numbers that a processor takes at once.
_VECTOR = 16
#: A block's scores, in elements a head: 1,024 x 1,024.
_LARGEST = 1 << 20


@dataclass(frozen=True)
class Block:
    """Neighbouring rows that are attended to together.

    ``start`` and ``tokens`` say where they lie in the sequence; ``length`` is that of the longest of ``rows``
    rows, rounded up to whole vectors, so that no loop over keys has a remainder.
    ``taken`` [rows * length] has for each place of the padded block the token (from ``start``) that goes
    there, any where there is none; ``real`` [tokens] has for each token its place in the padded block.
    ``begin`` and ``sizes`` [rows] are each row's first token in the sequence and its length.
    """

    start: int
    tokens: int
    rows: int
    length: int
    taken: torch.Tensor
    real: torch.Tensor
    begin: torch.Tensor
    sizes: torch.Tensor


@dataclass(frozen=True)
class Packed:
    """A batch [rows, columns] as one sequence of ``places.numel()`` tokens.

    ``places`` are the tokens' places in the flattened batch, ``positions`` their columns: with them, any
    padding on the left stays a shift of a whole row, which rotary positions do not see.
    """

    places: torch.Tensor
    positions: torch.Tensor
    blocks: tuple[Block, ...]
    #: Whether it was one sequence from the start.
    joined: bool = False
    _masks: dict[tuple[int, int, torch.dtype], torch.Tensor] = field(default_factory=dict)

    def causal(self, length: int, times: int, dtype: torch.dtype) -> torch.Tensor:
        """The addend [length * times, length] that hides what comes later; each row ``times`` over."""
        key = (length, times, dtype)
        if key not in self._masks:
            hidden = torch.full((length, length), float("-inf"), dtype=dtype, device=self.places.device)
            self._masks[key] = hidden.triu_(1).repeat_interleave(times, dim=0)
        return self._masks[key]


def pack(kept: torch.Tensor) -> Packed:
    """The tokens of a batch where ``kept`` [rows, columns] is true; in a row they must be neighbours."""
    lengths = kept.sum(dim=1)
    order = torch.argsort(lengths, descending=True, stable=True)
    columns = kept.shape[1]
    found = kept[order].nonzero()
    row, column = order[found[:, 0]], found[:, 1]
    counts = [count for count in lengths[order].tolist() if count]
    return Packed(row * columns + column, column, tuple(_blocks(counts, kept.device)))


def pack_joined(positions: torch.Tensor) -> Packed:
    """One sequence [1, tokens] that is packed already: a row begins wherever its position is 0."""
    starts = (positions[0] == 0).nonzero().flatten().tolist()
    bounds = [*starts, positions.shape[1]]
    spans = sorted(pairwise(bounds), key=lambda span: span[0] - span[1])
    places = torch.cat([torch.arange(*span, device=positions.device) for span in spans])
    counts = [stop - start for start, stop in spans]
    return Packed(places, positions[0, places], tuple(_blocks(counts, positions.device)), joined=True)


def _blocks(lengths: list[int], device: torch.device) -> Iterator[Block]:
    """Blocks of rows whose lengths fall."""
    start = first = 0
    while first < len(lengths):
        longest, last = lengths[first], first + 1
        most = max(1, _LARGEST // longest**2)
        while last < len(lengths) and lengths[last] >= _FILLED * longest and last - first < most:
            last += 1
        block = _block(start, lengths[first:last], device)
        yield block
        start, first = start + block.tokens, last


def _block(start: int, lengths: list[int], device: torch.device) -> Block:
    sizes = torch.tensor(lengths, device=device)
    longest = -(-lengths[0] // _VECTOR) * _VECTOR
    begin = sizes.cumsum(0) - sizes
    column = torch.arange(longest, device=device)
    there = column < sizes[:, None]
    taken = torch.where(there, begin[:, None] + column, begin[:, None])
    return Block(
        start=start,
        tokens=sum(lengths),
        rows=len(lengths),
        length=longest,
        taken=taken.flatten(),
        real=there.flatten().nonzero().flatten(),
        begin=begin + start,
        sizes=sizes,
    )
