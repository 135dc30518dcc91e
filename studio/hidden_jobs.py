"""Which jobs a person may not see: those that work for an object which is private to others.

A job's subject is the name of a dataset or model, or the id of a run or version. The job room does not
know which, and a name in the list of jobs would tell what the other lists keep to themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from studio.core import Actor, Role
from studio.datasets import DatasetService
from studio.evaluation import EvaluationService
from studio.jobs import Job
from studio.registry import RegistryService
from studio.training import TrainingService


@dataclass(frozen=True)
class HiddenJobs:
    """Asks the room that a job works for; jobs of other kinds name nothing private."""

    datasets: DatasetService
    registry: RegistryService
    training: TrainingService
    evaluation: EvaluationService

    def __call__(self, actor: Actor, job: Job) -> bool:
        """Whether ``actor`` may not see ``job``."""
        if actor.role is Role.ADMIN:
            return False
        asked: dict[str, Callable[[], bool]] = {
            "import": lambda: self.datasets.hides_name(actor, job.subject),
            "preflight": lambda: self.datasets.hides_name(actor, job.subject),
            "model_download": lambda: self.registry.hides_name(actor, job.subject),
            "embedded_model": lambda: self.registry.hides_name(actor, job.subject),
            "training": lambda: self.training.hides(actor, job.subject),
            "evaluation": lambda: self.evaluation.hides(actor, job),
        }
        return asked.get(job.kind, lambda: False)()
