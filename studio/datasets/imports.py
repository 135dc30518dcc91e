"""The import desk: takes a file in, converts it at once or by a job, and publishes what came of it.

Both ways run the same conversion and publish the same way. An import is remembered before its job is
submitted and settled once; to settle it again changes nothing, so a studio that died in between makes
up for it at its next start.
"""

from __future__ import annotations

import shutil
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.actors import LOCAL_ADMIN, Actor, Role
from studio.core.audit import Audit
from studio.core.clock import now
from studio.core.errors import InvalidInput, NotFound, StudioError, Unavailable
from studio.core.files import read_json
from studio.core.ids import new_id
from studio.core.lineage import Node
from studio.core.settings import Settings
from studio.datasets.conversion import FORMATS, check_mapping
from studio.datasets.detection import inspect_file, propose
from studio.datasets.import_errors import error_json, error_of, job_error, never_started
from studio.datasets.importing import REJECTS, ImportOutcome, ImportPlan, run_import
from studio.datasets.naming import check_name
from studio.datasets.protection import PromptGuard
from studio.datasets.readers import MIB
from studio.datasets.records import (
    ColumnMap,
    DatasetVersion,
    ImportReport,
    ImportRequest,
    ImportResult,
    RejectedRow,
    SourceFormat,
)
from studio.datasets.sources import budget_of, resolve_source
from studio.datasets.splits import check_fraction
from studio.datasets.store import DatasetStore, Draft, PendingImport
from studio.datasets.uploads import Uploads
from studio.jobs import Job, JobSpec, JobState

if TYPE_CHECKING:
    from studio.jobs import JobService

KIND = "import"

# An import of the largest file that may be uploaded takes minutes; this only ends a wait for ever.
_WAIT_SECONDS = 6 * 3600.0

# The reject files of imports that made nothing, below the datasets.
_REJECTED = "rejected"

_LEFT_OVER_SECONDS = 24 * 3600.0


class ImportDesk:
    """Imports for ``DatasetService``, which has checked the actor's role."""

    def __init__(
        self,
        store: DatasetStore,
        directory: Path,
        jobs: JobService,
        audit: Audit,
        settings: Settings,
        guard: PromptGuard,
    ) -> None:
        self._store = store
        self._guard = guard
        self._directory = directory
        self._jobs = jobs
        self._audit = audit
        self._settings = settings
        self._uploads = Uploads(settings.home)
        # The tick thread and a waiting caller may both see a job end; one of them settles it.
        self._settling = threading.Lock()

    def import_file(self, actor: Actor, request: ImportRequest) -> ImportResult:
        """Import now if the file is small, else by a job that is waited for."""
        begun = self.begin(actor, request)
        if isinstance(begun, ImportResult):
            return begun
        self._jobs.wait(actor, begun.id, _WAIT_SECONDS)
        return self._waited_for(begun.id)

    def begin(self, actor: Actor, request: ImportRequest) -> ImportResult | Job:
        """Import now if the file is small, else submit the job."""
        self._sweep_uploads(self._store.unsettled_imports())
        plan = self._plan(request)
        if _is_large(plan.source, self._settings):
            return self._submit(actor, request, plan)
        return self._import_now(actor, request, plan)

    def start(self, actor: Actor, request: ImportRequest) -> Job:
        """Submit an import as a job, whatever the file's size."""
        return self._submit(actor, request, self._plan(request))

    def result(self, job_id: str) -> ImportResult | None:
        """What became of an import job; None while it runs.

        Raises:
            NotFound: There is no such import.
            StudioError: The import failed, with the error that it failed with.
        """
        pending = self._pending(job_id)
        if not pending.settled:
            job = self._jobs.get(LOCAL_ADMIN, job_id)
            if not job.state.final:
                return None
            self.settle(job)
            pending = self._pending(job_id)
        if pending.error is not None:
            raise error_of(pending.error)
        version = self._store.by_id(pending.version_id or "")
        if version is None or pending.report is None:
            return None
        return ImportResult(version, self.report_of(pending.report))

    def settle(self, job: Job) -> None:
        """Publish what a finished import job made, or write down why it made nothing."""
        with self._settling:
            pending = self._store.pending_import(job.id)
            if pending is None or pending.settled or not job.state.final:
                return
            staging = self._staging(job.id)
            try:
                result = self._publish_job(job, pending, staging)
                self._store.settle_import(job.id, result.version.id, _report_json(result.report), None)
            except StudioError as error:
                failed = self._keep_rejects_of(error, staging)
                self._store.settle_import(job.id, None, None, error_json(failed))
            except OSError as error:
                lost = Unavailable(f"What the import made cannot be read: {error}.", "Import the file again.")
                self._store.settle_import(job.id, None, None, error_json(lost))
            # Only now: where the database was locked, what the job made is still there for the next attempt.
            shutil.rmtree(staging, ignore_errors=True)
            self._forget_copy(pending)

    def settle_left_over(self) -> None:
        """Settle imports whose jobs ended while no studio was there to see it."""
        unsettled = self._store.unsettled_imports()
        self._sweep(frozenset(unsettled))
        self._sweep_uploads(unsettled)
        self.settle_unsettled()

    def settle_unsettled(self) -> None:
        """Settle every import whose job has ended; those that still run are passed over."""
        for job_id in self._store.unsettled_imports():
            try:
                job = self._jobs.get(LOCAL_ADMIN, job_id)
            except NotFound:
                # The studio died between remembering the import and submitting its job.
                self._store.settle_import(job_id, None, None, error_json(never_started()))
                self._forget_copy(self._pending(job_id))
            else:
                self.settle(job)

    def _sweep(self, unsettled: frozenset[str]) -> None:
        """Remove what imports left that died a day ago; a newer one may be another process's."""
        for left in self._staging("").glob("*"):
            if left.name not in unsettled and now() - left.stat().st_mtime > _LEFT_OVER_SECONDS:
                shutil.rmtree(left, ignore_errors=True)

    def _sweep_uploads(self, unsettled: tuple[str, ...]) -> None:
        """Remove the uploads that nobody took, but none that an import still has to read."""
        pending = (self._store.pending_import(job_id) for job_id in unsettled)
        self._uploads.sweep(Path(one.request["path"]) for one in pending if one and "path" in one.request)

    def _forget_copy(self, pending: PendingImport) -> None:
        if pending.request.get("own_copy"):
            self._uploads.remove(Path(pending.request["path"]))

    def report_of(self, report: dict[str, Any]) -> ImportReport:
        """An import report from its stored JSON."""
        rejects = report["rejects"]
        return ImportReport(
            format=SourceFormat(report["format"]),
            accepted_rows=report["accepted_rows"],
            rejected_rows=report["rejected_rows"],
            rejected=tuple(RejectedRow(**row) for row in report["rejected"]),
            rejects_path=Path(rejects) if rejects else None,
            protected_rows=report.get("protected_rows", 0),
        )

    def _plan(self, request: ImportRequest) -> ImportPlan:
        """What exactly to do, so that nothing is left to detect later."""
        check_name(request.dataset)
        check_fraction(request.validation_fraction)
        source = resolve_source(request.source, self._settings)
        budget = budget_of(self._settings)
        format_, mapping = request.format, request.mapping
        if format_ is None or mapping is None:
            seen = inspect_file(source, budget)
            format_, mapping = _settle_format(
                request, seen.format, seen.mapping, seen.columns, sure=seen.sure
            )
        columns = tuple(mapping.columns.values())
        # Whether the file has the columns is known when all of it was read: a JSON row may leave some out.
        check_mapping(format_, mapping, columns)
        protected = self._guard.shield().digests
        return ImportPlan(
            source, format_, mapping, request.validation_fraction, request.seed, budget, protected
        )

    def _import_now(self, actor: Actor, request: ImportRequest, plan: ImportPlan) -> ImportResult:
        staging = self._staging(new_id("import"))
        try:
            outcome = run_import(plan, staging, lambda _phase, _done, _total: None)
            return self._publish(actor, _remembered(request, plan), outcome, staging)
        except StudioError as error:
            raise self._keep_rejects_of(error, staging) from None
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _submit(self, actor: Actor, request: ImportRequest, plan: ImportPlan) -> Job:
        job_id = new_id("job")
        payload: dict[str, object] = {"plan": plan.payload(), "staging": str(self._staging(job_id))}
        self._store.add_import(job_id, _remembered(request, plan), actor)
        spec = JobSpec(KIND, "studio.datasets.import_job", request.dataset, payload)
        return self._jobs.submit(actor, spec, job_id=job_id)

    def _waited_for(self, job_id: str) -> ImportResult:
        result = self.result(job_id)
        if result is None:
            raise Unavailable(f"The import {job_id} is still running.", "Look at its job later.")
        return result

    def _publish_job(self, job: Job, pending: PendingImport, staging: Path) -> ImportResult:
        made = read_json(job.directory / "result.json") if job.state is JobState.SUCCEEDED else None
        if made is None:
            raise job_error(job)
        actor = Actor(pending.actor, Role(pending.role))
        return self._publish(actor, pending.request, ImportOutcome.parse(made["outcome"]), staging)

    def _publish(
        self, actor: Actor, request: dict[str, Any], outcome: ImportOutcome, staging: Path
    ) -> ImportResult:
        report = ImportReport(
            format=outcome.format,
            accepted_rows=sum(outcome.rows.values()),
            rejected_rows=outcome.rejected_rows,
            rejected=outcome.rejected,
            rejects_path=None,
            protected_rows=outcome.protected_rows,
        )
        draft = Draft(
            dataset=request["dataset"],
            description=request["description"],
            kind=outcome.kind,
            digest=outcome.digest,
            rows=outcome.rows,
            parents=(),
            steps=_steps(request, outcome),
            licence=request["licence"],
            report=_report_json(report),
        )
        version, new = self._store.publish(draft, staging, actor)
        report = replace(report, rejects_path=self._keep_rejects(version, staging))
        verb = "imported" if new else "imported again"
        self._audit.record(
            actor, verb, Node("dataset_version", version.id), f"{request['source']} as {version.reference}"
        )
        return ImportResult(version, report)

    def _keep_rejects(self, version: DatasetVersion, staging: Path) -> Path | None:
        """Where the rejects are: with the version, or beside it where the version was there before."""
        again = staging / REJECTS
        if again.exists():
            kept = self._directory / "repeated" / f"{version.id}-{staging.name}.jsonl"
            kept.parent.mkdir(exist_ok=True)
            again.replace(kept)
            return kept
        path = version.directory / REJECTS
        return path if path.exists() else None

    def _keep_rejects_of(self, error: StudioError, staging: Path) -> StudioError:
        """The error of an import that made nothing, with the place of the rows that it set aside.

        Only an error about the content leaves a reject file that is worth keeping: what a stopped or
        killed import wrote is cut short, and the next try writes it anew.
        """
        kept = self._directory / _REJECTED / f"{staging.name}.jsonl"
        if not isinstance(error, InvalidInput):
            return error
        if (staging / REJECTS).exists():
            kept.parent.mkdir(exist_ok=True)
            (staging / REJECTS).replace(kept)
        # A studio that died after the move finds the file in its place.
        if not kept.exists():
            return error
        return InvalidInput(
            error.message, f"{error.todo} Every row that was set aside: {kept}".strip(), error.details
        )

    def _pending(self, job_id: str) -> PendingImport:
        pending = self._store.pending_import(job_id)
        if pending is None:
            raise NotFound(f"No import has the job {job_id}.", "Look it up among the jobs.")
        return pending

    def _staging(self, name: str) -> Path:
        return self._directory / ".staging" / name


def _is_large(source: Path, settings: Settings) -> bool:
    """Whether a file goes to a job: by its size, and a Parquet file by what it says it unpacks to."""
    size = source.stat().st_size
    if source.suffix.lower() == ".parquet":
        from studio.datasets.parquet_source import claimed_bytes

        size = max(size, claimed_bytes(source))
    return size > settings.import_inline_mb * MIB


def _settle_format(
    request: ImportRequest,
    seen: SourceFormat | None,
    mapping: ColumnMap,
    columns: tuple[str, ...],
    *,
    sure: bool,
) -> tuple[SourceFormat, ColumnMap]:
    """What was asked for, completed by what was seen where that leaves no doubt."""
    if request.mapping is not None:
        return _format_of(request.mapping), request.mapping
    if request.format is not None:
        return request.format, mapping if request.format is seen else propose(request.format, columns)
    if seen is None or not sure:
        raise InvalidInput(
            f"It is not clear what {request.source.name} holds.",
            "Choose its format and which column plays which part.",
            (f"columns: {', '.join(columns) or 'none'}", f"perhaps: {_in_words(seen, mapping)}"),
        )
    return seen, mapping


def _in_words(format_: SourceFormat | None, mapping: ColumnMap) -> str:
    if format_ is None:
        return "no known format"
    return format_.value + ", " + ", ".join(f"{part} = {column}" for part, column in mapping.columns.items())


def _format_of(mapping: ColumnMap) -> SourceFormat:
    """The format that has exactly the parts of a map; the most demanding first."""
    parts = set(mapping.columns)
    order = sorted(FORMATS, key=lambda name: -len(FORMATS[name].required))
    for format_ in order:
        spec = FORMATS[format_]
        if set(spec.required) <= parts <= {*spec.required, *spec.optional}:
            return SourceFormat.MESSAGES if format_ is SourceFormat.SHAREGPT else format_
    raise InvalidInput(f"No format has the parts {', '.join(sorted(parts))}.", "Choose a format too.")


def _remembered(request: ImportRequest, plan: ImportPlan) -> dict[str, Any]:
    return {
        "dataset": request.dataset,
        "source": request.source.name,
        "format": plan.format.value,
        "mapping": plan.mapping.columns,
        "validation_fraction": plan.validation_fraction,
        "seed": plan.seed,
        "licence": request.licence,
        "description": request.description,
        "path": str(plan.source),
        "own_copy": request.own_copy,
    }


def _steps(request: dict[str, Any], outcome: ImportOutcome) -> tuple[dict[str, Any], ...]:
    read = {
        "step": "import",
        "source": request["source"],
        "sha256": outcome.source_digest,
        "format": request["format"],
        "columns": request["mapping"],
        "unused_columns": list(outcome.unused_columns),
        "accepted_rows": sum(outcome.rows.values()),
        "rejected_rows": outcome.rejected_rows,
    }
    split = {
        "step": "split",
        "by": "prompt",
        "fraction": request["validation_fraction"],
        "seed": request["seed"],
    }
    return (read, split)


def _report_json(report: ImportReport) -> dict[str, Any]:
    value = asdict(report)
    path = value.pop("rejects_path")
    return {**value, "rejects": str(path) if path else None}
