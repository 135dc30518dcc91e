"""Dataset versions and their import reports as clients see them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from studio.api.marks import MarkView, mark_views
from studio.datasets import DatasetVersion, ImportReport


class VersionView(BaseModel):
    """One immutable version of a dataset; ``marks`` say what happened to people behind its rows."""

    id: str
    reference: str
    dataset: str
    number: int
    kind: str
    digest: str
    rows: dict[str, int]
    parents: list[str]
    steps: list[dict[str, Any]]
    licence: str
    created_at: float
    marks: list[MarkView]


class RejectView(BaseModel):
    """A row that was set aside."""

    row: int
    field: str
    why: str


class ReportView(BaseModel):
    """What became of an imported file; ``rejected`` shows the first of the rejected rows.

    ``protected_rows`` counts rows for training whose prompt is used for evaluation or as gold.
    """

    format: str
    accepted_rows: int
    rejected_rows: int
    rejected: list[RejectView]
    protected_rows: int


def version_view(version: DatasetVersion) -> VersionView:
    """A version as clients see it."""
    return VersionView(
        id=version.id,
        reference=version.reference,
        dataset=version.name,
        number=version.number,
        kind=version.kind.value,
        digest=version.digest,
        rows={split.value: count for split, count in version.rows.items()},
        parents=list(version.parents),
        steps=list(version.steps),
        licence=version.licence,
        created_at=version.created_at,
        marks=mark_views(version.marks),
    )


def report_view(found: ImportReport) -> ReportView:
    """An import's report as clients see it."""
    return ReportView(
        format=found.format.value,
        accepted_rows=found.accepted_rows,
        rejected_rows=found.rejected_rows,
        rejected=[RejectView(row=r.row, field=r.field, why=r.why) for r in found.rejected],
        protected_rows=found.protected_rows,
    )
