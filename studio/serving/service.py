"""The serving room's service: answers are streamed and kept, deployments are changed and called.

The invariant: an answer that anybody saw is stored as an immutable generation, whole, cut short or
failed, before its iterator ends. The exception is a crash of this process while an answer is being
written. An answer's model is never written to the lineage graph, because the graph knows no blindness:
the generation itself names it, once it may be known.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from studio.core import (
    Actor,
    Audit,
    Database,
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
from studio.registry import ModelKind, RegistryService
from studio.serving.answers import Answer, Answers, OnStored
from studio.serving.backends.local import LocalBackend
from studio.serving.backends.protocol import Backend, BackendRow, Refuses
from studio.serving.calls import check_call, checked
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
from studio.serving.redaction import (
    HiddenAnswers,
    PrivateAnswers,
    Redactor,
    alike,
    none_hidden,
    nothing_hidden,
    redacted,
)
from studio.serving.store import GenerationStore

_PAGE = 100


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
        self._hidden: Redactor = nothing_hidden
        self._hidden_answers: HiddenAnswers = none_hidden
        self._beside_private: PrivateAnswers = none_hidden

    def hide_when(
        self,
        redactor: Redactor,
        hidden_answers: HiddenAnswers | None = None,
        beside_private: PrivateAnswers | None = None,
    ) -> None:
        """From now on, redact the generations for which ``redactor`` is true, and do not count them.

        An answer ``beside_private`` is not there for an actor, because its prompt may quote the other.
        """
        self._beside_private = beside_private or none_hidden
        self._hidden = redactor
        self._hidden_answers = hidden_answers or none_hidden

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
        check_call(rows, tags, generation_ids, user, source)
        ids = generation_ids or [new_id("gen") for _ in rows]
        labels = tags or [("", "")] * len(rows)
        answers = [
            self._answer(actor, generation_id, row, label, user, source)
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
            NotFound: There is none with that id, or its model is not the actor's to use.
        """
        require(actor, *EVERYONE)
        found = self._stored(generation_id)
        private = self._registry.hidden(actor)
        if found.model_version_id in private or (private and found.id in self._beside_private(actor)):
            raise _no_answer(generation_id)
        return redacted(found) if self._hidden(found.id) else found

    def is_whole(self, actor: Actor, generation_id: str) -> bool:
        """Whether an answer ended by itself and without an error; it says so of hidden ones too.

        Raises:
            NotFound: There is none with that id.
        """
        require(actor)
        found = self._stored(generation_id)
        return not found.error and found.finish_reason == "stop"

    def generations(self, actor: Actor, limit: int = 50, deployment: str = "") -> tuple[Generation, ...]:
        """The newest answers first, of one deployment or of all.

        A hidden answer is left out where a deployment is asked for, because that would tell of it; those of
        models that the actor may not use are left out always.
        """
        require(actor, Role.RESEARCHER)
        private = self._registry.hidden(actor)
        beside = self._beside_private(actor) if private else ()
        found: list[Generation] = []
        offset = 0
        while len(found) < limit:
            page = self._store.newest(_PAGE, offset, deployment)
            allowed = (g for g in page if g.model_version_id not in private and g.id not in beside)
            readable = ((redacted(g) if self._hidden(g.id) else g) for g in allowed)
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
        return self._deployments.all(actor)

    def deployment(self, actor: Actor, name: str) -> Deployment:
        """One deployment as it stands."""
        require(actor, *EVERYONE)
        return self._deployments.get(actor, name)

    def history(self, actor: Actor, name: str) -> tuple[Deployment, ...]:
        """Every state a deployment ever had, newest first."""
        require(actor, *EVERYONE)
        return self._deployments.history(actor, name)

    def pick(self, actor: Actor, name: str, user: str) -> VariantSpec:
        """The variant that ``user`` gets, always the same while the shares stand.

        Raises:
            Conflict: The deployment is retired.
        """
        require(actor, *EVERYONE)
        return self._deployments.pick(actor, name, user)

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
        private = self._registry.hidden(actor)
        status = tuple(
            replace(s, adapters=tuple(one for one in s.adapters if one not in private))
            for s in self._backend.status()
            if s.base_id not in private
        )
        return alike(status) if self._hidden_answers(actor) else status

    def unload(self, actor: Actor, base_id: str) -> None:
        """Free the memory that a base model occupies; the next request loads it again.

        Raises:
            Conflict: It is answering.
        """
        require(actor, Role.RESEARCHER)
        if base_id in self._registry.hidden(actor):
            raise NotFound("There is no such model.", "See the list of models.")
        self._backend.unload(base_id)
        self._audit.record(actor, "unloaded", Node("model_version", base_id))

    def give_way(self, actor: Actor, to: str) -> str:
        """Begin to free the memory of one more model server for ``to`` (as in "gives way to").

        Idle ones go first; a busy one takes no new rows, writes what it began, and ends. It does not wait.

        Returns:
            What is awaited, as words that follow "memory, which"; empty where no server is left to end.
        """
        require(actor)
        return self._backend.give_way(to)

    def keep(self, actor: Actor) -> None:
        """Let the model servers stay that have not begun to end."""
        require(actor)
        self._backend.keep()

    def take_back(self, actor: Actor) -> None:
        """The memory that was given away is free again: no model server gives way to anybody."""
        require(actor)
        self._backend.take_back()

    def refuse_when(self, refuses: Refuses) -> None:
        """From now on, start no model server for which ``refuses`` names somebody who needs the memory."""
        self._backend.refuse_when(refuses)

    def variant_answers(self, actor: Actor, deployment: str) -> dict[str, int]:
        """How many answers each variant of a deployment gave; cancelled and failed ones do not count.

        Nor do hidden ones: where one side of a blind battle failed, the counts would tell which it was.
        """
        require(actor, *EVERYONE)
        if self._deployments.hides(actor, deployment):
            return {}
        return self._store.answers_by_variant(deployment, self._hidden_answers(actor))

    def pseudonymise(self, actor: Actor, name: str, pseudonym: str) -> None:
        """Put ``pseudonym`` where ``name`` stands as who asked for or deployed something; for admins."""
        require(actor)
        self._store.pseudonymise(name, pseudonym)
        self._deployments.pseudonymise(name, pseudonym)

    def tick(self) -> None:
        """Notice engines that died and unload those that are idle; cheap."""
        self._backend.tick()

    def close(self) -> None:
        """End every engine."""
        self._backend.close()

    def _stored(self, generation_id: str) -> Generation:
        found = self._store.get(generation_id)
        if found is None:
            raise _no_answer(generation_id)
        return found

    def _answer(
        self,
        actor: Actor,
        generation_id: str,
        row: RowRequest,
        tag: tuple[str, str],
        user: str,
        source: str,
    ) -> Answer:
        model = self._registry.version(actor, row.model_version_id)
        model.must_write()
        base = self._registry.version(STUDIO, model.base_id)
        adapted = model.kind is ModelKind.ADAPTER
        # The seed is drawn here, so that it is known whatever becomes of the row.
        seed = row.sampling.seed if row.sampling.seed is not None else secrets.randbelow(2**31)
        asked = BackendRow(
            base_id=base.id,
            base_path=base.path,
            adapter_id=model.id if adapted else None,
            adapter_path=model.path if adapted else None,
            messages=checked(row.messages),
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


def _no_answer(generation_id: str) -> NotFound:
    return NotFound(f"There is no answer with the id {generation_id!r}.", "Check the id.")
