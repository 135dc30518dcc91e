"""Pre-flight: what would go wrong with a run, and its rows token by token, before anything is trained."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from studio.api.context import Scope, TheActor, TheStudio, allow
from studio.api.jobs import ProgressView, progress_view
from studio.core import Role
from studio.datasets import Split
from studio.training import Stage, recipe_text
from studio.training.preflight import (
    Finding,
    Histogram,
    Preflight,
    SourceFacts,
    SplitFacts,
    TokenPage,
    TokenPart,
    TokenSequence,
)

router = APIRouter(prefix="/train/preflight", tags=["training"])


class PreflightRequest(BaseModel):
    """A recipe to check, as an object or as YAML text; ``devices`` are GPUs that the run is to have."""

    model_config = ConfigDict(extra="forbid")

    stage: Stage
    recipe: dict[str, Any] | str = Field(
        examples=[{"model": "smollm2-135m-instruct", "dataset": "studio-instructions"}]
    )
    devices: list[int] = Field(default_factory=list, max_length=64)


class FindingView(BaseModel):
    """One finding; ``rows`` are the numbers (from 1) of the first few rows that it is about."""

    severity: str
    field: str
    message: str
    todo: str
    rows: list[int]
    split: str | None
    source: str


class HistogramView(BaseModel):
    """``counts[i]`` rows have ``edges[i]`` up to ``edges[i + 1] - 1`` tokens."""

    edges: list[int]
    counts: list[int]
    shortest: int
    median: int
    longest: int


class SplitView(BaseModel):
    """What one side of a dataset comes to with the recipe."""

    rows: int
    sequences: int
    tokens: int
    learnt_tokens: int
    truncated: int
    left_out: int
    nothing_to_learn: int
    broken: int
    duplicates: int
    lengths: HistogramView


class SourceView(BaseModel):
    """One dataset of the recipe, by side."""

    dataset: str
    version_id: str
    splits: dict[str, SplitView]


class PreflightView(BaseModel):
    """What is known of a recipe; ask again while ``state`` is pending."""

    id: str
    state: str
    stage: str
    recipe: str
    findings: list[FindingView]
    sources: list[SourceView]
    steps: int | None
    padding: float | None
    progress: ProgressView | None
    reason: str


class PartView(BaseModel):
    """A stretch of a row: rows of (text, id, learnt | read | cut, is special, opens a new piece)."""

    name: str
    tokens: list[tuple[str, int, str, bool, bool]]
    more: int


class SequenceView(BaseModel):
    """One row as the trainer gets it."""

    number: int
    length: int
    learnt: int
    cut: int
    padding: int
    left_out: str
    label: bool | None
    parts: list[PartView]


class TokenPageView(BaseModel):
    """Some rows of one side, token by token."""

    rows: list[SequenceView]
    first: int
    total: int
    split: str
    source: str
    sources: list[str]


@router.post("", dependencies=[allow(Role.RESEARCHER, scope=Scope.TRAIN)])
def check(request: PreflightRequest, studio: TheStudio, actor: TheActor) -> PreflightView:
    """Check a recipe; where its rows were not looked at yet, a job begins to."""
    text = request.recipe if isinstance(request.recipe, str) else recipe_text(request.recipe)
    return _view(studio.preflight.check(actor, request.stage, text, tuple(request.devices)))


@router.get("/{preflight_id}", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def get(preflight_id: str, studio: TheStudio, actor: TheActor) -> PreflightView:
    """A check as it stands."""
    return _view(studio.preflight.get(actor, preflight_id))


@router.get("/{preflight_id}/rows", dependencies=[allow(Role.RESEARCHER, scope=Scope.READ)])
def rows(
    preflight_id: str,
    studio: TheStudio,
    actor: TheActor,
    split: Split = Split.TRAIN,
    offset: int = Query(0, ge=0),
    count: int = Query(10, ge=1, le=100),
    search: str = Query("", max_length=200),
    source: int = Query(0, ge=0),
) -> TokenPageView:
    """Some rows token by token, as they will be trained."""
    page = studio.preflight.rows(actor, preflight_id, split, offset, count, search, source)
    return _page(page)


def _view(found: Preflight) -> PreflightView:
    return PreflightView(
        id=found.id,
        state=found.state.value,
        stage=found.stage.value,
        recipe=found.recipe,
        findings=[_finding(one) for one in found.findings],
        sources=[_source(one) for one in found.sources],
        steps=found.steps,
        padding=found.padding,
        progress=progress_view(found.progress),
        reason=found.reason,
    )


def _finding(found: Finding) -> FindingView:
    return FindingView(
        severity=found.severity.value,
        field=found.field,
        message=found.message,
        todo=found.todo,
        rows=list(found.rows),
        split=found.split.value if found.split else None,
        source=found.source,
    )


def _source(found: SourceFacts) -> SourceView:
    splits = {side.value: _split(facts) for side, facts in found.splits.items()}
    return SourceView(dataset=found.reference, version_id=found.version_id, splits=splits)


def _split(facts: SplitFacts) -> SplitView:
    return SplitView(
        rows=facts.rows,
        sequences=facts.sequences,
        tokens=facts.tokens,
        learnt_tokens=facts.learnt_tokens,
        truncated=facts.truncated,
        left_out=facts.left_out,
        nothing_to_learn=facts.nothing_to_learn,
        broken=facts.broken,
        duplicates=facts.duplicates,
        lengths=_histogram(facts.lengths),
    )


def _histogram(lengths: Histogram) -> HistogramView:
    return HistogramView(
        edges=list(lengths.edges),
        counts=list(lengths.counts),
        shortest=lengths.shortest,
        median=lengths.median,
        longest=lengths.longest,
    )


def _page(page: TokenPage) -> TokenPageView:
    return TokenPageView(
        rows=[_sequence(row) for row in page.rows],
        first=page.first,
        total=page.total,
        split=page.split.value,
        source=page.source,
        sources=list(page.sources),
    )


def _sequence(row: TokenSequence) -> SequenceView:
    return SequenceView(
        number=row.number,
        length=row.length,
        learnt=row.learnt,
        cut=row.cut,
        padding=row.padding,
        left_out=row.left_out,
        label=row.label,
        parts=[_part(part) for part in row.parts],
    )


def _part(part: TokenPart) -> PartView:
    tokens = [(one.text, one.id, one.kind.value, one.special, one.new_piece) for one in part.tokens]
    return PartView(name=part.name, tokens=tokens, more=part.more)
