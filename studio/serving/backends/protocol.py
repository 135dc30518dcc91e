"""What the serving room asks of anything that can answer.

``generate`` takes rows of one base model and decodes them as one batch. A ``RowStream`` may be closed
from another thread than the one that reads it; closing frees the rows in the backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from studio.serving.records import ChatMessage, EngineStatus, RowEnd, Sampling, TokenDelta


@dataclass(frozen=True)
class BackendRow:
    """One answer to compute: a base model, an adapter of it or none, the prompt, and how to sample.

    ``sampling.seed`` is always set here, so that what was drawn can be drawn again.
    """

    base_id: str
    base_path: Path
    adapter_id: str | None
    adapter_path: Path | None
    messages: tuple[ChatMessage, ...]
    sampling: Sampling


@dataclass(frozen=True)
class RowStart:
    """The backend took row ``row``: what its prompt became."""

    row: int
    prompt_tokens: int
    template_digest: str
    prompt_digest: str


RowEvent = RowStart | TokenDelta | RowEnd


#: Given the folder of a base model: who needs the memory that serving it would take; empty for nobody.
Refuses = Callable[[Path], str]


class RowStream(Protocol):
    """An iterator over the events of a batch that can be closed from any thread."""

    def __iter__(self) -> RowStream:
        """Itself."""

    def __next__(self) -> RowEvent:
        """The next event; every row ends with exactly one ``RowEnd``.

        Raises:
            Unavailable: The backend broke; the rows that are still open have failed.
        """

    def close(self) -> None:
        """Stop: the backend gives the rows up. Harmless when it is closed or exhausted already."""


class Backend(Protocol):
    """Something that answers."""

    def generate(self, rows: Sequence[BackendRow]) -> RowStream:
        """Answer ``rows``, which share one base, in one batch.

        Raises:
            Unavailable: The backend cannot be reached or started, or is full.
            InvalidInput: A row does not fit (context, template, adapter); nothing was started.
        """

    def status(self) -> tuple[EngineStatus, ...]:
        """The model servers as they stand."""

    def unload(self, base_id: str) -> None:
        """Free what ``base_id`` occupies.

        Raises:
            Conflict: Answers are being written.
        """

    def give_way(self, to: str) -> str:
        """Begin to free the memory of one more model server for ``to``, idle ones first.

        Returns at once, with what is awaited as words that follow "memory, which"; empty where no server
        is left. Asked again while one is going, it says so and takes no other.
        """

    def keep(self) -> None:
        """Free no more than is on its way already."""

    def take_back(self) -> None:
        """Nobody needs the memory any more: forget who did."""

    def refuse_when(self, refuses: Refuses) -> None:
        """From now on, start no server for which ``refuses`` names somebody who needs the memory."""

    def tick(self) -> None:
        """Notice crashes and unload what has been idle; cheap."""

    def close(self) -> None:
        """End every server that this backend started."""
