"""The thread that decodes: it admits requests in order and steps the batch.

The invariants: a request's rows enter the batch together if they fit at all (a pair is decoded as a
pair); a waiting request is overtaken by none; and what waits is bounded, beyond that requests are
refused at once. An exception in a step ends the rows of that batch with its text, not the engine.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

import torch

from studio.serving.engine.batch import Batch, Row
from studio.serving.engine.errors import Refusal

logger = logging.getLogger(__name__)

#: A cache budget in bytes for the whole batch; a batch of one row is always admitted.
_CACHE_BYTES = 2 << 30


class Scheduler:
    """Owns the batch.

    Args:
        batch: Nobody else may touch it once the thread runs.
        bytes_per_token: What a token of a row occupies in the cache.
        most_rows: How many rows are decoded together.
        most_waiting: How many rows may wait.
    """

    def __init__(
        self, batch: Batch, bytes_per_token: int, *, most_rows: int = 16, most_waiting: int = 64
    ) -> None:
        self._batch = batch
        self._most_rows = most_rows
        self._most_waiting = most_waiting
        self._most_tokens = max(1, _CACHE_BYTES // bytes_per_token)
        self._waiting: deque[list[Row]] = deque()
        self._wake = threading.Condition()
        self._active = 0
        self._last_used = time.monotonic()
        threading.Thread(target=self._run, name="decode", daemon=True).start()

    @property
    def active(self) -> int:
        """How many rows are being decoded."""
        return self._active

    @property
    def waiting(self) -> int:
        """How many rows wait."""
        return sum(len(rows) for rows in list(self._waiting))

    @property
    def idle_seconds(self) -> float:
        """How long nothing has been asked or decoded."""
        return 0.0 if self._active or self._waiting else time.monotonic() - self._last_used

    def submit(self, rows: Sequence[Row]) -> None:
        """Put a request at the end of the queue.

        Raises:
            Refusal: Too many rows wait already.
        """
        with self._wake:
            if self.waiting + len(rows) > self._most_waiting:
                raise Refusal(
                    503, "queue_full", f"{self.waiting} answers wait already.", "Try again in a few seconds."
                )
            self._waiting.append(list(rows))
            self._last_used = time.monotonic()
            self._wake.notify()

    def cancel(self, rows: Sequence[Row]) -> None:
        """Give rows up: those that wait end now, the others leave before the next step."""
        with self._wake:
            for row in rows:
                row.cancelled = True
            for row in itertools.chain(*self._waiting):
                if row.cancelled:
                    row.end("cancelled")
            staying = ([row for row in request if not row.ended] for request in self._waiting)
            self._waiting = deque(request for request in staying if request)

    def _run(self) -> None:
        with torch.inference_mode():
            while True:
                self._turn()

    def _turn(self) -> None:
        admitted = self._admit()
        try:
            if admitted:
                self._batch.join(admitted)
        except Exception as error:
            logger.exception("reading prompts failed")
            _fail(admitted, error)
        try:
            self._batch.step()
        except Exception as error:
            logger.exception("a step failed")
            self._batch.fail(_sentence(error))
        self._active = len(self._batch.rows)
        self._last_used = time.monotonic()

    def _admit(self) -> list[Row]:
        """The rows to read now; waits while there is nothing to do at all."""
        with self._wake:
            while not self._batch.rows and not self._waiting:
                self._wake.wait()
            admitted: list[Row] = []
            while self._waiting:
                taken = self._fitting(self._waiting[0], admitted)
                if not taken:
                    break
                admitted += taken
                rest = self._waiting[0][len(taken) :]
                self._waiting.popleft()
                if rest:
                    self._waiting.appendleft(rest)
                    break
            self._active = len(self._batch.rows) + len(admitted)
            return admitted

    def _fitting(self, request: list[Row], admitted: list[Row]) -> list[Row]:
        """The whole request if it fits; if the batch is empty, as much of it as fits, at least one row."""
        beside = [*self._batch.rows, *admitted]
        if self._fits([*beside, *request]):
            return request
        if beside:
            return []
        count = next((n for n in range(len(request), 1, -1) if self._fits(request[:n])), 1)
        return request[:count]

    def _fits(self, rows: list[Row]) -> bool:
        widest = max(row.most for row in rows)
        return len(rows) <= self._most_rows and len(rows) * widest <= self._most_tokens


def _fail(rows: Sequence[Row], error: Exception) -> None:
    for row in rows:
        row.end("error", _sentence(error))


def _sentence(error: Exception) -> str:
    return f"The model server failed: {type(error).__name__}: {error}"
