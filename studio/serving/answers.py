"""Rows on their way: asked of the backend, streamed to the reader, and stored when they end.

Each base model's rows are read by a thread of their own, so that one side never waits for the other and
times are taken when text arrives, not when the reader looks. The invariant: once the iterator has
ended, closed by its reader or not, every row of it that was begun is stored exactly once. Without a
hook a row is stored before its end is yielded; with one, all rows are stored in one transaction before
the last end is.

A refusal before anything began (the engine cannot start, a prompt does not fit) is raised and nothing
is stored. With several bases, the refused rows end as errors instead, and the others go on.
"""

from __future__ import annotations

import itertools
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from studio.core import Database, StudioError, Unavailable, now
from studio.serving.backends.protocol import Backend, BackendRow, RowEvent, RowStart, RowStream
from studio.serving.records import Generation, RowEnd, TokenDelta
from studio.serving.store import GenerationStore

logger = logging.getLogger(__name__)

#: Called with the connection of the write transaction and the ids of the stored generations in row order.
#: It must not open a transaction of its own (nor record to the audit log), because it runs inside one.
OnStored = Callable[[sqlite3.Connection, tuple[str, ...]], None]


@dataclass(frozen=True)
class Answer:
    """One answer to be given: what is asked of the backend, and what is stored with it."""

    generation_id: str
    row: BackendRow
    model_version_id: str
    deployment: str
    variant: str
    user: str
    source: str


@dataclass
class _Progress:
    """What has come of one row so far."""

    pieces: list[str] = field(default_factory=list)
    tokens: int = 0
    first_token_seconds: float | None = None
    start: RowStart = field(default_factory=lambda: RowStart(0, 0, "", ""))
    end: RowEnd | None = None
    stored: bool = False


@dataclass(frozen=True)
class _Arrival:
    """An event of row ``index``, ``seconds`` after the request was accepted."""

    index: int
    event: RowEvent
    seconds: float


@dataclass(frozen=True)
class _Refusal:
    """The backend did not take these rows, or broke before they ended."""

    indices: tuple[int, ...]
    error: StudioError
    seconds: float


_Mail = _Arrival | _Refusal


class Answers:
    """Runs batches of answers against a backend."""

    def __init__(self, database: Database, store: GenerationStore, backend: Backend) -> None:
        self._database = database
        self._store = store
        self._backend = backend

    def stream(
        self, answers: Sequence[Answer], on_stored: OnStored | None = None
    ) -> Iterator[TokenDelta | RowEnd]:
        """Yield the events of all rows as they come, and store each row."""
        accepted = time.monotonic()
        batch = _Batch(answers, now(), self._database, self._store, on_stored)
        readers = [
            _Reader(self._backend, indices, [answers[i].row for i in indices], batch.mail, accepted)
            for indices in _by_base(answers)
        ]
        for reader in readers:
            reader.start()
        try:
            yield from batch.events(alone=len(readers) == 1)
        finally:
            for reader in readers:
                reader.close()
            batch.finish(time.monotonic() - accepted)


class _Batch:
    """What has come of all rows of one call, and what of it is stored."""

    def __init__(
        self,
        answers: Sequence[Answer],
        created_at: float,
        database: Database,
        store: GenerationStore,
        on_stored: OnStored | None,
    ) -> None:
        self.mail: queue.SimpleQueue[_Mail] = queue.SimpleQueue()
        self._answers = answers
        self._rows = [_Progress() for _ in answers]
        self._created_at = created_at
        self._database = database
        self._store_of = store
        self._on_stored = on_stored
        self._begun = False
        self._void = False

    def events(self, alone: bool) -> Iterator[TokenDelta | RowEnd]:
        """What readers send, until every row has ended; ``alone`` says that there is one reader."""
        while any(row.end is None for row in self._rows):
            mail = self.mail.get()
            if isinstance(mail, _Refusal) and alone and not self._begun:
                self._void = True
                raise mail.error
            for event in self._take(mail):
                if isinstance(event, RowEnd):
                    self._store_what_is_due()
                yield event

    def finish(self, seconds: float) -> None:
        """Store what is not stored yet: rows that the reader gave up, as far as they came."""
        while not self.mail.empty():
            self._take(self.mail.get())
        for index, row in enumerate(self._rows):
            if row.end is None:
                row.end = _cut(index, row, self._answers[index], "cancelled", seconds)
        if not self._void:
            self._store_what_is_due()

    def _take(self, mail: _Mail) -> list[TokenDelta | RowEnd]:
        """Note what arrived, and give what of it the reader of the call is to see."""
        if isinstance(mail, _Refusal):
            return [self._fail(index, mail) for index in mail.indices]
        self._begun = True
        row, event = self._rows[mail.index], mail.event
        if isinstance(event, RowStart):
            row.start = event
            return []
        if isinstance(event, TokenDelta):
            if row.first_token_seconds is None:
                row.first_token_seconds = mail.seconds
            row.pieces.append(event.text)
            row.tokens = event.tokens
            return [replace(event, row=mail.index)]
        row.end = replace(
            event, row=mail.index, seconds=mail.seconds, first_token_seconds=row.first_token_seconds
        )
        return [row.end]

    def _fail(self, index: int, refusal: _Refusal) -> RowEnd:
        row = self._rows[index]
        error = f"{refusal.error.message} {refusal.error.todo}".strip()
        row.end = _cut(index, row, self._answers[index], "error", refusal.seconds, error)
        return row.end

    def _store_what_is_due(self) -> None:
        if self._on_stored is not None and any(row.end is None for row in self._rows):
            return
        due = [i for i, row in enumerate(self._rows) if row.end is not None and not row.stored]
        if not due:
            return
        with self._database.write() as connection:
            for index in due:
                self._store_of.add(connection, self._generation(index))
            if self._on_stored is not None:
                self._on_stored(connection, tuple(self._answers[i].generation_id for i in due))
        for index in due:
            self._rows[index].stored = True

    def _generation(self, index: int) -> Generation:
        answer, row = self._answers[index], self._rows[index]
        end = row.end
        assert end is not None  # only rows with an end are due
        return Generation(
            id=answer.generation_id,
            messages=answer.row.messages,
            text="".join(row.pieces),
            model_version_id=answer.model_version_id,
            deployment=answer.deployment,
            variant=answer.variant,
            sampling=answer.row.sampling,
            seed=end.seed,
            template_digest=end.template_digest,
            prompt_digest=end.prompt_digest,
            prompt_tokens=end.prompt_tokens,
            completion_tokens=end.completion_tokens,
            finish_reason=end.finish_reason,
            first_token_seconds=end.first_token_seconds,
            seconds=end.seconds,
            error=end.error,
            user=answer.user,
            source=answer.source,
            created_at=self._created_at,
        )


class _Reader:
    """Reads the rows of one base in a thread of its own."""

    def __init__(
        self,
        backend: Backend,
        indices: tuple[int, ...],
        rows: Sequence[BackendRow],
        mail: queue.SimpleQueue[_Mail],
        accepted: float,
    ) -> None:
        self._backend = backend
        self._indices = indices
        self._rows = rows
        self._mail = mail
        self._accepted = accepted
        self._lock = threading.Lock()
        self._stream: RowStream | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, name="answers", daemon=True).start()

    def close(self) -> None:
        """Give the rows up; does not wait for an engine that is still starting."""
        with self._lock:
            self._closed = True
            stream = self._stream
        if stream is not None:
            stream.close()

    def _read(self) -> None:
        open_rows = set(self._indices)
        try:
            for event in self._begin():
                index = self._indices[event.row]
                if isinstance(event, RowEnd):
                    open_rows.discard(index)
                self._mail.put(_Arrival(index, event, self._seconds()))
        except StudioError as error:
            self._refuse(open_rows, error)
        except Exception:
            logger.exception("reading answers failed")
            self._refuse(open_rows, Unavailable("Reading the answer failed.", "See the studio's log."))
        else:
            self._refuse(open_rows, Unavailable("The model server ended the answer early.", "Ask again."))

    def _begin(self) -> Iterator[RowEvent]:
        stream = self._backend.generate(self._rows)
        with self._lock:
            self._stream = stream
            closed = self._closed
        if closed:
            stream.close()
        return iter(stream)

    def _refuse(self, rows: set[int], error: StudioError) -> None:
        if rows and not self._closed:
            self._mail.put(_Refusal(tuple(sorted(rows)), error, self._seconds()))

    def _seconds(self) -> float:
        return time.monotonic() - self._accepted


def _by_base(answers: Sequence[Answer]) -> list[tuple[int, ...]]:
    """The rows of each base model, which are decoded as one batch."""
    order = sorted(range(len(answers)), key=lambda i: answers[i].row.base_id)
    groups = itertools.groupby(order, key=lambda i: answers[i].row.base_id)
    return [tuple(indices) for _, indices in groups]


def _cut(index: int, row: _Progress, answer: Answer, reason: str, seconds: float, error: str = "") -> RowEnd:
    """The end of a row that the backend did not end: given up by its reader, or failed."""
    return RowEnd(
        row=index,
        finish_reason=reason,
        prompt_tokens=row.start.prompt_tokens,
        completion_tokens=row.tokens,
        first_token_seconds=row.first_token_seconds,
        seconds=seconds,
        seed=answer.row.sampling.seed or 0,
        template_digest=row.start.template_digest,
        error=error,
        prompt_digest=row.start.prompt_digest,
    )
