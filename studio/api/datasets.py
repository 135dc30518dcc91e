"""Datasets: inspect and import files, read versions, join them, and build preferences from votes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Query, Response, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.api.dataset_views import ReportView, VersionView, report_view, version_view
from studio.api.jobs import JobView, job_view
from studio.core import InvalidInput, NotFound, Role, StudioError, new_id
from studio.datasets import (
    ColumnMap,
    ImportRequest,
    ImportResult,
    PreferenceReport,
    PreferenceSettings,
    SourceFormat,
    Split,
)
from studio.datasets.uploads import UPLOADS
from studio.jobs import Job

router = APIRouter(prefix="/datasets", tags=["datasets"])

_LONGEST_NAME = 200


class DatasetView(BaseModel):
    """A dataset with its newest version."""

    id: str
    name: str
    description: str
    versions: int
    latest: VersionView


class ImportedView(BaseModel):
    """The version that an import made and its report, or the job that imports a large file."""

    version: VersionView | None = None
    report: ReportView | None = None
    job: JobView | None = None


class ErrorView(BaseModel):
    """Why an import made nothing, and what to do."""

    message: str
    todo: str
    details: list[str]


class ImportState(BaseModel):
    """An import job; the version and its report once it is done, the error if it made nothing."""

    job: JobView
    version: VersionView | None = None
    report: ReportView | None = None
    error: ErrorView | None = None


class PathImport(BaseModel):
    """A file on the studio's machine to import. Left out: ``format`` and ``columns`` are detected."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1, max_length=4096)
    dataset: str = Field(min_length=1, max_length=100)
    format: SourceFormat | None = None
    columns: dict[str, str] | None = None
    validation_fraction: float = Field(0.1, ge=0, le=1)
    seed: int = 0
    licence: str = Field("", max_length=200)


class InspectionView(BaseModel):
    """What a file looks like; ``sure`` is false where a person should choose the columns."""

    columns: list[str]
    format: str | None
    sure: bool
    mapping: dict[str, str]
    sample: list[dict[str, Any]]
    note: str


class PageView(BaseModel):
    """Some rows of a version; ``total`` counts what the search matches."""

    rows: list[dict[str, Any]]
    first: int
    total: int


class JoinRequest(BaseModel):
    """Versions of one kind to join into a version of ``dataset``.

    A prompt that is used for evaluation or as gold is refused among rows to train on, or left out.
    """

    model_config = ConfigDict(extra="forbid")

    dataset: str = Field(min_length=1, max_length=100)
    versions: list[str] = Field(min_length=1, max_length=100)
    seed: int = 0
    leave_out_protected: bool = False


class PreferenceRequest(BaseModel):
    """A preference dataset to build from votes, labels and thumbs, joined by imported versions."""

    model_config = ConfigDict(extra="forbid")

    dataset: str = Field(min_length=1, max_length=100)
    join: list[str] = Field(default_factory=list, max_length=100)
    validation_fraction: float = Field(0.1, ge=0, le=0.9)
    seed: int = 0
    minimum_agreement: float = Field(0.5, ge=0, le=1)
    use_better_answers: bool = True
    include_scripted: bool = False
    leave_out_protected: bool = False


class LeftOutView(BaseModel):
    """A reason and how many judgements it kept out."""

    why: str
    count: int


class PreferenceView(BaseModel):
    """The versions that a build made and its report."""

    version: VersionView
    unpaired: VersionView | None
    judgements: int
    pairs: int
    unpaired_rows: int
    left_out: list[LeftOutView]


@router.get("", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def list_datasets(studio: TheStudio, actor: TheActor) -> list[DatasetView]:
    """Every dataset with its newest version."""
    return [
        DatasetView(
            id=s.id,
            name=s.name,
            description=s.description,
            versions=s.versions,
            latest=version_view(s.latest),
        )
        for s in studio.datasets.list(actor)
    ]


@router.post("/inspect", dependencies=[allow(Role.RESEARCHER, scope=Scope.DATA)])
def inspect(
    path: Annotated[str, Form(max_length=4096)], studio: TheStudio, actor: TheActor
) -> InspectionView:
    """Look at a file on the studio's machine before importing it."""
    found = studio.datasets.inspect(actor, Path(path))
    return InspectionView(
        columns=list(found.columns),
        format=found.format.value if found.format else None,
        sure=found.sure,
        mapping=found.mapping.columns,
        sample=list(found.sample),
        note=found.note,
    )


@router.post("/import", status_code=201, dependencies=[allow(Role.RESEARCHER, scope=Scope.DATA)])
def import_path(request: PathImport, studio: TheStudio, actor: TheActor, response: Response) -> ImportedView:
    """Import a file by its path on the studio's machine; a large one answers 202 with the job."""
    wanted = ImportRequest(
        source=Path(request.path),
        dataset=request.dataset,
        format=request.format,
        mapping=ColumnMap(request.columns) if request.columns else None,
        validation_fraction=request.validation_fraction,
        seed=request.seed,
        licence=request.licence,
    )
    return _begun(studio.datasets.begin_import(actor, wanted), response)


@router.post("/upload", status_code=201, dependencies=[allow(Role.RESEARCHER, scope=Scope.DATA)])
def upload(
    studio: TheStudio,
    actor: TheActor,
    response: Response,
    file: Annotated[UploadFile, File()],
    dataset: Annotated[str, Form(min_length=1, max_length=100)],
    format: Annotated[SourceFormat | None, Form()] = None,
    validation_fraction: Annotated[float, Form(ge=0, le=1)] = 0.1,
    seed: Annotated[int, Form()] = 0,
    licence: Annotated[str, Form(max_length=200)] = "",
) -> ImportedView:
    """Import an uploaded file (multipart form); a large one answers 202 with the job."""
    folder = studio.settings.home / UPLOADS / new_id("up")
    folder.mkdir(parents=True)
    begun: ImportResult | Job | None = None
    try:
        target = folder / _safe_name(file.filename)
        with target.open("wb") as handle:
            shutil.copyfileobj(file.file, handle)
        wanted = ImportRequest(
            source=target,
            dataset=dataset,
            format=format,
            validation_fraction=validation_fraction,
            seed=seed,
            licence=licence,
            own_copy=True,
        )
        begun = studio.datasets.begin_import(actor, wanted)
    finally:
        # A job reads the file later; it goes when the job is settled.
        if not isinstance(begun, Job):
            shutil.rmtree(folder, ignore_errors=True)
    return _begun(begun, response)


@router.get("/imports/{job_id}", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def import_state(job_id: str, studio: TheStudio, actor: TheActor) -> ImportState:
    """How far the import of a large file is, and what became of it."""
    # The job first: where it is final, the outcome that is read after it is there.
    job = studio.jobs.get(actor, job_id)
    state = ImportState(job=job_view(job, studio.jobs.progress(actor, job_id)))
    try:
        result = studio.datasets.import_result(actor, job_id)
    except NotFound:
        raise
    except StudioError as error:
        state.error = ErrorView(message=error.message, todo=error.todo, details=list(error.details))
        return state
    if result:
        state.version, state.report = version_view(result.version), report_view(result.report)
    return state


@router.post("/join", status_code=201, dependencies=[allow(Role.RESEARCHER, scope=Scope.DATA)])
def join(request: JoinRequest, studio: TheStudio, actor: TheActor) -> VersionView:
    """Join versions of one kind; a prompt that was held out stays held out."""
    made = studio.datasets.join(
        actor,
        request.dataset,
        tuple(request.versions),
        request.seed,
        leave_out_protected=request.leave_out_protected,
    )
    return version_view(made)


@router.post("/preferences", status_code=201, dependencies=[allow(Role.RESEARCHER, scope=Scope.DATA)])
def build_preferences(request: PreferenceRequest, studio: TheStudio, actor: TheActor) -> PreferenceView:
    """Build a preference dataset version from every vote, label and thumb there is."""
    settings = PreferenceSettings(
        validation_fraction=request.validation_fraction,
        seed=request.seed,
        minimum_agreement=request.minimum_agreement,
        use_better_answers=request.use_better_answers,
    )
    made = studio.build_preferences(
        actor,
        request.dataset,
        settings,
        tuple(request.join),
        include_scripted=request.include_scripted,
        leave_out_protected=request.leave_out_protected,
    )
    return PreferenceView(
        version=version_view(made.version),
        unpaired=version_view(made.unpaired) if made.unpaired else None,
        judgements=made.report.judgements,
        pairs=made.report.pairs,
        unpaired_rows=made.report.unpaired,
        left_out=_left_out(made.report),
    )


@router.get("/{reference}", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def version(reference: str, studio: TheStudio, actor: TheActor) -> VersionView:
    """One version by id, ``name@number`` or ``name`` (the newest)."""
    return version_view(studio.datasets.version(actor, reference))


@router.get("/{reference}/versions", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def versions(reference: str, studio: TheStudio, actor: TheActor) -> list[VersionView]:
    """Every version of a dataset."""
    return [version_view(v) for v in studio.datasets.versions(actor, reference)]


@router.get("/{reference}/rows", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def rows(
    reference: str,
    studio: TheStudio,
    actor: TheActor,
    split: Split = Split.TRAIN,
    offset: int = Query(0, ge=0),
    limit: int = Query(20, ge=1, le=200),
    search: str = Query("", max_length=500),
) -> PageView:
    """A page of rows in canonical form."""
    found = studio.datasets.version(actor, reference)
    page = studio.datasets.page(actor, found.id, split, offset, limit, search)
    return PageView(rows=list(page.rows), first=page.first, total=page.total)


@router.get("/{reference}/report", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def report(reference: str, studio: TheStudio, actor: TheActor) -> ReportView | None:
    """The import report of a version; null where it was not imported."""
    found = studio.datasets.report(actor, studio.datasets.version(actor, reference).id)
    return report_view(found) if found else None


@router.get("/{reference}/rejects", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def rejects(reference: str, studio: TheStudio, actor: TheActor) -> FileResponse:
    """The rejected rows of an import as JSONL, each with its number, field and reason."""
    path = studio.datasets.rejects(actor, studio.datasets.version(actor, reference).id)
    return FileResponse(path, media_type="application/jsonl", filename="rejects.jsonl")


def _begun(begun: ImportResult | Job, response: Response) -> ImportedView:
    if isinstance(begun, ImportResult):
        return ImportedView(version=version_view(begun.version), report=report_view(begun.report))
    response.status_code = 202
    return ImportedView(job=job_view(begun, None))


def _left_out(found: PreferenceReport) -> list[LeftOutView]:
    return [LeftOutView(why=item.why, count=item.count) for item in found.left_out]


def _safe_name(name: str | None) -> str:
    safe = Path((name or "").replace("\\", "/")).name
    if not safe or safe.startswith(".") or "\0" in safe:
        raise InvalidInput("The uploaded file has no usable name.", "Give it a name such as rows.jsonl.")
    # File systems take 255 bytes; what matters of a long name is its ending.
    return safe.encode()[-_LONGEST_NAME:].decode(errors="ignore")
