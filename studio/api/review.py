"""A project's review over HTTP: dashboard, consensus, disagreements and decisions; exports and imports.

Who may do what is decided by the services: all of it is for those who lead the project.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, File, Query, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask

from studio.annotation import Standing, Verdict
from studio.annotation.exchange_files import ExportFormat
from studio.annotation.exchange_pairs import PairRules
from studio.annotation.exchange_rows import Export
from studio.annotation.review_records import (
    Adjudication,
    Consensus,
    Dashboard,
    Disagreement,
    ImportedLabels,
    NewAdjudication,
    Voice,
)
from studio.api.annotation_views import MessageView
from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.api.dataset_views import VersionView, version_view
from studio.core import Role, new_id
from studio.datasets.uploads import UPLOADS

router = APIRouter(prefix="/annotation/{project_id}", tags=["review"])

_READ = allow(Role.ANNOTATOR, Role.RESEARCHER, scope=Scope.READ)
_DECIDE = allow(Role.ANNOTATOR, Role.RESEARCHER, scope=Scope.LABEL)
_IMPORT = allow(Role.ANNOTATOR, Role.RESEARCHER, scope=Scope.DATA)
_MAKE = allow(Role.RESEARCHER, scope=Scope.DATA)

_MEDIA = {
    ExportFormat.JSONL: "application/jsonl",
    ExportFormat.PARQUET: "application/vnd.apache.parquet",
    ExportFormat.CSV: "text/csv; charset=utf-8",
}


class AdjudicationRequest(BaseModel):
    """A decision, with sides as the inbox showed them; sent again with its nonce, it is stored once."""

    model_config = ConfigDict(extra="forbid")

    item_id: str = Field(min_length=1, max_length=100)
    nonce: str = Field(min_length=1, max_length=100)
    verdict: Verdict | None = None
    rating_a: int | None = Field(None, ge=1, le=5)
    rating_b: int | None = Field(None, ge=1, le=5)
    comment: str = Field("", max_length=20_000)
    better_answer: str = Field("", max_length=100_000)


class AdjudicationView(BaseModel):
    """A stored decision; ``standing`` is its verdict in the item's own terms."""

    id: str
    item_id: str
    position: int
    verdict: Verdict
    standing: Standing
    rating_first: int | None
    rating_second: int | None
    comment: str
    better_answer: str
    adjudicator: str
    own_label: bool
    supersedes: str | None
    at: float


class DisagreementView(BaseModel):
    """An item whose people do not agree; ``refusal`` says why the asker may not decide it."""

    item_id: str
    prompt: list[MessageView]
    a: list[MessageView]
    b: list[MessageView]
    first_side: str
    voices: list[Voice]
    consensus: Standing
    probability: float | None
    refusal: str
    own_label: bool


class PreferencesRequest(BaseModel):
    """How to make a preference version of a project; without rules, the usual ones."""

    model_config = ConfigDict(extra="forbid")

    dataset: str = Field(min_length=1, max_length=100)
    minimum_probability: float = Field(PairRules.minimum_probability, ge=0, le=1)
    use_better_answers: bool = True
    validation_fraction: float = Field(PairRules.validation_fraction, ge=0, le=1)
    seed: int = 0
    leave_out_protected: bool = False


@router.get("/review", dependencies=[_READ])
def dashboard(project_id: str, studio: TheStudio, actor: TheActor) -> Dashboard:
    """Progress, people and agreement, for who leads the project."""
    return studio.review.dashboard(actor, project_id)


@router.get("/review/consensus", dependencies=[_READ])
def consensus(project_id: str, studio: TheStudio, actor: TheActor) -> list[Consensus]:
    """What the labels of each item come to."""
    return list(studio.review.consensus(actor, project_id))


@router.get("/review/inbox", dependencies=[_READ])
def inbox(
    project_id: str, studio: TheStudio, actor: TheActor, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> list[DisagreementView]:
    """Items on which people do not agree, the least certain first."""
    return [_disputed(one) for one in studio.review.inbox(actor, project_id, limit)]


@router.get("/review/adjudications", dependencies=[_READ])
def adjudications(project_id: str, studio: TheStudio, actor: TheActor) -> list[AdjudicationView]:
    """The decision that counts of each decided item."""
    return [_view(one) for one in studio.review.adjudications(actor, project_id)]


@router.post("/review/adjudications", status_code=201, dependencies=[_DECIDE])
def adjudicate(
    project_id: str, request: AdjudicationRequest, studio: TheStudio, actor: TheActor
) -> AdjudicationView:
    """Decide an item over its labels."""
    new = NewAdjudication(project_id=project_id, **request.model_dump())
    return _view(studio.review.adjudicate(actor, new))


@router.get("/export/{what}", dependencies=[_READ], response_class=FileResponse)
def export(
    project_id: str,
    what: Export,
    studio: TheStudio,
    actor: TheActor,
    format: ExportFormat = ExportFormat.JSONL,
    leave_out_protected: bool = False,
) -> FileResponse:
    """A file with the labels, the consensus, or the preference pairs; CSV cells are safe in a spreadsheet."""
    folder = Path(tempfile.mkdtemp(prefix="tandem-export-"))
    try:
        path = studio.exchange.export(
            actor, project_id, what, format, folder, leave_out_protected=leave_out_protected
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    gone = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(path, media_type=_MEDIA[format], filename=path.name, background=gone)


@router.post("/export/preferences", status_code=201, dependencies=[_MAKE])
def preferences(
    project_id: str, request: PreferencesRequest, studio: TheStudio, actor: TheActor
) -> VersionView:
    """Make a preference version of the consensus; each row leads back to its labels."""
    values = request.model_dump()
    dataset, leave_out = values.pop("dataset"), values.pop("leave_out_protected")
    made = studio.exchange.preferences(
        actor, project_id, dataset, PairRules(**values), leave_out_protected=leave_out
    )
    return version_view(made)


@router.post("/import", status_code=201, dependencies=[_IMPORT])
def import_labels(
    project_id: str, studio: TheStudio, actor: TheActor, file: Annotated[UploadFile, File()]
) -> ImportedLabels:
    """Add the labels of an uploaded file (multipart form); every row that is not added is named."""
    folder = studio.settings.home / UPLOADS / new_id("up")
    folder.mkdir(parents=True)
    try:
        # Only the ending of the client's name means anything here.
        suffix = re.sub(r"[^.a-z]", "", Path(file.filename or "").suffix.lower())[:10]
        target = folder / f"labels{suffix}"
        with target.open("wb") as handle:
            shutil.copyfileobj(file.file, handle)
        return studio.exchange.import_labels(actor, project_id, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _disputed(one: Disagreement) -> DisagreementView:
    return DisagreementView(
        item_id=one.item_id,
        prompt=[MessageView(**message) for message in one.prompt],
        a=[MessageView(**message) for message in one.a],
        b=[MessageView(**message) for message in one.b],
        first_side=one.first_side,
        voices=list(one.voices),
        consensus=one.consensus,
        probability=one.probability,
        refusal=one.refusal,
        own_label=one.own_label,
    )


def _view(one: Adjudication) -> AdjudicationView:
    first, second = one.ratings
    return AdjudicationView(
        id=one.id,
        item_id=one.item_id,
        position=one.position,
        verdict=one.verdict,
        standing=one.standing,
        rating_first=first,
        rating_second=second,
        comment=one.comment,
        better_answer=one.better_answer,
        adjudicator=one.adjudicator,
        own_label=one.own_label,
        supersedes=one.supersedes,
        at=one.at,
    )
