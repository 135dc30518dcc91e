"""The records of the evaluation room."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from studio.datasets import Split
from studio.stats import Interval


class EvaluationKind(StrEnum):
    """What is measured.

    ``answer_loss``: the mean cross-entropy of the tokens of the assistant's answers, in nats; lower is
    better. ``preference_accuracy``: the share of pairs in which the chosen answer has the higher mean
    log-probability per token of the answer, ties one half; no reference model takes part.
    """

    ANSWER_LOSS = "answer_loss"
    PREFERENCE_ACCURACY = "preference_accuracy"


@dataclass(frozen=True)
class Score:
    """One model's value; ``interval`` is None where there was only one row.

    ``n`` counts the rows (answers or pairs), ``tokens`` the answer tokens that were scored, and
    ``ties`` the pairs with equal log-probabilities.
    """

    model_id: str
    reference: str
    value: float
    interval: Interval | None
    n: int
    tokens: int
    ties: int = 0


@dataclass(frozen=True)
class Evaluation:
    """What a finished evaluation found: every model was scored on the same rows of one split.

    ``skipped`` counts the rows that were longer than ``max_length`` tokens for one of the models, and
    so were left out for all of them.
    """

    job_id: str
    kind: EvaluationKind
    dataset_id: str
    dataset: str
    split: Split
    n: int
    skipped: int
    max_length: int
    scores: tuple[Score, ...]
    ended_at: float | None

    def score(self, reference: str) -> Score:
        """The score of the model with this id or reference.

        Raises:
            KeyError: That model was not among those that were evaluated.
        """
        for score in self.scores:
            if reference in (score.model_id, score.reference):
                return score
        raise KeyError(reference)
