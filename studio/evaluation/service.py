"""Starting evaluations and reading what they found.

The result is the job's own ``result.json``; there is no table beside it. A job that did not succeed has
no evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.core import SYSTEM, Actor, Audit, InvalidInput, Node, NotFound, Role, read_json, require
from studio.core.actors import EVERYONE
from studio.datasets import DatasetService, DatasetVersion, SchemaKind, Split
from studio.evaluation.records import Evaluation, EvaluationKind, Score
from studio.jobs import Job, JobService, JobSpec, JobState, Slot
from studio.registry import ModelKind, ModelVersion, RegistryService
from studio.stats import Interval

_JOB = "evaluation"
_NEEDS = {
    EvaluationKind.ANSWER_LOSS: SchemaKind.INSTRUCTION,
    EvaluationKind.PREFERENCE_ACCURACY: SchemaKind.PREFERENCE,
}
# Everything that the worker reads is on disk already.
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


class EvaluationService:
    """Measures models on datasets, as jobs.

    Args:
        home: The studio's home.
        jobs: Runs the worker.
        datasets: Knows the rows.
        registry: Knows the models.
        audit: Learns who evaluated what.
    """

    def __init__(
        self,
        home: Path,
        jobs: JobService,
        datasets: DatasetService,
        registry: RegistryService,
        audit: Audit,
    ) -> None:
        self._home = home
        self._jobs = jobs
        self._datasets = datasets
        self._registry = registry
        self._audit = audit

    def start(
        self,
        actor: Actor,
        kind: EvaluationKind | str,
        models: str | Sequence[str],
        dataset: str,
        *,
        split: Split | None = None,
        max_length: int = 2048,
    ) -> Job:
        """Begin to score ``models`` on one split of a dataset version.

        Args:
            actor: Who asks.
            kind: What to measure.
            models: One reference, or several that are scored on the same rows.
            dataset: A reference to an instruction version (answer_loss) or a preference version.
            split: Which side; by default the validation side.
            max_length: Rows of more tokens are left out, and counted as skipped.

        Raises:
            InvalidInput: The dataset is of another kind or the split is empty, or no model is named.
            NotFound: A reference stands for nothing.
        """
        require(actor, Role.RESEARCHER)
        wanted = _kind(kind)
        version = self._datasets.version(actor, dataset)
        side = split or Split.VALIDATION
        _require_rows(version, wanted, side)
        references = (models,) if isinstance(models, str) else tuple(models)
        if not references or max_length < 2:
            raise InvalidInput(
                "An evaluation needs at least one model and a length of at least 2 tokens.", "Name a model."
            )
        found = dict.fromkeys(self._registry.version(actor, reference) for reference in references)
        for model in found:
            model.must_write()
        if side is Split.VALIDATION:
            # What models are measured with is not trained on from now on.
            self._datasets.protect(actor, version.id, side, "evaluation")
        payload: dict[str, object] = {
            "kind": wanted.value,
            "dataset_id": version.id,
            "dataset": version.reference,
            "split": side.value,
            "rows": str(version.file(side)),
            "max_length": max_length,
            "models": [self._model(model) for model in found],
        }
        spec = JobSpec(_JOB, "studio.evaluation.worker", version.id, payload, Slot.TRAINING, _OFFLINE)
        job = self._jobs.submit(actor, spec)
        names = ", ".join(model.reference for model in found)
        self._audit.record(actor, "evaluated", Node("dataset_version", version.id), f"{wanted} of {names}")
        return job

    def result(self, actor: Actor, job_id: str) -> Evaluation | None:
        """What an evaluation found; None unless its job has succeeded.

        Raises:
            NotFound: There is no such evaluation, or it used what the actor may not use.
        """
        require(actor, *EVERYONE)
        job = self._jobs.get(actor, job_id)
        if job.kind != _JOB or self.hides(actor, job):
            raise NotFound(f"{job_id} is no evaluation.", "Look it up in the list of evaluations.")
        return _evaluation(job)

    def hides(self, actor: Actor, job: Job) -> bool:
        """Whether an evaluation uses a dataset or a model that the actor may not use."""
        require(actor, *EVERYONE)
        return _uses_any(job, self._datasets.hidden(actor), self._registry.hidden(actor))

    def list(self, actor: Actor, limit: int = 50) -> tuple[Evaluation, ...]:
        """The newest finished evaluations first; those that used what the actor may not use are left out."""
        require(actor, Role.RESEARCHER)
        datasets, models = self._datasets.hidden(actor), self._registry.hidden(actor)
        jobs = [job for job in self._jobs.list(actor, _JOB, limit) if not _uses_any(job, datasets, models)]
        return tuple(found for found in map(_evaluation, jobs) if found is not None)

    def _model(self, model: ModelVersion) -> dict[str, str]:
        base = self._registry.version(SYSTEM, model.base_id)
        adapter = str(model.path) if model.kind is ModelKind.ADAPTER else ""
        return {"id": model.id, "reference": model.reference, "base": str(base.path), "adapter": adapter}


def _uses_any(job: Job, datasets: frozenset[str], models: frozenset[str]) -> bool:
    """Whether an evaluation's job reads one of these dataset or model versions."""
    if job.subject in datasets:
        return True
    payload = (read_json(job.directory / "payload.json") if models else None) or {}
    return any(model["id"] in models for model in payload.get("models", ()))


def _kind(kind: EvaluationKind | str) -> EvaluationKind:
    try:
        return EvaluationKind(kind)
    except ValueError as error:
        raise InvalidInput(
            f"There is no evaluation {str(kind)[:60]!r}.", f"Choose {' or '.join(EvaluationKind)}."
        ) from error


def _require_rows(version: DatasetVersion, kind: EvaluationKind, split: Split) -> None:
    needed = _NEEDS[kind]
    if version.kind is not needed:
        raise InvalidInput(
            f"{version.reference} is a {version.kind} dataset, and {kind} is measured on {needed} rows.",
            f"Choose a dataset of kind {needed}.",
        )
    if not version.rows.get(split):
        raise InvalidInput(
            f"{version.reference} has no {split} rows.",
            "Choose the other split, or import it with another validation fraction.",
        )


def _evaluation(job: Job) -> Evaluation | None:
    found = read_json(job.directory / "result.json") if job.state is JobState.SUCCEEDED else None
    if found is None:
        return None
    return Evaluation(
        job_id=job.id,
        kind=EvaluationKind(found["kind"]),
        dataset_id=found["dataset_id"],
        dataset=found["dataset"],
        split=Split(found["split"]),
        n=found["n"],
        skipped=found["skipped"],
        max_length=found["max_length"],
        scores=tuple(_score(one) for one in found["scores"]),
        ended_at=job.ended_at,
    )


def _score(found: dict[str, Any]) -> Score:
    interval = found["interval"]
    return Score(**{**found, "interval": Interval(**interval) if interval else None})
