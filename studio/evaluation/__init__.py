"""How good a model is, measured on rows that it has not been trained on.

An evaluation is a job that scores one or more model versions on the same rows of a dataset version, so
that before and after can be compared. It measures what a dataset can show (loss, preference), not
whether people like the answers: the arena does that.
"""

from studio.evaluation.records import Evaluation, EvaluationKind, Score
from studio.evaluation.service import EvaluationService

__all__ = ["Evaluation", "EvaluationKind", "EvaluationService", "Score"]
