"""A language model head that scores only the tokens that count.

TRL scores every position on devices without Triton, the prompt's and the padding's included. In
instruction data half the tokens are prompt, and the head is a fifth of a small model's arithmetic, so on
the CPU this is put in place of TRL's: same call, same fields, fewer positions. The body in turn leaves out
what follows a row's last label, which nothing depends on.

Under an adapter the head is frozen. A score's gradient is then known as soon as the score is, up to a
factor, so both are made while the logits of a few positions lie in the cache: no logits are kept.
"""

from __future__ import annotations

import functools
import threading
import types
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from trl.trainer.utils import FusedCausalLMOutput

from studio.training.engines import crew
from studio.training.engines.body import Body, packed_rows
from studio.training.engines.kernels import usable
from studio.training.engines.packing import Packed, pack

IGNORED = -100
#: Positions scored at once; more are scored in turns, and with a head that is trained once more in the
#: backward pass, to spare memory.
_POSITIONS = 2048
#: The same for a frozen head: 256 rows of a vocabulary of 49,152 in bfloat16 are 24 MiB.
_FROZEN_POSITIONS = 256
#: Elements that are turned into probabilities at once: 4 MiB of float32, which two cores' caches hold.
#: Measured for 512 positions of 49,152: 18 ms, against 75 to 110 ms with blocks twice as large or larger.
_CACHED = 1 << 20
#: What a thread keeps from one call to the next.
_OWN = threading.local()


def score_only_labels(model: Any, body: Body | None = None) -> None:
    """Give ``model`` (a causal language model without its adapter's wrapper) the sparse head."""
    plain_forward = type(model).forward

    def forward(self: Any, *args: Any, fused_lm_head: bool = False, labels: Any = None, **kwargs: Any) -> Any:
        if not fused_lm_head:
            return plain_forward(self, *args, labels=labels, **kwargs)
        kwargs.pop("num_items_in_batch", None)
        kwargs["use_cache"] = False
        targets = labels[:, 1:]
        mask = targets != IGNORED
        head = self.get_output_embeddings()
        # A column is wanted if it, or one after it, has a label to foretell; the last one never has.
        wanted = functional.pad(mask, (0, 1)).flip(1).cummax(dim=1).values.flip(1)
        packed = packed_rows(kwargs, wanted) if body is not None and not args else None
        if body is None or packed is None:
            hidden = self.base_model(*args, **kwargs).last_hidden_state[:, :-1][mask]
            return _output(*_scored(head, hidden, targets[mask]), mask)
        embedded = kwargs.get("inputs_embeds")
        embedded = self.base_model.embed_tokens(kwargs["input_ids"]) if embedded is None else embedded
        return _output(*_shared(body, head, embedded, packed, targets, mask), mask)

    model.forward = types.MethodType(forward, model)


def can_score(model: Any) -> bool:
    """Whether the sparse head gives what the model's own would: nothing is done to its logits."""
    config = model.config.get_text_config()
    special = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")
    plain = all(getattr(config, name, None) in (None, 1, 1.0) for name in special)
    return plain and getattr(config, "output_multiplier", None) is None and model.base_model is not model


def _shared(
    body: Body, head: Any, embedded: torch.Tensor, packed: Packed, targets: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of the labels in ``mask`` [rows, columns - 1]; whether they were the likeliest."""
    body.refresh()
    kept = torch.zeros(embedded.shape[:2], dtype=torch.bool, device=mask.device)
    kept.view(-1)[packed.places] = True
    alone = not (body.divisible and _frozen(head, embedded)) or embedded.grad_fn is not None
    joined = packed.joined or alone
    rows = [torch.arange(len(mask), device=mask.device)] if joined else crew.parts(kept.sum(dim=1))
    if len(rows) == 1:
        return _score_rows(body, head, embedded, packed, targets, mask)

    def work(part: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return _score_rows(body, head, embedded[part], pack(kept[part]), targets[part], mask[part])

    scores, best = crew.share([functools.partial(work, part) for part in rows], body.trained)
    # The parts' labels stand one behind another; back to where they stand in the batch.
    place = torch.zeros_like(mask, dtype=torch.long)
    order = torch.cat(rows)
    place[order] = mask[order].flatten().cumsum(0).view(mask.shape) - 1
    back = place[mask]
    return scores[back], best[back]


def _score_rows(
    body: Body, head: Any, embedded: torch.Tensor, packed: Packed, targets: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    places = torch.zeros(embedded.shape[:2], dtype=torch.long, device=mask.device)
    places.view(-1)[packed.places] = torch.arange(len(packed.places), device=mask.device)
    hidden = body(embedded, packed).index_select(0, places[:, :-1][mask])
    return _scored(head, hidden, targets[mask])


def _scored(head: Any, hidden: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if _frozen(head, hidden):
        scores, best = _Frozen.apply(hidden, head.weight, targets)
        return scores, best
    if len(targets) <= _POSITIONS:
        return _score(head, hidden, targets)
    parts = [
        checkpoint(_score, head, part, wanted, use_reentrant=False)
        for part, wanted in zip(hidden.split(_POSITIONS), targets.split(_POSITIONS), strict=True)
    ]
    return torch.cat([scores for scores, _ in parts]), torch.cat([best for _, best in parts])


def _frozen(head: Any, hidden: torch.Tensor) -> bool:
    plain = type(head) is torch.nn.Linear and head.bias is None
    return plain and not head.weight.requires_grad and head.weight.dtype == hidden.dtype


def _score(head: Any, hidden: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The log-probability of each target, and whether it was the likeliest token."""
    logits = head(hidden).float()
    return -functional.cross_entropy(logits, targets, reduction="none"), logits.argmax(-1) == targets


class _Frozen(torch.autograd.Function):  # type: ignore[misc]
    """As ``_score``, for a head [vocabulary, hidden] that is not trained."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        scores = hidden.new_empty(len(targets), dtype=torch.float32)
        best = torch.empty_like(targets, dtype=torch.bool)
        slopes = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        with torch.autocast(hidden.device.type, enabled=False):
            buffer = _buffer(weight, min(len(targets), _FROZEN_POSITIONS))
            for first in range(0, len(targets), _FROZEN_POSITIONS):
                part = slice(first, first + _FROZEN_POSITIONS)
                logits = torch.mm(hidden[part], weight.t(), out=buffer[: len(targets[part])])
                _softmax(logits, targets[part], scores[part], best[part], slopes is not None)
                if slopes is not None:
                    torch.mm(logits, weight, out=slopes[part])
        ctx.mark_non_differentiable(best)
        ctx.save_for_backward(slopes)
        return scores, best

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor, _best: Any) -> Any:
        (slopes,) = ctx.saved_tensors
        return slopes * -grad[:, None].to(slopes.dtype), None, None


def _buffer(weight: torch.Tensor, count: int) -> torch.Tensor:
    """Room for the logits of ``count`` positions, the same for every call of a thread.

    Fresh memory of this size comes from the system page by page: 18 of 58 ms for 512 positions of 49,152.
    """
    held: torch.Tensor | None = getattr(_OWN, "buffer", None)
    fits = held is not None and held.dtype == weight.dtype and held.shape[1] == len(weight)
    if held is None or not fits or len(held) < count:
        held = _OWN.buffer = weight.new_empty(count, len(weight))
    return held


def _softmax(
    logits: torch.Tensor, targets: torch.Tensor, scores: torch.Tensor, best: torch.Tensor, keep: bool
) -> None:
    """Fill in ``scores`` and ``best``; with ``keep`` logits become probabilities, the targets' less 1."""
    fast = usable(logits)
    if fast:
        fast.score(logits, targets.contiguous(), scores, best, keep)
        return
    count = max(1, _CACHED // logits.shape[1])
    wide = torch.empty((count, logits.shape[1]), dtype=torch.float32, device=logits.device)
    parts = (tensor.split(count) for tensor in (logits, targets[:, None], scores[:, None], best[:, None]))
    for low, target, score, top in zip(*parts, strict=True):
        block = wide[: len(low)].copy_(low)
        block.sub_(block.amax(dim=1, keepdim=True))
        chosen = block.gather(1, target)
        total = block.exp_().sum(dim=1, keepdim=True)
        torch.sub(chosen, total.log(), out=score)
        top.copy_(chosen == 0)
        if keep:
            block.div_(total).scatter_add_(1, target, torch.full_like(total, -1.0))
            low.copy_(block)


def _output(scores: torch.Tensor, best: torch.Tensor, mask: torch.Tensor) -> FusedCausalLMOutput:
    log_probs = scores.new_zeros(mask.shape).masked_scatter(mask, scores)
    nothing = log_probs.new_zeros(mask.shape)
    return FusedCausalLMOutput(
        loss=-scores.sum() / mask.sum().clamp(min=1),
        log_probs=log_probs,
        # Not measured here; the meter does not report them.
        entropy=nothing,
        mean_logits=nothing,
        is_top1=torch.zeros_like(mask).masked_scatter(mask, best),
        label_mask=mask,
    )
