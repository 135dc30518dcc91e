"""Deployments: what a name answers with, every state it ever had, and which variant a user gets.

The invariant: a revision is never changed; going back adds one. A deployment is there only for those
who may use each of its models. A rollback also restores who got which
variant, so users return to the one they had. Nothing here generates an answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from studio.core import Actor, Audit, Conflict, Database, Edge, InvalidInput, Lineage, Node, NotFound, Role
from studio.core.text import plain_text
from studio.registry import RegistryService
from studio.serving.records import Deployment, DeploymentState, VariantSpec
from studio.serving.router import allocate, point_of, variant_at
from studio.serving.store import Change, DeploymentStore, Standing

#: Bases are looked up for the studio itself: whoever may use an adapter may use it on its base.
STUDIO = Actor("serving", Role.ADMIN)

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
_MOST_VARIANTS = 20


class Deployments:
    """Keeps deployments; the service checks roles."""

    def __init__(self, database: Database, registry: RegistryService, lineage: Lineage, audit: Audit) -> None:
        self._store = DeploymentStore(database)
        self._registry = registry
        self._lineage = lineage
        self._audit = audit

    def deploy(self, actor: Actor, name: str, variants: tuple[VariantSpec, ...]) -> Deployment:
        """Let ``name`` answer with ``variants`` from now on; the same again changes nothing."""
        known = self._checked(actor, name, variants)
        before = self._store.standing(name)
        if before is not None and not self._seen(actor, (before,)):
            raise Conflict(f"The name {name} is taken.", "Choose another name.")
        if before and before.deployment.state is DeploymentState.LIVE and before.deployment.variants == known:
            return before.deployment
        allocation = allocate({v.name: v.weight for v in known}, before.allocation if before else ())
        revision = before.deployment.revision if before else 0
        change = Change(name, revision, DeploymentState.LIVE, known, allocation, actor.name)
        return self._commit(actor, "deployed", change)

    def retire(self, actor: Actor, name: str) -> Deployment:
        """Stop answering under ``name``."""
        now = self._standing(actor, name)
        if now.deployment.state is DeploymentState.RETIRED:
            return now.deployment
        return self._commit(actor, "retired", _again(now, now, DeploymentState.RETIRED, actor))

    def rollback(self, actor: Actor, name: str, revision: int) -> Deployment:
        """Make an earlier revision the current one, as a new revision."""
        now = self._standing(actor, name)
        then = self._store.standing(name, revision)
        if then is None or not self._seen(actor, (then,)):
            raise NotFound(
                f"{name} has no revision {revision}.",
                f"Its revisions are 1 to {now.deployment.revision}.",
            )
        return self._commit(actor, "rolled back", _again(now, then, DeploymentState.LIVE, actor))

    def get(self, actor: Actor, name: str) -> Deployment:
        """The deployment as it stands."""
        return self._standing(actor, name).deployment

    def all(self, actor: Actor) -> tuple[Deployment, ...]:
        """Every deployment as it stands, by name; those with a model that is private to others left out."""
        return tuple(found.deployment for found in self._seen(actor, self._store.all()))

    def history(self, actor: Actor, name: str) -> tuple[Deployment, ...]:
        """Every state of a deployment that the actor may see, newest first."""
        self._standing(actor, name)
        return tuple(found.deployment for found in self._seen(actor, self._store.history(name)))

    def hides(self, actor: Actor, name: str) -> bool:
        """Whether there is such a deployment and the actor may not use it."""
        found = self._store.standing(name)
        return found is not None and not self._seen(actor, (found,))

    def pseudonymise(self, name: str, pseudonym: str) -> None:
        """Put ``pseudonym`` where ``name`` stands as who changed a deployment."""
        self._store.pseudonymise(name, pseudonym)

    def pick(self, actor: Actor, name: str, user: str) -> VariantSpec:
        """The variant that ``user`` gets; always the same while the shares stand."""
        found = self._standing(actor, name)
        if found.deployment.state is DeploymentState.RETIRED:
            raise Conflict(f"The deployment {name} is retired.", "Deploy it again or call another one.")
        # The deployment's id is the salt: one user is not always in the first variant of everything.
        point = point_of(found.deployment.id, plain_text("The user", user, 200))
        chosen = variant_at(found.allocation, point)
        return next(v for v in found.deployment.variants if v.name == chosen)

    def _standing(self, actor: Actor, name: str) -> Standing:
        found = self._store.standing(name)
        if found is None or not self._seen(actor, (found,)):
            raise NotFound(f"There is no deployment called {name!r}.", "See the list of deployments.")
        return found

    def _seen(self, actor: Actor, states: Sequence[Standing]) -> tuple[Standing, ...]:
        """Those whose every model the actor may use."""
        private = self._registry.hidden(actor)
        return tuple(
            one
            for one in states
            if private.isdisjoint(variant.model_version_id for variant in one.deployment.variants)
        )

    def _commit(self, actor: Actor, verb: str, change: Change) -> Deployment:
        made = self._store.add(change).deployment
        node = Node("deployment", made.id)
        self._lineage.link(
            Edge(node, Node("model_version", v.model_version_id), "serves") for v in made.variants
        )
        self._audit.record(actor, verb, node, f"{made.name} revision {made.revision}")
        return made

    def _checked(self, actor: Actor, name: str, variants: tuple[VariantSpec, ...]) -> tuple[VariantSpec, ...]:
        """The variants with their models' ids, or every fault at once."""
        faults = [*_name_faults(name), *_variant_faults(variants)]
        known: list[VariantSpec] = []
        for variant in variants:
            try:
                model = self._registry.version(actor, variant.model_version_id)
                model.must_write()
            except (InvalidInput, NotFound) as error:
                faults.append(f"variant {variant.name!r}: {error.message}")
            else:
                plain_text("The system prompt", variant.system_prompt, 200_000)
                known.append(replace(variant, model_version_id=model.id))
        if faults:
            raise InvalidInput("This cannot be deployed.", "Mend what is listed.", tuple(faults))
        return tuple(known)


def _again(now: Standing, then: Standing, state: DeploymentState, actor: Actor) -> Change:
    """The next revision after ``now``, with the variants and users of ``then``."""
    deployment = now.deployment
    return Change(
        deployment.name, deployment.revision, state, then.deployment.variants, then.allocation, actor.name
    )


def _name_faults(name: str) -> list[str]:
    if _NAME.fullmatch(name):
        return []
    return [
        f"name {name!r}: use 1 to 60 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
    ]


def _variant_faults(variants: tuple[VariantSpec, ...]) -> list[str]:
    if not variants:
        return ["there is no variant"]
    names = [variant.name for variant in variants]
    faults = [
        f"variant {n!r} is there {names.count(n)} times" for n in sorted(set(names)) if names.count(n) > 1
    ]
    faults += [
        f"variant {v.name!r}: weight {v.weight} is not a positive number"
        for v in variants
        if not (math.isfinite(v.weight) and v.weight > 0)
    ]
    faults += [fault for v in variants for fault in _name_faults(v.name)]
    if len(variants) > _MOST_VARIANTS:
        faults.append(f"{len(variants)} variants; {_MOST_VARIANTS} are allowed")
    return faults
