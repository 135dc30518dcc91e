"""What an actor may see of datasets: the versions of those that are shared with it, with their marks.

A version that was made of a private one may be shared itself. Then it is shown without the name of
the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from studio.core.access import Access
from studio.core.actors import Actor
from studio.core.lineage import Lineage, Node
from studio.datasets.records import DatasetSummary, DatasetVersion
from studio.datasets.store import DatasetStore

UNNAMED = "a private dataset"


class Sight:
    """Narrows what the store knows to what an actor may know."""

    def __init__(self, store: DatasetStore, access: Access, lineage: Lineage) -> None:
        self._store = store
        self._access = access
        self._lineage = lineage

    def of(self, actor: Actor, versions: Iterable[DatasetVersion]) -> tuple[DatasetVersion, ...]:
        """Those of ``versions`` that the actor may use, as it may see them."""
        hidden = self._access.hidden(actor, "dataset")
        seen = [version for version in versions if version.dataset_id not in hidden]
        marks = self._lineage.marks(_node(version) for version in seen)
        if marks:
            seen = [replace(version, marks=marks.get(_node(version), ())) for version in seen]
        return tuple(self._without_names(version, hidden) if hidden else version for version in seen)

    def one(self, actor: Actor, version: DatasetVersion | None) -> DatasetVersion | None:
        """The version as the actor may see it; None where it may not."""
        return next(iter(self.of(actor, (version,) if version else ())), None)

    def summaries(self, actor: Actor) -> tuple[DatasetSummary, ...]:
        """The datasets that the actor may use."""
        found = self._store.summaries()
        latest = {version.id: version for version in self.of(actor, (one.latest for one in found))}
        return tuple(replace(one, latest=latest[one.latest.id]) for one in found if one.latest.id in latest)

    def hidden(self, actor: Actor) -> frozenset[str]:
        """The ids of the versions that the actor may not use."""
        hidden = self._access.hidden(actor, "dataset")
        return frozenset(version.id for name in hidden for version in self._store.versions(name))

    def name_of(self, actor: Actor, version_id: str) -> str:
        """What the actor may call a version."""
        version = self.one(actor, self._store.by_id(version_id))
        return version.reference if version else UNNAMED

    def admit(self, actor: Actor, dataset: str) -> None:
        """Refuse early what ``store.publish`` would refuse: a dataset's name that is not the actor's to use.

        Raises:
            Conflict: The name is taken by a private dataset.
        """
        known = self._store.newest(dataset)
        if known is not None and known.name == dataset:
            self._access.admit(actor, Node("dataset", known.dataset_id), dataset)

    def _without_names(self, version: DatasetVersion, hidden: frozenset[str]) -> DatasetVersion:
        parents = [self._store.by_id(parent) for parent in version.parents]
        private = {
            parent.reference: parent.id for parent in parents if parent and parent.dataset_id in hidden
        }
        if not private:
            return version
        return replace(
            version,
            parents=tuple(parent for parent in version.parents if parent not in private.values()),
            steps=tuple(_renamed(step, private.keys()) for step in version.steps),
        )


def _renamed(value: Any, names: Iterable[str]) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(inner, names) for inner in value]
    return UNNAMED if value in names else value


def _node(version: DatasetVersion) -> Node:
    return Node("dataset_version", version.id)
