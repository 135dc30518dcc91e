"""The records of the model registry."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from studio.core import InvalidInput, Mark, Node


class ModelTask(StrEnum):
    """What a version does: write answers, or give answers a number (a reward model)."""

    CHAT = "chat"
    REWARD = "reward"


class ModelKind(StrEnum):
    """What a version's files are."""

    BASE = "base"
    ADAPTER = "adapter"
    MERGED = "merged"


@dataclass(frozen=True)
class ModelVersion:
    """An immutable set of weights.

    ``base_id`` is the version whose weights an adapter is applied to (its own id for a base or merged
    version); ``parent_id`` is what training went on from; ``run_id`` is the run that made it.
    ``origin`` says where a base came from (a package, a folder, a Hub id with its commit). ``model_id``
    is that of the name, which access is given by; ``marks`` are remarks on what it was made of.
    ``task`` is read from its files: a reward model has a head for numbers and none for words.
    """

    id: str
    name: str
    number: int
    kind: ModelKind
    path: Path
    digest: str
    base_id: str
    parent_id: str | None
    run_id: str | None
    licence: str
    origin: str
    parameters: int
    created_at: float
    created_by: str
    model_id: str = ""
    marks: tuple[Mark, ...] = ()
    task: ModelTask = ModelTask.CHAT

    @property
    def writes(self) -> bool:
        """Whether one can chat with it."""
        return self.task is ModelTask.CHAT

    def must_write(self) -> None:
        """Refuse a model that cannot chat.

        Raises:
            InvalidInput: It is a reward model.
        """
        if not self.writes:
            raise InvalidInput(
                f"{self.reference} is a reward model: it scores answers and writes none.",
                "Choose a model that was trained to answer.",
            )

    @property
    def reference(self) -> str:
        """How people and recipes call it: ``name@number``."""
        return f"{self.name}@{self.number}"


@dataclass(frozen=True)
class Alias:
    """A name that moves, such as ``assistant:production``."""

    name: str
    version_id: str
    moved_at: float


@dataclass(frozen=True)
class BaseSource:
    """A base model to register: a local folder, or a Hub id (``organisation/name``) with a revision."""

    location: str
    name: str
    licence: str = ""
    revision: str = "main"


@dataclass(frozen=True)
class NewWeights:
    """What a finished run hands to the registry; registering the same ``run_id`` twice gives one version.

    ``made_of`` are the datasets that it learnt from: where one is private, so is a model of a new name.
    ``step`` is set for a checkpoint that somebody keeps: a run may have many of those beside what it
    makes at its end, and the same content under the same name is the same version.
    """

    name: str
    kind: ModelKind
    path: Path
    base_id: str
    parent_id: str
    run_id: str
    parameters: int
    made_of: tuple[Node, ...] = ()
    step: int | None = None
