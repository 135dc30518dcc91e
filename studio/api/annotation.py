"""The annotation queue over HTTP: the card in the browser stores its labels through these routes."""

from __future__ import annotations

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from studio.annotation import Item, Label, NewLabel, Queue
from studio.api.context import TheActor, TheStudio
from studio.datasets import Outcome

router = APIRouter(prefix="/annotation", tags=["annotation"])


class QueueRequest(BaseModel):
    """A preference dataset version to label."""

    model_config = ConfigDict(extra="forbid")

    dataset: str = Field(min_length=1, max_length=200)
    name: str = Field("", max_length=100)
    guideline: str = Field("", max_length=20_000)


class QueueView(BaseModel):
    """A queue of pairs."""

    id: str
    name: str
    dataset_version_id: str
    guideline: str
    guideline_version: int
    items: int


class MessageView(BaseModel):
    """One turn of a conversation."""

    role: str
    content: str


class ItemView(BaseModel):
    """One pair as it is shown."""

    id: str
    position: int
    prompt: list[MessageView]
    a: list[MessageView]
    b: list[MessageView]


class ProgressView(BaseModel):
    """How far the asker is."""

    total: int
    labelled: int
    skipped: int
    left: int


class LabelRequest(BaseModel):
    """A label; ``nonce`` is the client's own id for it: sent again, it is stored once."""

    model_config = ConfigDict(extra="forbid")

    item_id: str = Field(min_length=1, max_length=100)
    outcome: Outcome
    nonce: str = Field(min_length=1, max_length=100)
    comment: str = Field("", max_length=10_000)
    better_answer: str = Field("", max_length=50_000)
    shown_at: float | None = None
    active_seconds: float | None = Field(None, ge=0)


class UndoRequest(BaseModel):
    """Take back the asker's newest label."""

    model_config = ConfigDict(extra="forbid")

    nonce: str = Field(min_length=1, max_length=100)


class LabelView(BaseModel):
    """A stored label."""

    id: str
    item_id: str
    outcome: Outcome
    withdrawn: bool
    labelled_at: float


class Stored(BaseModel):
    """The stored label (null where there was nothing to undo) and the progress after it."""

    label: LabelView | None
    progress: ProgressView


def _queue(queue: Queue) -> QueueView:
    return QueueView(
        id=queue.id,
        name=queue.name,
        dataset_version_id=queue.dataset_version_id,
        guideline=queue.guideline,
        guideline_version=queue.guideline_version,
        items=queue.items,
    )


def _item(item: Item) -> ItemView:
    return ItemView(
        id=item.id,
        position=item.position,
        prompt=[MessageView(**message) for message in item.prompt],
        a=[MessageView(**message) for message in item.a],
        b=[MessageView(**message) for message in item.b],
    )


def _stored(label: Label | None, queue_id: str, studio: TheStudio, actor: TheActor) -> Stored:
    view = None
    if label is not None:
        view = LabelView(
            id=label.id,
            item_id=label.item_id,
            outcome=label.outcome,
            withdrawn=label.withdrawn,
            labelled_at=label.labelled_at,
        )
    return Stored(label=view, progress=progress(queue_id, studio, actor))


@router.get("")
def queues(studio: TheStudio, actor: TheActor) -> list[QueueView]:
    """Every queue."""
    return [_queue(queue) for queue in studio.annotation.queues(actor)]


@router.post("", status_code=201)
def open_queue(request: QueueRequest, studio: TheStudio, actor: TheActor) -> QueueView:
    """Open a queue over a preference dataset version."""
    made = studio.annotation.open_queue(actor, request.dataset, request.name, request.guideline)
    return _queue(made)


@router.get("/{queue_id}/next")
def next_items(
    queue_id: str,
    studio: TheStudio,
    actor: TheActor,
    count: int = Query(10, ge=1, le=50),
    after: list[str] = Query(default_factory=list, max_length=100),  # noqa: B008
) -> list[ItemView]:
    """The next pairs that the asker has not labelled; ``after`` names those already on hand."""
    found = studio.annotation.next_items(actor, queue_id, count, tuple(after))
    return [_item(item) for item in found]


@router.post("/{queue_id}/labels", status_code=201)
def label(queue_id: str, request: LabelRequest, studio: TheStudio, actor: TheActor) -> Stored:
    """Store a label."""
    new = NewLabel(queue_id=queue_id, **request.model_dump())
    return _stored(studio.annotation.label(actor, new), queue_id, studio, actor)


@router.post("/{queue_id}/undo")
def undo(queue_id: str, request: UndoRequest, studio: TheStudio, actor: TheActor) -> Stored:
    """Withdraw the asker's newest label; the pair comes back."""
    found = studio.annotation.undo(actor, queue_id, request.nonce)
    return _stored(found, queue_id, studio, actor)


@router.get("/{queue_id}/progress")
def progress(queue_id: str, studio: TheStudio, actor: TheActor) -> ProgressView:
    """How far the asker is."""
    found = studio.annotation.progress(actor, queue_id)
    return ProgressView(total=found.total, labelled=found.labelled, skipped=found.skipped, left=found.left)
