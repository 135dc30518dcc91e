"""The rows that are being decoded together, and the step that gives each its next token.

Prompts are padded on the left, so all rows end at the same column and a step appends one column. A row
that is done leaves with its part of the cache; new rows are read apart and set beside the others,
padded on the left to one width. The invariant: a row's tokens depend on its own prompt, adapter and
sampling only (up to rounding, which in bfloat16 can turn a close call).

It keeps every key and value of every layer, also for models with a sliding window; models whose layers
carry another kind of state (Mamba and the like) are refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from studio.serving.engine.adapters import Adapter, AdapterBank
from studio.serving.engine.detokenise import Detokeniser
from studio.serving.engine.errors import Refusal
from studio.serving.engine.loader import Base, Prompt
from studio.serving.engine.sampler import choose
from studio.serving.records import RowEnd, Sampling, TokenDelta

Emit = Callable[[TokenDelta | RowEnd], None]


@dataclass(eq=False)
class Row:
    """One answer on its way; ``cancelled`` may be set from any thread."""

    index: int
    prompt: Prompt
    adapter: Adapter | None
    sampling: Sampling
    seed: int
    template_digest: str
    detokeniser: Detokeniser
    emit: Emit
    answer: list[int] = field(default_factory=list)
    cancelled: bool = False
    ended: bool = False
    accepted: float = field(default_factory=time.monotonic)
    first_token_seconds: float | None = None
    generator: torch.Generator = field(default_factory=torch.Generator)

    def __post_init__(self) -> None:
        self.generator.manual_seed(self.seed)

    @property
    def length(self) -> int:
        """How many tokens prompt and answer have."""
        return len(self.prompt.ids) + len(self.answer)

    @property
    def most(self) -> int:
        """How many they can have."""
        return len(self.prompt.ids) + self.sampling.max_tokens

    def history(self) -> list[int]:
        """What the repetition penalty looks at; empty where there is none."""
        return [*self.prompt.ids, *self.answer] if self.sampling.repetition_penalty != 1.0 else []

    def take(self, token: int, stop_ids: frozenset[int]) -> None:
        """Add a token, send its text, and end if this was the last."""
        if self.first_token_seconds is None:
            self.first_token_seconds = time.monotonic() - self.accepted
        self.answer.append(token)
        if token in stop_ids:
            self.end("stop")
            return
        self._send(self.detokeniser.push(token))
        if len(self.answer) >= self.sampling.max_tokens:
            self.end("length")

    def end(self, reason: str, error: str = "") -> None:
        """Send what is left and the end; the row then leaves its batch."""
        if self.ended:
            return
        self.ended = True
        self._send(self.detokeniser.flush())
        self.emit(
            RowEnd(
                row=self.index,
                finish_reason=reason,
                prompt_tokens=len(self.prompt.ids),
                completion_tokens=len(self.answer),
                first_token_seconds=self.first_token_seconds,
                seconds=time.monotonic() - self.accepted,
                seed=self.seed,
                template_digest=self.template_digest,
                error=error,
                prompt_digest=self.prompt.digest,
            )
        )

    def _send(self, text: str) -> None:
        if text:
            self.emit(TokenDelta(self.index, text, len(self.answer)))


class Batch:
    """Rows, their shared cache, and the steps."""

    def __init__(self, base: Base, bank: AdapterBank) -> None:
        self._base = base
        self._bank = bank
        self._device = base.model.device
        self._cache = DynamicCache()
        self._routed = False
        self.rows: list[Row] = []

    def join(self, new: Sequence[Row]) -> None:
        """Read the prompts of ``new``, give each its first token, and set the rest beside the others."""
        cache = DynamicCache()
        width = max(row.length for row in new)
        ids = [[0] * (width - row.length) + row.prompt.ids for row in new]
        mask = _mask(new, width)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        self._bank.route([row.adapter for row in new])
        self._routed = False
        logits = self._forward(torch.tensor(ids), mask, positions, cache)
        _check_cache(cache)
        self._sample(new, logits)
        self._merge([row for row in new if not row.ended], [r.ended for r in new], cache)

    def step(self) -> None:
        """One more token for every row; first those that were cancelled leave."""
        for row in self.rows:
            if row.cancelled:
                row.end("cancelled")
        self._drop_ended()
        if not self.rows:
            return
        if not self._routed:
            self._bank.route([row.adapter for row in self.rows])
            self._routed = True
        last = torch.tensor([[row.answer[-1]] for row in self.rows])
        # The newest token is part of the row's length already, and its place is the one before the end.
        positions = torch.tensor([[row.length - 1] for row in self.rows])
        width = self._cache.get_seq_length() + 1
        logits = self._forward(last, _mask(self.rows, width), positions, self._cache)
        self._sample(self.rows, logits)
        self._drop_ended()

    def fail(self, error: str) -> None:
        """End every row with an error and begin anew."""
        for row in self.rows:
            row.end("error", error)
        self.rows = []
        self._cache = DynamicCache()
        self._routed = False

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
        """The logits after the last column, (rows, vocabulary), float32 on the CPU."""
        output = self._base.model(
            input_ids=ids.to(self._device),
            attention_mask=mask.to(self._device),
            position_ids=positions.to(self._device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._bank.forget_inputs()
        logits: Tensor = output.logits[:, -1].float().cpu()
        return logits

    def _sample(self, rows: Sequence[Row], logits: Tensor) -> None:
        for row, scores in zip(rows, logits, strict=True):
            token = choose(scores, row.history(), row.sampling, row.generator)
            row.take(token, self._base.stop_ids)

    def _drop_ended(self) -> None:
        keep = [place for place, row in enumerate(self.rows) if not row.ended]
        if len(keep) == len(self.rows):
            return
        self.rows = [self.rows[place] for place in keep]
        self._routed = False
        if not self.rows:
            self._cache = DynamicCache()
            return
        self._cache.batch_select_indices(torch.tensor(keep, device=self._device))
        _crop_left(self._cache, self._cached_width(self.rows))

    def _merge(self, staying: list[Row], ended: list[bool], cache: DynamicCache) -> None:
        if not staying:
            return
        if any(ended):
            keep = [place for place, over in enumerate(ended) if not over]
            cache.batch_select_indices(torch.tensor(keep, device=self._device))
            _crop_left(cache, self._cached_width(staying))
        if self.rows:
            _set_beside(self._cache, cache)
        else:
            self._cache = cache
        self.rows = [*self.rows, *staying]
        self._routed = False

    def _cached_width(self, rows: Sequence[Row]) -> int:
        """The columns that ``rows`` need: all tokens but the newest, which no forward pass has read yet."""
        return max(row.length for row in rows) - 1


def _mask(rows: Sequence[Row], width: int) -> Tensor:
    lengths = torch.tensor([[row.length] for row in rows])
    return (torch.arange(width) >= width - lengths).long()


def _layers(cache: DynamicCache) -> list[Any]:
    return list(cache.layers)


def _check_cache(cache: DynamicCache) -> None:
    if any(type(layer) is not DynamicLayer for layer in _layers(cache)):
        raise Refusal(
            422, "unsupported_model", "This model's layers keep a state that cannot be batched row by row."
        )


def _crop_left(cache: DynamicCache, width: int) -> None:
    """Drop columns that are padding in every row."""
    for layer in _layers(cache):
        layer.keys = layer.keys[:, :, -width:]
        layer.values = layer.values[:, :, -width:]


def _set_beside(cache: DynamicCache, other: DynamicCache) -> None:
    """Add the rows of ``other`` to ``cache``, the narrower one padded on the left."""
    width = max(cache.get_seq_length(), other.get_seq_length())
    for mine, theirs in zip(_layers(cache), _layers(other), strict=True):
        mine.keys = torch.cat([_padded(mine.keys, width), _padded(theirs.keys, width)])
        mine.values = torch.cat([_padded(mine.values, width), _padded(theirs.values, width)])


def _padded(tensor: Tensor, width: int) -> Tensor:
    return functional.pad(tensor, (0, 0, width - tensor.shape[2], 0))
