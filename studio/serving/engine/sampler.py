"""One token from one row's logits.

The invariant: a draw depends on the row's own logits, history and generator only, never on the batch.
The generator lives on the CPU, so a seed draws alike on every device, up to the rounding of the logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from studio.serving.records import Sampling

#: The nucleus is sought among so many tokens first: sorting a whole vocabulary costs milliseconds a row.
_CANDIDATES = (256, 4096)


def choose(logits: Tensor, history: Sequence[int], sampling: Sampling, generator: torch.Generator) -> int:
    """The next token.

    Args:
        logits: Shape (vocabulary,), float32, on the CPU.
        history: Prompt and answer so far, for the repetition penalty (as in transformers: both count).
        sampling: Temperature 0 is greedy.
        generator: The row's own.
    """
    if sampling.repetition_penalty != 1.0:
        logits = _penalised(logits, history, sampling.repetition_penalty)
    if sampling.temperature == 0.0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits.double() / sampling.temperature, dim=-1)
    kept, tokens = _nucleus(probabilities, sampling.top_p)
    # One uniform number a token and the inverse of the cumulated distribution: the simplest draw that
    # spends the same amount of randomness however many candidates there are.
    point = torch.rand((), generator=generator, dtype=torch.float64) * kept.sum()
    place = int(torch.searchsorted(kept.cumsum(0), point, right=True))
    return int(tokens[min(place, len(tokens) - 1)])


def _nucleus(probabilities: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The fewest most likely tokens whose probabilities reach ``top_p``, in falling order."""
    most = len(probabilities)
    for count in (*(c for c in _CANDIDATES if c < most), most):
        values, tokens = probabilities.topk(count)
        before = values.cumsum(0) - values
        size = int((before < top_p).sum())
        if size < count or count == most:
            break
    return values[:size], tokens[:size]


def _penalised(logits: Tensor, history: Sequence[int], penalty: float) -> Tensor:
    seen = torch.tensor(sorted(set(history)))
    scores = logits[seen]
    changed = logits.clone()
    changed[seen] = torch.where(scores < 0, scores * penalty, scores / penalty)
    return changed
