"""Datasets: files become immutable versions of canonical rows, and votes become preference versions.

A file is read as a stream under budgets, converted row by row, and every row that does not fit is set
aside with its reason; what fits is split by prompt and stored as one Parquet file a split.
The room knows rows, versions and how they came about; it does not train, serve or judge anything.
"""

from studio.datasets.canonical import normalise, prompt_key
from studio.datasets.records import (
    Candidate,
    ColumnMap,
    DatasetSummary,
    DatasetVersion,
    ImportReport,
    ImportRequest,
    ImportResult,
    Inspection,
    Judgement,
    LeftOut,
    Message,
    NewVersion,
    Opinion,
    Outcome,
    Page,
    PreferenceReport,
    PreferenceResult,
    PreferenceSettings,
    RejectedRow,
    SchemaKind,
    SourceFormat,
    Split,
)
from studio.datasets.service import DatasetService

__all__ = [
    "Candidate",
    "ColumnMap",
    "DatasetService",
    "DatasetSummary",
    "DatasetVersion",
    "ImportReport",
    "ImportRequest",
    "ImportResult",
    "Inspection",
    "Judgement",
    "LeftOut",
    "Message",
    "NewVersion",
    "Opinion",
    "Outcome",
    "Page",
    "PreferenceReport",
    "PreferenceResult",
    "PreferenceSettings",
    "RejectedRow",
    "SchemaKind",
    "SourceFormat",
    "Split",
    "normalise",
    "prompt_key",
]
