"""A language model head that scores only the tokens that count.

TRL scores every position on devices without Triton, the prompt's and the padding's included. In
instruction data half the tokens are prompt, and the head is a fifth of a small model's arithmetic, so on
the CPU this is put in place of TRL's: same call, same fields, fewer positions.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from trl.trainer.utils import FusedCausalLMOutput

#: Positions scored at once; more are scored in turns and again in the backward pass, to spare memory.
_POSITIONS = 2048


def score_only_labels(model: Any) -> None:
    """Give ``model`` (a causal language model without its adapter's wrapper) the sparse head."""
    plain_forward = type(model).forward

    def forward(self: Any, *args: Any, fused_lm_head: bool = False, labels: Any = None, **kwargs: Any) -> Any:
        if not fused_lm_head:
            return plain_forward(self, *args, labels=labels, **kwargs)
        kwargs.pop("num_items_in_batch", None)
        kwargs["use_cache"] = False
        hidden = self.base_model(*args, **kwargs).last_hidden_state[:, :-1]
        targets = labels[:, 1:]
        mask = targets != -100
        scores, best = _scored(self.get_output_embeddings(), hidden[mask], targets[mask])
        return _output(scores, best, mask)

    model.forward = types.MethodType(forward, model)


def can_score(model: Any) -> bool:
    """Whether the sparse head gives what the model's own would: nothing is done to its logits."""
    config = model.config.get_text_config()
    special = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")
    plain = all(getattr(config, name, None) in (None, 1, 1.0) for name in special)
    return plain and getattr(config, "output_multiplier", None) is None and model.base_model is not model


def _scored(head: Any, hidden: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if len(targets) <= _POSITIONS:
        return _score(head, hidden, targets)
    parts = [
        checkpoint(_score, head, part, wanted, use_reentrant=False)
        for part, wanted in zip(hidden.split(_POSITIONS), targets.split(_POSITIONS), strict=True)
    ]
    return torch.cat([scores for scores, _ in parts]), torch.cat([best for _, best in parts])


def _score(head: Any, hidden: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The log-probability of each target, and whether it was the likeliest token."""
    logits = head(hidden).float()
    return -functional.cross_entropy(logits, targets, reduction="none"), logits.argmax(-1) == targets


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
