"""Erasing a person: every room puts a pseudonym where the name stood, and what came of the person is marked.

The invariant: however often it is broken off, doing it again ends in the same state. The pseudonym follows
from the account, the account goes last, and each step before it may be done twice. What the person judged
stays, because others have built on it; every dataset version, run and model that came of a label, vote
or thumb of theirs says so from then on, and so does whatever will.

It does not look into what people wrote: a name in the text of a row, a comment or an answer stays, as do
exports that have left the studio. A request that is under way while the person is shut out may still
store something under the name afterwards; shutting them out a moment before erasing them prevents that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from studio.accounts import AccountService
from studio.accounts.names import erased_foreign, is_reserved
from studio.accounts.signing import Seal
from studio.annotation import AnnotationService
from studio.annotation.import_store import ImportStore
from studio.annotation.review_store import ReviewStore
from studio.arena import ArenaService
from studio.core import Access, Actor, Audit, Database, Lineage, Node, NotFound, Settings, require
from studio.datasets import DatasetService
from studio.registry import RegistryService
from studio.serving import ServingService
from studio.training import TrainingService
from studio.training.sweeps import SweepService

#: The mark on what came of an erased person's judgements.
ERASED = "erased"


class Rooms(Protocol):
    """What an erasure needs of a studio."""

    @property
    def settings(self) -> Settings: ...  # noqa: D102

    @property
    def audit(self) -> Audit: ...  # noqa: D102

    @property
    def database(self) -> Database: ...  # noqa: D102

    @property
    def access(self) -> Access: ...  # noqa: D102

    @property
    def lineage(self) -> Lineage: ...  # noqa: D102

    @property
    def accounts(self) -> AccountService: ...  # noqa: D102

    @property
    def datasets(self) -> DatasetService: ...  # noqa: D102

    @property
    def registry(self) -> RegistryService: ...  # noqa: D102

    @property
    def training(self) -> TrainingService: ...  # noqa: D102

    @property
    def sweeps(self) -> SweepService: ...  # noqa: D102

    @property
    def serving(self) -> ServingService: ...  # noqa: D102

    @property
    def arena(self) -> ArenaService: ...  # noqa: D102

    @property
    def annotation(self) -> AnnotationService: ...  # noqa: D102


@dataclass(frozen=True)
class Erasure:
    """What became of a person: the name in every place from now on, and how many judgements carry it."""

    pseudonym: str
    judgements: int


def erase_person(rooms: Rooms, actor: Actor, name: str) -> Erasure:
    """Erase the person with the account ``name``; for admins. It may be repeated after a crash.

    A name without an account is erased too, where it stands on imported labels and on nothing else.

    Raises:
        Forbidden: The actor is no admin.
        NotFound: There is no such account (any more), and no imported label is of that name.
        Conflict: It is the last admin's.
    """
    require(actor)
    try:
        pseudonym = rooms.accounts.pseudonym(actor, name)
    except NotFound:
        found = _foreign(rooms, actor, name)
        if found is None:
            raise
        return found
    # First, so that nothing more is stored under the name.
    rooms.accounts.disable(actor, name)
    named = (rooms.access, rooms.datasets, rooms.registry, rooms.training, rooms.sweeps, rooms.serving)
    for room in named:
        room.pseudonymise(actor, name, pseudonym)
    judged = (*rooms.arena.pseudonymise(actor, name, pseudonym), *_labels(rooms, name, pseudonym))
    rooms.lineage.mark(judged, ERASED, pseudonym)
    rooms.accounts.erase(actor, name)
    return Erasure(pseudonym, len(judged))


def _foreign(rooms: Rooms, actor: Actor, name: str) -> Erasure | None:
    """Erase somebody who is known from imported labels only; None where there is nobody of that name."""
    imports = ImportStore(rooms.database, rooms.lineage, rooms.audit)
    pseudonym = erased_foreign(Seal(rooms.settings.home), name)
    # Under the pseudonym they stand if an erasure was broken off before the marks.
    if is_reserved(name) or not (imports.holds_only(name) or imports.holds_only(pseudonym)):
        return None
    labels = rooms.annotation.store.pseudonymise(name, pseudonym)
    rooms.lineage.mark([Node("label", label) for label in labels], ERASED, pseudonym)
    rooms.audit.record(actor, "erased", Node("annotator", pseudonym), f"{len(labels)} imported labels")
    return Erasure(pseudonym, len(labels))


def _labels(rooms: Rooms, name: str, pseudonym: str) -> tuple[Node, ...]:
    labels = rooms.annotation.store.pseudonymise(name, pseudonym)
    decisions = ReviewStore(rooms.database).pseudonymise(name, pseudonym)
    return (*(Node("label", one) for one in labels), *(Node("adjudication", one) for one in decisions))
