"""Stand-ins for what lies below the arena: a registry that knows three models, and a backend without one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from studio.core import Actor, NotFound, Unavailable
from studio.registry import ModelKind, ModelVersion
from studio.serving import BackendRow, EngineStatus, RowEnd, RowStart, TokenDelta

BASE = "mv_base000000"
TUNED = "mv_tuned00000"
OTHER = "mv_other00000"


def _version(version_id: str, name: str, number: int, kind: ModelKind, base_id: str) -> ModelVersion:
    return ModelVersion(
        id=version_id,
        name=name,
        number=number,
        kind=kind,
        path=Path("/nowhere") / name,
        digest="0" * 64,
        base_id=base_id,
        parent_id=None,
        run_id=None,
        licence="",
        origin="",
        parameters=1,
        created_at=0.0,
        created_by="test",
    )


VERSIONS = (
    _version(BASE, "plainbase", 1, ModelKind.BASE, BASE),
    _version(TUNED, "finetuned", 3, ModelKind.ADAPTER, BASE),
    _version(OTHER, "otherbase", 2, ModelKind.BASE, OTHER),
)


class FakeRegistry:
    """Resolves references to the three versions."""

    def version(self, actor: Actor, reference: str) -> ModelVersion:
        for version in VERSIONS:
            if reference in (version.id, version.name, version.reference):
                return version
        raise NotFound(f"There is no model {reference}.")

    def hidden(self, actor: Actor) -> frozenset[str]:
        """None of them is private."""
        return frozenset()


class FakeBackend:
    """Answers from a queue per model, else with a default that names the model in a harmless way.

    ``failing`` models end with an error in their own name; ``hanging`` ones say one word and wait until
    their stream is closed.
    """

    def __init__(self) -> None:
        self.queued: dict[str, deque[str]] = {}
        self.failing: set[str] = set()
        self.hanging: set[str] = set()
        self.refusing: str = ""
        self.seen: list[tuple[BackendRow, ...]] = []
        self.closed = threading.Event()

    def queue(self, model_id: str, *answers: str) -> None:
        self.queued.setdefault(model_id, deque()).extend(answers)

    def generate(self, rows: Sequence[BackendRow]) -> FakeStream:
        self.seen.append(tuple(rows))
        if self.refusing:
            raise Unavailable(self.refusing)
        return FakeStream(self, rows)

    def answer(self, row: BackendRow) -> str:
        queued = self.queued.get(model_of(row))
        return queued.popleft() if queued else "An answer in some words."

    def status(self) -> tuple[EngineStatus, ...]:
        return ()

    def unload(self, base_id: str) -> None:
        pass

    def tick(self) -> None:
        pass

    def close(self) -> None:
        pass


def model_of(row: BackendRow) -> str:
    return row.adapter_id or row.base_id


class FakeStream:
    def __init__(self, backend: FakeBackend, rows: Sequence[BackendRow]) -> None:
        self._backend = backend
        self._closed = threading.Event()
        self._events = self._generate(rows)

    def __iter__(self) -> FakeStream:
        return self

    def __next__(self) -> RowStart | TokenDelta | RowEnd:
        return next(self._events)

    def close(self) -> None:
        self._closed.set()
        self._backend.closed.set()

    def _generate(self, rows: Sequence[BackendRow]) -> Iterator[RowStart | TokenDelta | RowEnd]:
        for index in range(len(rows)):
            yield RowStart(index, 7, "template", "prompt")
        hangs = False
        for index, row in enumerate(rows):
            model = model_of(row)
            words = self._backend.answer(row).split()
            if model in self._backend.hanging:
                yield TokenDelta(index, words[0], 1)
                hangs = True
                continue
            for n, word in enumerate(words):
                yield TokenDelta(index, word if n == 0 else f" {word}", n + 1)
            error = f"{model} ran out of memory" if model in self._backend.failing else ""
            yield end(index, "error" if error else "stop", len(words), row, error)
        if hangs:
            self._closed.wait(20)


def end(index: int, reason: str, tokens: int, row: BackendRow, error: str = "") -> RowEnd:
    return RowEnd(
        row=index,
        finish_reason=reason,
        prompt_tokens=7,
        completion_tokens=tokens,
        first_token_seconds=0.1,
        seconds=0.2,
        seed=row.sampling.seed or 0,
        template_digest="template",
        error=error,
        prompt_digest="prompt",
    )
