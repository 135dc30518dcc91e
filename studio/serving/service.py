"""The serving room's service: answers are streamed and kept, deployments are changed and called.

The invariant: an answer that anybody saw is stored as an immutable generation, whole, cut short or
failed, before its iterator ends. The exception is a crash of this process while an answer is being
written. An answer's model is never written to the lineage graph, because the graph knows no blindness:
the generation itself names it, once it may be known.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from studio.core import (
    Actor,
    Audit,
    Database,
    InvalidInput,
    Lineage,
    Node,
    NotFound,
    Role,
    Settings,
    Unavailable,
    new_id,
    require,
)
from studio.core.actors import EVERYONE
from studio.core.text import plain_text
from studio.registry import ModelKind, RegistryService
from studio.serving.answers import Answer, Answers, OnStored
from studio.serving.backends.local import LocalBackend
from studio.serving.backends.protocol import Backend, BackendRow
from studio.serving.deployments import STUDIO, Deployments
from studio.serving.records import (
    ChatMessage,
    Deployment,
    EngineStatus,
    Generation,
    Prediction,
    RowEnd,
    RowRequest,
    Sampling,
    TokenDelta,
    VariantSpec,
)
from studio.serving.store import GenerationStore

#: One call may ask for this many answers; the engine decodes them in batches of its own size.
MOST_ROWS = 64
_PAGE = 100


class Redactor(Protocol):
    """Says whether a generation belongs to a blind battle that has no verdict yet."""

    def __call__(self, generation_id: str) -> bool:
        """Whether it must be kept from everyone who answered."""


class HiddenAnswers(Protocol):
    """Lists the stored generations for which the redactor is true, so that counts can leave them out."""

    def __call__(self, actor: Actor) -> Collection[str]:
        """Their ids."""


class ServingService:
    """Streams answers, keeps them, and routes deployments.

    Args:
        backend: Where answers are computed; without one, a local engine for each base model.
    """

    def __init__(
        self,
        database: Database,
        home: Path,
        registry: RegistryService,
        lineage: Lineage,
        audit: Audit,
        settings: Settings,
        *,
        backend: Backend | None = None,
    ) -> None:
        self._registry = registry
        self._audit = audit
        self._store = GenerationStore(database)
        self._backend = backend or LocalBackend(home / "engines", idle_seconds=settings.engine_idle_seconds)
        self._answers = Answers(database, self._store, self._backend)
        self._deployments = Deployments(database, registry, lineage, audit)
        self._hidden: Redactor = _nothing_hidden
        self._hidden_answers: HiddenAnswers = _none_hidden

    def hide_when(self, redactor: Redactor, hidden_answers: HiddenAnswers | None = None) -> None:
        """From now on, redact the generations for which ``redactor`` is true, and do not count them."""
        self._hidden = redactor
        self._hidden_answers = hidden_answers or _none_hidden

    def stream(
        self,
        actor: Actor,
        rows: Sequence[RowRequest],
        *,
        user: str,
        source: str,
        tags: Sequence[tuple[str, str]] = (),
        on_stored: OnStored | None = None,
        generation_ids: Sequence[str] | None = None,
    ) -> Iterator[TokenDelta | RowEnd]:
        """Answer ``rows``: those on one base in one batch, different bases side by side.

        Every row is stored when it ends. With ``on_stored`` all rows are stored in one transaction
        when the last has ended, and the hook runs inside it, once, with the ids in row order; the last
        ``RowEnd`` is yielded after that. Closing the iterator cancels what is not finished and stores it as
        cancelled. A row that fails on its way ends with ``error`` set.

        Args:
            user: Who asked, as a pseudonym; stored as it is.
            source: chat, predict or loop.
            tags: Deployment and variant of each row; empty for none.
            generation_ids: Ids to store the rows under; drawn if not given.

        Raises:
            InvalidInput: A row cannot be answered as asked; nothing was stored.
            Unavailable: The engine cannot start or is full; nothing was stored. (Where rows stand on
                several bases, both end only the rows of their base.)
        """
        require(actor, *EVERYONE)
        _check_call(rows, tags, generation_ids, user, source)
        ids = generation_ids or [new_id("gen") for _ in rows]
        labels = tags or [("", "")] * len(rows)
        answers = [
            self._answer(generation_id, row, label, user, source)
            for generation_id, row, label in zip(ids, rows, labels, strict=True)
        ]
        return self._answers.stream(answers, on_stored)

    def complete(
        self,
        actor: Actor,
        row: RowRequest,
        *,
        user: str,
        source: str,
        tag: tuple[str, str] = ("", ""),
    ) -> Generation:
        """One whole answer, as it was stored; ``error`` is set where the engine failed on the way.

        Raises:
            InvalidInput: The row cannot be answered as asked.
            Unavailable: The engine cannot start or is full.
        """
        generation_id = new_id("gen")
        events = self.stream(
            actor, (row,), user=user, source=source, tags=(tag,), generation_ids=(generation_id,)
        )
        for _ in events:
            pass
        return self._stored(generation_id)

    def generation(self, actor: Actor, generation_id: str) -> Generation:
        """One stored answer, redacted while its battle is blind.

        Raises:
            NotFound: There is none with that id.
        """
        require(actor, *EVERYONE)
        found = self._stored(generation_id)
        return _redacted(found) if self._hidden(found.id) else found

    def generations(self, actor: Actor, limit: int = 50, deployment: str = "") -> tuple[Generation, ...]:
        """The newest answers first, of one deployment or of all.

        A hidden answer is left out where a deployment is asked for, because that would tell of it.
        """
        require(actor, Role.RESEARCHER)
        found: list[Generation] = []
        offset = 0
        while len(found) < limit:
            page = self._store.newest(_PAGE, offset, deployment)
            readable = ((_redacted(g) if self._hidden(g.id) else g) for g in page)
            found += [g for g in readable if not (deployment and g.redacted)]
            offset += len(page)
            if len(page) < _PAGE:
                break
        return tuple(found[:limit])

    def deploy(self, actor: Actor, name: str, variants: tuple[VariantSpec, ...]) -> Deployment:
        """Let ``name`` answer with ``variants`` from now on; the same again changes nothing.

        Raises:
            InvalidInput: With every fault in ``details``: names, weights, unknown models.
        """
        require(actor, Role.RESEARCHER)
        return self._deployments.deploy(actor, name, variants)

    def retire(self, actor: Actor, name: str) -> Deployment:
        """Stop answering under ``name``; its history stays."""
        require(actor, Role.RESEARCHER)
        return self._deployments.retire(actor, name)

    def rollback(self, actor: Actor, name: str, revision: int) -> Deployment:
        """Make an earlier revision the current one (as a new revision); users go back to their variants.

        Raises:
            NotFound: There is no such deployment or revision.
        """
        require(actor, Role.RESEARCHER)
        return self._deployments.rollback(actor, name, revision)

    def deployments(self, actor: Actor) -> tuple[Deployment, ...]:
        """Every deployment as it stands, by name."""
        require(actor, *EVERYONE)
        return self._deployments.all()

    def deployment(self, actor: Actor, name: str) -> Deployment:
        """One deployment as it stands."""
        require(actor, *EVERYONE)
        return self._deployments.get(name)

    def history(self, actor: Actor, name: str) -> tuple[Deployment, ...]:
        """Every state a deployment ever had, newest first."""
        require(actor, *EVERYONE)
        return self._deployments.history(name)

    def pick(self, actor: Actor, name: str, user: str) -> VariantSpec:
        """The variant that ``user`` gets, always the same while the shares stand.

        Raises:
            Conflict: The deployment is retired.
        """
        require(actor, *EVERYONE)
        return self._deployments.pick(name, user)

    def predict(
        self,
        actor: Actor,
        name: str,
        user: str,
        messages: Sequence[ChatMessage],
        sampling: Sampling | None = None,
    ) -> Prediction:
        """A deployment's answer to ``user``, by the variant that is theirs.

        Raises:
            Unavailable: The engine cannot start, is full, or failed on the way (then it is stored).
        """
        variant = self.pick(actor, name, user)
        row = RowRequest(
            variant.model_version_id,
            with_system_prompt(variant.system_prompt, messages),
            sampling or variant.sampling,
        )
        answer = self.complete(actor, row, user=user, source="predict", tag=(name, variant.name))
        if answer.error:
            raise Unavailable(answer.error, f"The answer so far is stored as {answer.id}.")
        return Prediction(answer, name, variant.name)

    def engines(self, actor: Actor) -> tuple[EngineStatus, ...]:
        """The model servers as they stand."""
        require(actor, *EVERYONE)
        status = self._backend.status()
        if not self._hidden_answers(actor):
            return status
        # Where one side of a blind battle failed, the base that failed would tell which side it was.
        return tuple(replace(s, state="stopped", reason="") if s.state == "failed" else s for s in status)

    def unload(self, actor: Actor, base_id: str) -> None:
        """Free the memory that a base model occupies; the next request loads it again.

        Raises:
            Conflict: It is answering.
        """
        require(actor, Role.RESEARCHER)
        self._backend.unload(base_id)
        self._audit.record(actor, "unloaded", Node("model_version", base_id))

    def variant_answers(self, actor: Actor, deployment: str) -> dict[str, int]:
        """How many answers each variant of a deployment gave; cancelled and failed ones do not count.

        Nor do hidden ones: where one side of a blind battle failed, the counts would tell which it was.
        """
        require(actor, *EVERYONE)
        return self._store.answers_by_variant(deployment, self._hidden_answers(actor))

    def tick(self) -> None:
        """Notice engines that died and unload those that are idle; cheap."""
        self._backend.tick()

    def close(self) -> None:
        """End every engine."""
        self._backend.close()

    def _stored(self, generation_id: str) -> Generation:
        found = self._store.get(generation_id)
        if found is None:
            raise NotFound(f"There is no answer with the id {generation_id!r}.", "Check the id.")
        return found

    def _answer(
        self, generation_id: str, row: RowRequest, tag: tuple[str, str], user: str, source: str
    ) -> Answer:
        model = self._registry.version(STUDIO, row.model_version_id)
        base = self._registry.version(STUDIO, model.base_id)
        adapted = model.kind is ModelKind.ADAPTER
        # The seed is drawn here, so that it is known whatever becomes of the row.
        seed = row.sampling.seed if row.sampling.seed is not None else secrets.randbelow(2**31)
        asked = BackendRow(
            base_id=base.id,
            base_path=base.path,
            adapter_id=model.id if adapted else None,
            adapter_path=model.path if adapted else None,
            messages=_checked(row.messages),
            sampling=row.sampling.model_copy(update={"seed": seed}),
        )
        return Answer(generation_id, asked, model.id, *tag, user, source)


def with_system_prompt(system_prompt: str, messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """``messages`` under a variant's system prompt; a system message of the client's own follows it.

    Most chat templates know one system message only, so the two become one.
    """
    if not system_prompt:
        return tuple(messages)
    if messages and messages[0].role == "system":
        joined = f"{system_prompt}\n\n{messages[0].content}"
        return (ChatMessage(role="system", content=joined), *messages[1:])
    return (ChatMessage(role="system", content=system_prompt), *messages)


def _nothing_hidden(generation_id: str) -> bool:  # noqa: ARG001
    return False


def _none_hidden(actor: Actor) -> Collection[str]:  # noqa: ARG001
    return ()


def _redacted(generation: Generation) -> Generation:
    """Without anything that tells which model it was: also not by its prompt, speed or error."""
    return replace(
        generation,
        messages=tuple(m for m in generation.messages if m.role != "system"),
        model_version_id="",
        deployment="",
        variant="",
        sampling=Sampling(),
        seed=0,
        template_digest="",
        prompt_digest="",
        prompt_tokens=0,
        completion_tokens=0,
        finish_reason="",
        first_token_seconds=None,
        seconds=0.0,
        error="The answer failed." if generation.error else "",
        redacted=True,
    )


def _check_call(
    rows: Sequence[RowRequest],
    tags: Sequence[tuple[str, str]],
    generation_ids: Sequence[str] | None,
    user: str,
    source: str,
) -> None:
    if not 1 <= len(rows) <= MOST_ROWS:
        raise InvalidInput(f"{len(rows)} answers were asked for.", f"Ask for 1 to {MOST_ROWS} at a time.")
    if any(given and len(given) != len(rows) for given in (tags, generation_ids)):
        raise InvalidInput("Tags and ids must be as many as rows.", "Give one for each row, or none.")
    plain_text("The user", user, 200)
    plain_text("The source", source, 60)


def _checked(messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    if not messages:
        raise InvalidInput("There is no message to answer.", "Send at least one message.")
    for message in messages:
        plain_text("A message", message.content, 200_000)
    return messages
