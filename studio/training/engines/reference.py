"""The reference of DPO and KTO, fixed in numbers before anything is learnt.

It is the model as it stands before the first step: the base under a fresh adapter, or the adapter the run
goes on from. Its log-probabilities are computed once: the same numbers as from a frozen copy beside the
policy, for one pass over the rows instead of one an epoch. Several processes share the rows out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from studio.training.engines import ranks
from studio.training.engines.setup import Setup

#: Log-probabilities of some rows, one list a column.
Scores = list[list[float]]
Score = Callable[[list[Any]], Scores]


def scored(setup: Setup, rows: list[Any], size: int, columns: int, score: Score) -> Scores:
    """The reference's log-probabilities of ``rows``, in their order.

    Args:
        setup: Whose meter is told how far it is.
        rows: Token rows.
        size: How many of them make one forward pass; a batch is never cut.
        columns: How many numbers ``score`` gives of a row.
        score: Scores one batch, without gradients.

    Raises:
        Stopped: Someone asked to stop meanwhile.
    """
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    rounds = -(-len(batches) // ranks.world())
    mine: list[Scores] = []
    for place in range(rounds):
        at = place * ranks.world() + ranks.rank()
        mine.append(score(batches[at]) if at < len(batches) else [])
        setup.meter.reference_progress(min((place + 1) * ranks.world() * size, len(rows)), len(rows))
    every = ranks.gathered(mine)
    ordered = [every[at % ranks.world()][at // ranks.world()] for at in range(len(batches))]
    return [[value for batch in ordered for value in batch[column]] for column in range(columns)]


def answer_log_probs(trainer: Any, ids: Any, mask: Any, answer: Any) -> Any:
    """The summed log-probability of each row's answer; all of shape (rows, tokens), on the CPU.

    Not by TRL's compute_ref_log_probs: without a second adapter it scores the base.
    """
    labels = ids.masked_fill(answer == 0, -100)
    trainer.model.eval()
    with torch.no_grad(), trainer.accelerator.autocast():
        found = trainer.model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    return found.log_probs.float().sum(dim=1).cpu()


def drop_second_adapter(model: Any) -> None:
    """Take out the frozen copy that TRL adds: the reference is fixed in numbers here."""
    if "ref" in getattr(model, "peft_config", {}):
        model.delete_adapter("ref")
