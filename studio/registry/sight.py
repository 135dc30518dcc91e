"""What an actor may see of the registry: the versions of models that are shared with it, with their marks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from studio.core import Access, Actor, Edge, Lineage, Node
from studio.registry.records import ModelVersion
from studio.registry.store import RegistryStore


class Sight:
    """Narrows what the store knows to what an actor may know."""

    def __init__(self, store: RegistryStore, access: Access, lineage: Lineage) -> None:
        self._store = store
        self._access = access
        self._lineage = lineage

    def of(self, actor: Actor, versions: Iterable[ModelVersion]) -> tuple[ModelVersion, ...]:
        """Those of ``versions`` that the actor may use."""
        hidden = self._access.hidden(actor, "model")
        seen = [version for version in versions if version.model_id not in hidden]
        marks = self._lineage.marks(node_of(version.id) for version in seen)
        if not marks:
            return tuple(seen)
        return tuple(replace(version, marks=marks.get(node_of(version.id), ())) for version in seen)

    def hidden(self, actor: Actor) -> frozenset[str]:
        """The ids of the versions that the actor may not use."""
        models = self._access.hidden(actor, "model")
        return frozenset(v.id for v in self._store.all() if v.model_id in models) if models else models

    def hides_name(self, actor: Actor, name: str) -> bool:
        """Whether a model is called that and the actor may not use it."""
        known = self._store.model(name)
        return known is not None and not self._access.allows(actor, known)

    def admit(self, actor: Actor, name: str, made_of: Iterable[Node]) -> None:
        """Refuse a name that is not the actor's to add to.

        Raises:
            Conflict: It is not.
        """
        known = self._store.model(name)
        if known is not None:
            self._access.admit(actor, known, name, made_of)


def node_of(version_id: str) -> Node:
    """A version's place in the lineage."""
    return Node("model_version", version_id)


def edges_of(version: ModelVersion) -> tuple[Edge, ...]:
    """Where a version came from."""
    here = node_of(version.id)
    edges = []
    if version.run_id is not None:
        edges.append(Edge(here, Node("run", version.run_id), "made_by"))
    if version.parent_id is not None:
        edges.append(Edge(here, node_of(version.parent_id), "continued_from"))
    if version.base_id != version.id:
        edges.append(Edge(here, node_of(version.base_id), "adapter_of"))
    return tuple(edges)
