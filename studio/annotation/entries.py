"""Labels and projects as the database holds them, read back."""

from __future__ import annotations

import json

from studio.annotation.records import (
    Entry,
    ItemKind,
    Label,
    Members,
    Project,
    ProjectState,
    Source,
    Task,
    Verdict,
)
from studio.core import Role
from studio.core.database import Row


def entry_of(row: Row) -> Entry:
    """The entry that a row of ``labels`` holds."""
    return Entry(_label(row), row["position"], ItemKind(row["kind"]), row["first_side"])


def project_of(row: Row) -> Project:
    """The project that a row of ``projects`` with its newest guideline holds."""
    return Project(
        id=row["id"],
        name=row["name"],
        task=Task(row["task"]),
        source=Source(row["source"]),
        state=ProjectState(row["state"]),
        dataset_version_id=row["dataset_version_id"],
        guideline=row["guideline"],
        guideline_version=row["guideline_version"],
        overlap=row["overlap"],
        target=row["target"],
        members=Members(
            tuple(Role(role) for role in json.loads(row["roles"])), tuple(json.loads(row["people"]))
        ),
        models=tuple(json.loads(row["models"])),
        suggestion_model=row["suggestion_model"],
        gold_version_id=row["gold_version_id"],
        gold_every=row["gold_every"],
        repeat_every=row["repeat_every"],
        lease_seconds=row["lease_seconds"],
        items=row["items"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        job_id=row["job_id"],
        problem=row["problem"],
    )


def _label(row: Row) -> Label:
    return Label(
        id=row["id"],
        project_id=row["project_id"],
        item_id=row["item_id"],
        verdict=Verdict(row["verdict"]),
        strength=row["strength"],
        rating_a=row["rating_a"],
        rating_b=row["rating_b"],
        withdrawn=bool(row["withdrawn"]),
        comment=row["comment"],
        reason=row["reason"],
        better_answer=row["better_answer"],
        annotator=row["annotator"],
        guideline_version=row["guideline_version"],
        supersedes=row["supersedes"],
        shown_at=row["shown_at"],
        labelled_at=row["labelled_at"],
        active_seconds=row["active_seconds"],
        suggested=Verdict(row["suggested"]) if row["suggested"] else None,
        origin=row["origin"],
        restores=row["restores"],
    )
