"""What the annotation routes take and answer."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from studio.annotation import (
    Item,
    Label,
    Progress,
    Project,
    ProjectState,
    Source,
    Task,
    Verdict,
    leads,
)
from studio.annotation.membership import as_told
from studio.core import Actor, Role

_NAME, _TEXT = 200, 20_000


class ProjectRequest(BaseModel):
    """A project to open; see ``docs/guide.md``. ``roles`` and ``people`` are who may label."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field("", max_length=_NAME)
    task: Task = Task.PREFERENCE
    source: Source = Source.DATASET
    dataset: str = Field("", max_length=_NAME)
    guideline: str = Field("", max_length=_TEXT)
    overlap: int = 1
    target: int | None = None
    roles: list[Role] = Field(default=[Role.ANNOTATOR], max_length=10)
    people: list[str] = Field(default=[], max_length=1000)
    models: list[str] = Field(default=[], max_length=2)
    suggestion_model: str = Field("", max_length=_NAME)
    gold: str = Field("", max_length=_NAME)
    gold_every: int = 10
    repeat_every: int = 0
    lease_seconds: int = 900


class ProjectChangeRequest(BaseModel):
    """What is to change; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, max_length=_NAME)
    guideline: str | None = Field(None, max_length=_TEXT)
    overlap: int | None = None
    roles: list[Role] | None = Field(None, max_length=10)
    people: list[str] | None = Field(None, max_length=1000)
    state: ProjectState | None = None
    lease_seconds: int | None = None
    gold_every: int | None = None
    repeat_every: int | None = None


class Quality(BaseModel):
    """How a project checks its people; its lead alone is told."""

    gold_version_id: str | None
    gold_every: int
    repeat_every: int
    roles: list[Role]
    people: list[str]
    job_id: str | None


class ProjectView(BaseModel):
    """A project; for those who do not lead it ``quality`` is null and ``problem`` says nothing in detail."""

    id: str
    name: str
    task: Task
    source: Source
    state: ProjectState
    problem: str
    dataset_version_id: str | None
    guideline: str
    guideline_version: int
    overlap: int
    target: int | None
    models: list[str]
    suggestion_model: str
    lease_seconds: int
    items: int
    created_at: float
    created_by: str
    quality: Quality | None


class GuidelineView(BaseModel):
    """One version of a guideline."""

    version: int
    text: str


class MessageView(BaseModel):
    """One turn of a conversation."""

    role: str
    content: str


class SuggestionView(BaseModel):
    """What a model would say, seen from the asker's side; ``margin`` is in nats."""

    verdict: Verdict
    model: str
    margin: float


class ItemView(BaseModel):
    """One item as it is shown; ``b`` is empty where there is one answer."""

    id: str
    prompt: list[MessageView]
    a: list[MessageView]
    b: list[MessageView]
    leased_until: float | None
    suggestion: SuggestionView | None


class ItemsRequest(BaseModel):
    """Items by their ids."""

    model_config = ConfigDict(extra="forbid")

    items: list[str] = Field(max_length=200)


class LabelRequest(BaseModel):
    """A label; ``nonce`` is the client's own id for it: sent again, it is stored once."""

    model_config = ConfigDict(extra="forbid")

    item_id: str = Field(min_length=1, max_length=100)
    nonce: str = Field(min_length=1, max_length=100)
    verdict: Verdict | None = None
    strength: int | None = None
    rating_a: int | None = None
    rating_b: int | None = None
    comment: str = Field("", max_length=_TEXT)
    reason: str = Field("", max_length=_TEXT)
    better_answer: str = Field("", max_length=100_000)
    shown_at: float | None = None
    active_seconds: float | None = Field(None, ge=0)


class UndoRequest(BaseModel):
    """Take back the asker's newest label."""

    model_config = ConfigDict(extra="forbid")

    nonce: str = Field(min_length=1, max_length=100)


class LabelView(BaseModel):
    """A stored label; verdict and ratings are from where the asker sits."""

    id: str
    item_id: str
    verdict: Verdict
    strength: int | None
    rating_a: int | None
    rating_b: int | None
    comment: str
    reason: str
    better_answer: str
    annotator: str
    guideline_version: int
    withdrawn: bool
    labelled_at: float
    suggested: Verdict | None


class ProgressView(BaseModel):
    """How far the asker is (labelled, skipped, available), and the whole (needed, done, left; in labels).

    ``done`` and ``left`` go in steps for those who do not lead the project, and are exact at its end.
    """

    labelled: int
    skipped: int
    available: int
    needed: int
    done: int
    left: int


class Stored(BaseModel):
    """The stored label (null where there was nothing to undo) and the progress after it."""

    label: LabelView | None
    progress: ProgressView


def project_view(project: Project, actor: Actor) -> ProjectView:
    """A project as ``actor`` may see it."""
    project = as_told(project, actor)
    names = ProjectView.model_fields.keys() - {"quality", "models"}
    values = {name: getattr(project, name) for name in names}
    quality = None
    if leads(project, actor):
        quality = Quality(
            gold_version_id=project.gold_version_id,
            gold_every=project.gold_every,
            repeat_every=project.repeat_every,
            roles=list(project.members.roles),
            people=list(project.members.people),
            job_id=project.job_id,
        )
    # Who wrote the answers is not for those who judge them.
    return ProjectView(**values, quality=quality, models=list(project.models) if quality else [])


def item_view(item: Item) -> ItemView:
    """An item."""
    suggestion = item.suggestion
    return ItemView(
        id=item.id,
        prompt=[MessageView(**message) for message in item.prompt],
        a=[MessageView(**message) for message in item.a],
        b=[MessageView(**message) for message in item.b],
        leased_until=item.leased_until,
        suggestion=SuggestionView(**vars(suggestion)) if suggestion else None,
    )


def label_view(label: Label) -> LabelView:
    """A label."""
    return LabelView(**{name: getattr(label, name) for name in LabelView.model_fields})


def progress_view(progress: Progress) -> ProgressView:
    """Progress."""
    return ProgressView(**vars(progress), left=progress.left)
