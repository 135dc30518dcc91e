"""What models do for a project: write its items, and say what they think of them.

``AnnotationService`` asks for it when a project is opened; the work itself is done by jobs, and
``settle`` brings home what they made. The id of a job follows from its project's, so asking twice
submits one job, and whatever is settled twice changes nothing.

Rights: ``check``, ``write_candidates`` and ``suggest`` read datasets and models as the person who asks.
What follows from it later (opening the project, the suggestions after the candidates) is done by the
studio itself.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from studio.annotation.candidates import ITEMS, CandidatesTask, Writer
from studio.annotation.records import (
    ItemKind,
    NewProject,
    Project,
    ProjectState,
    Source,
    Standing,
    StoredItem,
    Task,
)
from studio.annotation.suggestions import (
    MARGINS,
    SuggestionsTask,
    comparable,
    item_lines,
    opinions,
    read_lines,
)
from studio.core import (
    SYSTEM,
    Actor,
    Edge,
    InvalidInput,
    Lineage,
    Node,
    NotFound,
    Role,
    now,
    read_json,
    require,
)
from studio.core.files import write_text
from studio.datasets import DatasetService, SchemaKind, Split
from studio.jobs import Job, JobService, JobSpec, JobState, Slot
from studio.registry import ModelKind, RegistryService

CANDIDATES, SUGGESTIONS = "candidates", "suggestions"

_PROMPTS = (SchemaKind.INSTRUCTION, SchemaKind.PREFERENCE, SchemaKind.UNPAIRED)
# Everything that the jobs read is on disk already; threads that spin would take the cores of others.
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_WAIT_POLICY": "PASSIVE"}

#: A project that was stored this long ago has its job, or will never have one.
_PATIENCE_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Shelf(Protocol):
    """What is used of the annotation store."""

    def project(self, project_id: str) -> Project | None:
        """The project with that id."""

    def projects(self) -> tuple[Project, ...]:
        """All projects."""

    def items(self, project_id: str) -> tuple[StoredItem, ...]:
        """Its items."""

    def add_items(self, project_id: str, items: tuple[StoredItem, ...]) -> object:
        """Add items; the store gives them their ids and positions."""

    def set_job(self, project_id: str, job_id: str) -> object:
        """Name the job that works for it."""

    def set_state(self, project_id: str, state: ProjectState, problem: str = "") -> object:
        """Change where it stands."""

    def add_suggestions(self, project_id: str, found: Mapping[int, tuple[Standing, float]]) -> object:
        """Keep what a model thinks of the items at some positions."""


class ModelWork:
    """Starts the jobs and settles them.

    Args:
        shelf: The annotation room's store.
        home: The studio's home; what the jobs read lies under ``home/annotation``.
        jobs: Runs the work.
        datasets: Knows the prompts.
        registry: Knows the models.
        lineage: Learns which models wrote a project's items.
    """

    def __init__(
        self,
        shelf: Shelf,
        home: Path,
        jobs: JobService,
        datasets: DatasetService,
        registry: RegistryService,
        lineage: Lineage,
    ) -> None:
        self._shelf = shelf
        self._directory = home / "annotation"
        self._jobs = jobs
        self._datasets = datasets
        self._registry = registry
        self._lineage = lineage

    def check(self, actor: Actor, new: NewProject) -> None:
        """See that what ``new`` asks of models can be done, before the project is stored.

        Raises:
            InvalidInput: The task, the dataset or the number of models does not fit.
            NotFound: There is no such dataset version or model.
        """
        require(actor, Role.RESEARCHER)
        if new.suggestion_model:
            if new.source is Source.ARENA:
                raise InvalidInput(
                    "A model's suggestions are computed once, when a project is opened, and battles of the "
                    "arena come later.",
                    "Leave the suggestion model out, or take the items from a dataset.",
                )
            if new.task not in (Task.PREFERENCE, Task.RATING):
                raise InvalidInput(
                    f"A model suggests which of two answers is better, and the task {new.task} has no such "
                    "choice.",
                    "Leave the suggestion model out, or choose preference or rating.",
                )
            self._writer(actor, new.suggestion_model)
        if new.source is Source.CANDIDATES:
            self._task(actor, new.dataset, new.models, new.target, "check")

    def write_candidates(self, actor: Actor, project: Project) -> Job:
        """Let the project's two models answer its prompts; the project opens when the job is settled.

        Raises:
            InvalidInput: As ``check``.
            NotFound: There is no such dataset version or model.
        """
        require(actor, Role.RESEARCHER)
        source = project.dataset_version_id or ""
        task = self._task(actor, source, project.models, project.target, project.id)
        self._lineage.link(
            Edge(Node("project", project.id), Node("model_version", writer.id), "written_by")
            for writer in task.writers
        )
        job = self._submit(actor, CANDIDATES, project.id, task.payload())
        self._shelf.set_job(project.id, job.id)
        return job

    def suggest(self, actor: Actor, project: Project) -> Job | None:
        """Let the project's suggestion model score its items; None where no item has two answers.

        Raises:
            NotFound: There is no such model.
        """
        require(actor, Role.RESEARCHER)
        items = comparable(self._shelf.items(project.id))
        if not items or not project.suggestion_model:
            return None
        model = self._writer(actor, project.suggestion_model)
        folder = self._folder(project.id)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / ITEMS
        write_text(path, item_lines(items))
        return self._submit(actor, SUGGESTIONS, project.id, SuggestionsTask(path, model).payload())

    def settle(self, jobs: tuple[Job, ...]) -> None:
        """Bring home what finished jobs made; jobs of other kinds are passed over."""
        for job in jobs:
            if job.kind == CANDIDATES:
                self._settle_candidates(job)
            elif job.kind == SUGGESTIONS:
                self._settle_suggestions(job)

    def settle_again(self) -> None:
        """Make good what an earlier attempt could not settle, and end what waits for a job in vain."""
        for project in self._shelf.projects():
            if project.state is ProjectState.PREPARING and now() - project.created_at > _PATIENCE_SECONDS:
                self._settle_waiting(project)

    def _settle_waiting(self, project: Project) -> None:
        try:
            job = self._jobs.get(SYSTEM, job_id(CANDIDATES, project.id))
        except NotFound:
            # The process died between the project's row and the job's.
            self._shelf.set_state(project.id, ProjectState.FAILED, "The models' work was never queued.")
            return
        if job.state.final:
            self._settle_candidates(job)

    def _settle_candidates(self, job: Job) -> None:
        project = self._shelf.project(job.subject)
        if project is None or project.state is not ProjectState.PREPARING:
            return
        if job.state is not JobState.SUCCEEDED:
            why = job.reason or f"The models' work was {job.state.value}."
            self._shelf.set_state(project.id, ProjectState.FAILED, why)
            return
        if not any(item.kind is ItemKind.DATA for item in self._shelf.items(project.id)):
            self._shelf.add_items(project.id, _written(job))
        self._shelf.set_state(project.id, ProjectState.OPEN, _left_out(job))
        if project.suggestion_model:
            self._suggest_later(project)

    def _suggest_later(self, project: Project) -> None:
        """Suggestions after candidates; the project is open already and does not fail over them."""
        try:
            self.suggest(SYSTEM, project)
        except Exception:
            _log.exception("The suggestions of %s could not be started.", project.id)

    def _settle_suggestions(self, job: Job) -> None:
        project = self._shelf.project(job.subject)
        if project is not None and job.state is JobState.SUCCEEDED:
            self._shelf.add_suggestions(project.id, opinions(read_lines(job.directory / MARGINS)))
        elif project is not None and project.state is not ProjectState.FAILED:
            why = f"There are no suggestions: {job.reason or job.state.value}"
            if project.problem != why:
                self._shelf.set_state(project.id, project.state, why)
        shutil.rmtree(self._folder(job.subject), ignore_errors=True)

    def _task(
        self, actor: Actor, dataset: str, models: tuple[str, ...], target: int | None, seed: str
    ) -> CandidatesTask:
        version = self._datasets.version(actor, dataset)
        if version.kind not in _PROMPTS or not version.total_rows:
            raise InvalidInput(
                f"{version.reference} has no prompts that models can answer (it is {version.kind.value}, "
                f"{version.total_rows} rows).",
                "Choose a version of instructions or preferences.",
            )
        if len(models) != 2:
            raise InvalidInput(
                f"Two models write the candidates, and {len(models)} are named.", "Name two model versions."
            )
        digest = hashlib.sha256(seed.encode()).digest()
        files = tuple(version.file(split) for split in Split if version.rows.get(split))
        writers = tuple(self._writer(actor, model) for model in models)
        return CandidatesTask(files, version.kind, target, int.from_bytes(digest[:4], "big"), writers)

    def _writer(self, actor: Actor, reference: str) -> Writer:
        model = self._registry.version(actor, reference)
        model.must_write()
        base = self._registry.version(SYSTEM, model.base_id)
        adapter = model.path if model.kind is ModelKind.ADAPTER else None
        return Writer(model.id, model.reference, base.path, adapter)

    def _submit(self, actor: Actor, kind: str, project_id: str, payload: dict[str, object]) -> Job:
        module = f"studio.annotation.{kind}_job"
        spec = JobSpec(kind, module, project_id, payload, Slot.TRAINING, _ENVIRONMENT)
        return self._jobs.submit(actor, spec, job_id=job_id(kind, project_id))

    def _folder(self, project_id: str) -> Path:
        return self._directory / project_id


def job_id(kind: str, project_id: str) -> str:
    """The id of a project's job of a kind; a project has at most one of each."""
    return f"{kind}_{project_id}"


def _written(job: Job) -> tuple[StoredItem, ...]:
    return tuple(
        StoredItem(
            id="",
            position=place,
            kind=ItemKind.DATA,
            prompt=tuple(line["prompt"]),
            first=tuple(line["first"]),
            second=tuple(line["second"]),
        )
        for place, line in enumerate(read_lines(job.directory / ITEMS))
    )


def _left_out(job: Job) -> str:
    """What an open project says of prompts that gave no item; empty where all did."""
    found: dict[str, Any] = read_json(job.directory / "result.json") or {}
    parts = [f"{count} {why}" for why, count in found.get("left_out", {}).items()]
    return f"Left out of {found.get('prompts')} prompts: {', '.join(parts)}." if parts else ""
