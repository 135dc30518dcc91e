"""The arena's face: battles, votes, thumbs, and what is counted of them.

While a blind battle has no verdict, nothing that this service or (through ``hides``) the serving room
returns tells which model, variant or deployment stands on which side, what it measured, or in which
order the answers were made. Limits that are known: answers can give themselves away by what they say,
and while they stream, by their pace. Someone who reads the database file is not kept from anything.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Generator
from dataclasses import replace
from itertools import combinations

from studio.arena.records import (
    Battle,
    BattlePair,
    BattleStarted,
    Contender,
    Experiment,
    Matchup,
    NewThumb,
    NewVote,
    SideDelta,
    SideEnd,
    Thumb,
    Vote,
)
from studio.arena.scores import experiment
from studio.arena.store import ArenaStore
from studio.arena.stored import Conversation, StoredBattle, StoredSide, has_model
from studio.arena.turns import Turns
from studio.arena.verdicts import Verdicts
from studio.arena.views import Views
from studio.core import (
    Actor,
    Audit,
    Conflict,
    Database,
    Edge,
    InvalidInput,
    Lineage,
    Node,
    NotFound,
    Role,
    new_id,
    now,
    require,
)
from studio.core.actors import EVERYONE
from studio.core.text import plain_text
from studio.datasets import Judgement, Opinion, Outcome
from studio.registry import RegistryService
from studio.serving import DeploymentState, Sampling, ServingService

_MESSAGE_LIMIT = 100_000
_COMMENT_LIMIT = 10_000
_NONCE_LIMIT = 200
_REASONS_LIMIT = 20

#: Somebody who labels and whom nothing is shared with by name.
_ANY_LABELLER = Actor("annotation", Role.ANNOTATOR)


class ArenaService:
    """Compares contenders and keeps what people say about their answers."""

    def __init__(
        self,
        database: Database,
        serving: ServingService,
        registry: RegistryService,
        lineage: Lineage,
        audit: Audit,
    ) -> None:
        self._store = ArenaStore(database)
        self._serving = serving
        self._registry = registry
        self._lineage = lineage
        self._audit = audit
        self._turns = Turns(self._store, serving)
        self._views = Views(serving, registry)
        self._verdicts = Verdicts(self._store, serving)

    def begin(self, actor: Actor, matchup: Matchup) -> str:
        """Start a conversation with two contenders; their models may be given by any reference.

        Returns:
            The id of the conversation, for ``turn``.

        Raises:
            NotFound: There is no such model version.
            InvalidInput: The matchup says something impossible.
        """
        require(actor, *EVERYONE)
        if not 0 < matchup.pairing_probability <= 1:
            raise InvalidInput("A pairing's probability lies above 0 and is at most 1.", "Leave it out.")
        matchup = replace(
            matchup,
            first=self._resolved(actor, matchup.first),
            second=self._resolved(actor, matchup.second),
        )
        conversation = Conversation(new_id("conv"), matchup, actor.name, now())
        self._store.add_conversation(conversation)
        self._audit.record(actor, "began", Node("conversation", conversation.id))
        return conversation.id

    def deployment_matchup(
        self,
        actor: Actor,
        name: str,
        *,
        blind: bool,
        sampling: Sampling | None = None,
        source: str = "chat",
    ) -> Matchup:
        """Two variants of a deployment; of more than two a pair is drawn, each pair as likely.

        Both sides sample alike, by ``sampling`` or its defaults: the variants' own settings do not apply.

        Raises:
            NotFound: There is no such deployment.
            Conflict: It has one variant only, or is retired.
        """
        require(actor, *EVERYONE)
        deployment = self._serving.deployment(actor, name)
        pairs = list(combinations(deployment.variants, 2))
        if not pairs or deployment.state is not DeploymentState.LIVE:
            raise Conflict(
                f"The deployment {name} has no two live variants to compare.",
                "Deploy it with a second variant.",
            )
        first, second = (
            Contender(variant.model_version_id, deployment.name, variant.name, variant.system_prompt)
            for variant in secrets.choice(pairs)
        )
        return Matchup(first, second, blind, sampling or Sampling(), source, 1 / len(pairs))

    def turn(
        self, actor: Actor, conversation_id: str, text: str
    ) -> Generator[BattleStarted | SideDelta | SideEnd, None, None]:
        """Ask both contenders; the battle is stored when both have ended or the iterator is closed.

        A later turn goes on from the answer that the newest vote prefers, else from one drawn by lot.
        Closing the iterator before its second event asks nothing and stores nothing.

        Raises:
            NotFound: There is no such conversation.
            InvalidInput: The message is empty, too long or not text.
            Conflict: The turn before needs a verdict first, or a turn is under way.
            Unavailable: The models do not answer.
        """
        require(actor, *EVERYONE)
        if not plain_text("The message", text, _MESSAGE_LIMIT).strip():
            raise InvalidInput("The message is empty.", "Write something to answer.")
        conversation = self._store.conversation(conversation_id)
        if conversation is None or self._private(actor, conversation.matchup):
            raise NotFound(f"There is no conversation {conversation_id}.", "Begin a new one.")
        return self._turns.start(actor, conversation, text)

    def battle(self, actor: Actor, battle_id: str) -> Battle:
        """One battle.

        Raises:
            NotFound: There is none with that id.
        """
        require(actor, *EVERYONE)
        return self._views.battle(actor, self._battle(actor, battle_id))

    def battles(self, actor: Actor, limit: int = 50, conversation_id: str = "") -> tuple[Battle, ...]:
        """The newest battles first, of one conversation or of all; none with a model private to others."""
        require(actor, *EVERYONE)
        private = self._registry.hidden(actor)
        found = [
            one for one in self._store.battles(max(limit, 0), conversation_id) if not has_model(one, private)
        ]
        return tuple(self._views.battle(actor, stored) for stored in found)

    def pairs(self, actor: Actor, after: int, limit: int) -> tuple[BattlePair, ...]:
        """Blind battles newer than number ``after`` with two whole answers, oldest first, for annotation.

        For the studio itself: whether an answer was cut off is not told to those who may still vote.
        """
        require(actor)
        # They are shown to whoever labels, so nothing that is private is among them.
        return self._verdicts.pairs(actor, after, limit, self._registry.hidden(_ANY_LABELLER))

    def vote(self, actor: Actor, new: NewVote) -> tuple[Vote, Battle]:
        """Store a verdict and reveal the battle; a retry with the same nonce changes nothing.

        A second vote of the same person supersedes the first; after the reveal it is flagged, and of a
        blind battle it no longer counts as a judgement.

        Raises:
            NotFound: There is no such battle.
            InvalidInput: A text or time cannot be stored.
            Conflict: The nonce belongs to another vote.
        """
        require(actor, *EVERYONE)
        _check_vote(new)
        stored = self._battle(actor, new.battle_id)
        vote, is_new = self._store.add_vote(new, actor.name)
        # Linked on a retry too: edges are idempotent, and the first try may have died before this.
        self._lineage.link(
            Edge(Node("vote", vote.id), Node("generation", side.generation_id), "judged")
            for side in (stored.a, stored.b)
        )
        if is_new:
            self._audit.record(actor, "voted", Node("battle", stored.id), vote.id)
        return vote, self._views.battle(actor, self._battle(actor, new.battle_id))

    def thumb(self, actor: Actor, new: NewThumb) -> Thumb:
        """Store a thumb on any stored answer; it reveals nothing, and a retry changes nothing.

        Raises:
            NotFound: There is no such answer.
            InvalidInput: A text cannot be stored.
            Conflict: The nonce belongs to another thumb.
        """
        require(actor, *EVERYONE)
        _check_nonce(new.nonce)
        plain_text("The comment", new.comment, _COMMENT_LIMIT)
        thumb, is_new = self._store.add_thumb(new, actor.name, self._maker(actor, new.generation_id))
        subject = Node("generation", new.generation_id)
        self._lineage.link([Edge(Node("thumb", thumb.id), subject, "judged")])
        if is_new:
            self._audit.record(actor, "thumbed", subject, thumb.id)
        return thumb

    def votes(self, actor: Actor, limit: int = 100) -> tuple[Vote, ...]:
        """The newest votes first, superseded ones included."""
        require(actor, Role.RESEARCHER)
        votes, private = self._store.votes(max(limit, 0)), self._registry.hidden(actor)
        return tuple(one for one in votes if not private or not self._votes_on(one, private))

    def outcomes(self, actor: Actor) -> dict[Outcome, int]:
        """How many votes were ever stored by outcome; superseded ones stay counted, so it never falls."""
        require(actor, *EVERYONE)
        return self._store.outcomes()

    def judgements(self, actor: Actor, deployment: str = "", source: str = "") -> tuple[Judgement, ...]:
        """Each person's verdict on each battle, oldest first.

        Of a blind battle it is the newest from before the reveal; those of named battles are marked
        as not blind. ``deployment`` keeps battles in which one of its variants stood.
        """
        require(actor, Role.RESEARCHER)
        return self._verdicts.judgements(actor, deployment, source, self._registry.hidden(actor))

    def opinions(self, actor: Actor) -> tuple[Opinion, ...]:
        """Each person's thumb on each answer, oldest first; those taken back are left out."""
        require(actor, Role.RESEARCHER)
        return self._verdicts.opinions(actor, self._registry.hidden(actor))

    def experiments(self, actor: Actor) -> tuple[Experiment, ...]:
        """The live deployments with several variants, with answers, votes and thumbs by variant.

        Battles without a verdict are not counted, so that counting before and after tells nothing.
        """
        require(actor, *EVERYONE)
        return tuple(
            experiment(
                self._store,
                deployment,
                self._serving.variant_answers(actor, deployment.name),
                lambda answer: bool(self._serving.generation(actor, answer).error),
            )
            for deployment in self._serving.deployments(actor)
            if len(deployment.variants) > 1 and deployment.state is DeploymentState.LIVE
        )

    def pseudonymise(self, actor: Actor, name: str, pseudonym: str) -> tuple[Node, ...]:
        """Put ``pseudonym`` where ``name`` stands; every vote and thumb that is under it now; for admins."""
        require(actor)
        return self._store.pseudonymise(name, pseudonym)

    def hides(self, generation_id: str) -> bool:
        """Whether who wrote an answer must not be told: its battle is blind and has no verdict.

        This is the redactor that ``serving.hide_when`` takes; it asks for no actor because it only
        ever takes away.
        """
        return self._turns.hides(generation_id) or self._store.hides(generation_id)

    def hidden(self, actor: Actor) -> frozenset[str]:
        """The stored answers that ``hides`` is true for, so that counts can leave them out."""
        require(actor, *EVERYONE)
        return self._store.hidden()

    def beside_private(self, actor: Actor) -> frozenset[str]:
        """The answers of every battle in which a model stood that the actor may not use."""
        require(actor, *EVERYONE)
        return self._store.answers_beside(self._registry.hidden(actor))

    def _resolved(self, actor: Actor, contender: Contender) -> Contender:
        version = self._registry.version(actor, contender.model_version_id)
        version.must_write()
        return replace(contender, model_version_id=version.id)

    def _private(self, actor: Actor, matchup: Matchup) -> bool:
        models = (matchup.first.model_version_id, matchup.second.model_version_id)
        return not self._registry.hidden(actor).isdisjoint(models)

    def _votes_on(self, vote: Vote, private: frozenset[str]) -> bool:
        battle = self._store.battle(vote.battle_id)
        return battle is not None and has_model(battle, private)

    def _battle(self, actor: Actor, battle_id: str) -> StoredBattle:
        stored = self._store.battle(battle_id)
        if stored is None or has_model(stored, self._registry.hidden(actor)):
            raise NotFound(
                f"There is no battle {battle_id}.", "A turn is stored when both of its answers have ended."
            )
        return stored

    def _maker(self, actor: Actor, generation_id: str) -> StoredSide:
        """Who wrote an answer; a battle knows it also while the serving room may not say."""
        battle = self._store.battle_of(generation_id)
        if battle is not None and not has_model(battle, self._registry.hidden(actor)):
            return battle.a if battle.a.generation_id == generation_id else battle.b
        answer = self._serving.generation(actor, generation_id)
        return StoredSide("", answer.id, answer.model_version_id, answer.deployment, answer.variant)


def _check_vote(new: NewVote) -> None:
    _check_nonce(new.nonce)
    plain_text("The comment", new.comment, _COMMENT_LIMIT)
    plain_text("The better answer", new.better_answer, _MESSAGE_LIMIT)
    if len(new.reasons) > _REASONS_LIMIT:
        raise InvalidInput(f"A vote may have {_REASONS_LIMIT} reasons.", "Name the ones that decided it.")
    for reason in new.reasons:
        plain_text("A reason", reason, _NONCE_LIMIT)
    for name, value in (("shown_at", new.shown_at), ("active_seconds", new.active_seconds)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InvalidInput(f"{name} must be a number of seconds, 0 or more.", "Leave it out if unknown.")


def _check_nonce(nonce: str) -> None:
    if not plain_text("The nonce", nonce, _NONCE_LIMIT).strip():
        raise InvalidInput("A nonce is missing.", "Send a random text that only a retry repeats.")
