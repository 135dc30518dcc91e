"""A batch's rows shared out among threads, each of which goes forward and back through the model alone.

Matrix products of a few hundred tokens are too small for the threads that a library puts on one of them:
with 2 cores, oneDNN takes one for half of a layer's products, and for every small step in between both
threads have to meet. Here each thread has rows of its own and never waits for another within a pass. What
they find is put together in the order of the parts, so that the sums are the same every time.

Only for models that draw no random numbers on the way (no dropout): threads would draw them in any order.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

#: Fewer tokens than this are not worth a thread of their own.
_LEAST_TOKENS = 96
_TURN_SECONDS = 0.0005
#: What the threads' names begin with.
NAME = "rows"
#: The largest part may be this much above an even share; rows that cannot be shared out better stay together.
_UNEVEN = 1.3

Work = Callable[[], tuple[torch.Tensor, ...]]


def parts(lengths: torch.Tensor) -> list[torch.Tensor]:
    """The rows (numbers into ``lengths`` [rows], ascending) of each part; one where sharing does not pay."""
    sizes: list[int] = lengths.tolist()
    count = min(threads(), sum(size > 0 for size in sizes), sum(sizes) // _LEAST_TOKENS)
    rows: list[list[int]] = [[] for _ in range(max(1, count))]
    loads = [0] * len(rows)
    for row in sorted(range(len(sizes)), key=lambda row: -sizes[row]):
        lightest = loads.index(min(loads))
        rows[lightest].append(row)
        loads[lightest] += sizes[row]
    if max(loads) * len(loads) > _UNEVEN * sum(loads):
        rows = [list(range(len(sizes)))]
    return [torch.tensor(sorted(part), device=lengths.device) for part in rows]


@functools.cache
def threads() -> int:
    """How many threads there are: as many as torch was given."""
    return int(torch.get_num_threads())


def share(works: list[Work], trained: list[torch.nn.Parameter]) -> tuple[torch.Tensor, ...]:
    """What the works give, one behind another; each reads nothing that is trained but ``trained``."""
    if len(works) == 1:
        return works[0]()
    found: tuple[torch.Tensor, ...] = _Shared.apply(works, torch.is_grad_enabled(), *trained)
    return found


class _Shared(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any, works: list[Work], wanted: bool, *trained: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        ctx.found = _at_once([functools.partial(_forward, work, wanted, _Manner()) for work in works])
        ctx.trained = trained
        whole = tuple(
            torch.cat([part.detach() for part in column]) for column in zip(*ctx.found, strict=True)
        )
        ctx.mark_non_differentiable(*(one for one in whole if not one.is_floating_point()))
        return whole

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        counts = [[len(part) for part in column] for column in zip(*ctx.found, strict=True)]
        columns = [grad.split(count) for grad, count in zip(grads, counts, strict=True)]
        given = list(zip(*columns, strict=True))
        works = [
            functools.partial(_backward, found, grad, ctx.trained)
            for found, grad in zip(ctx.found, given, strict=True)
        ]
        ctx.found = None
        first, *others = _at_once(works)
        for other in others:
            torch._foreach_add_(first, other)
        return None, None, *first


class _Manner:
    """How the calling thread reckons (precision), to be taken over by another."""

    def __init__(self) -> None:
        self._on = torch.is_autocast_enabled("cpu")
        self._dtype = torch.get_autocast_dtype("cpu")

    def same(self) -> Any:
        return torch.autocast("cpu", dtype=self._dtype, enabled=self._on)


def _forward(work: Work, wanted: bool, manner: _Manner) -> tuple[torch.Tensor, ...]:
    with manner.same(), torch.set_grad_enabled(wanted):
        return work()


def _backward(
    found: tuple[torch.Tensor, ...], grads: tuple[torch.Tensor, ...], trained: tuple[torch.Tensor, ...]
) -> list[torch.Tensor]:
    pairs = [(one, grad) for one, grad in zip(found, grads, strict=True) if one.requires_grad]
    outputs, given = zip(*pairs, strict=True)
    return list(torch.autograd.grad(outputs, trained, given, materialize_grads=True))


def _at_once(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each work gives; the first that fails is raised once all have ended."""
    each = max(1, threads() // len(works))
    running = [_pool().submit(_alone, work, each) for work in works]
    return [one.result() for one in running]


def _alone(work: Callable[[], Any], count: int) -> Any:
    # The number of threads is each thread's own; the steps of this one are not shared out further.
    torch.set_num_threads(count)
    return work()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    # Python lets a thread that waits for it have its turn after 5 ms; a layer takes about that long.
    sys.setswitchinterval(_TURN_SECONDS)
    return ThreadPoolExecutor(threads(), thread_name_prefix=NAME)
