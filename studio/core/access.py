"""Who may use an object: a dataset or a model is the team's, or private to some of it.

The invariant: whatever a person may not use is, for that person, not there. A service answers for it as
for a name that nobody gave, leaves it out of its lists, and out of what was made with it. The role
still decides what kind of thing a person does; access decides with which objects.

What nobody claimed (it is older than this) is the team's. Someone who reads the studio's files is not
kept from anything.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from sqlite_utils import Database as SqliteUtils
from sqlite_utils import Migrations

from studio.core.actors import EVERYONE, LOCAL_ADMIN, Actor, Role, require
from studio.core.audit import Audit
from studio.core.database import Database, Row, insert
from studio.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from studio.core.lineage import Node
from studio.core.text import plain_text

migrations = Migrations("access")

#: As many people as one object is shared with by name; more are a role.
_MOST_PEOPLE = 200
_NAME_LIMIT = 100


@migrations()
def sharing(db: SqliteUtils) -> None:
    db.execute(
        """CREATE TABLE sharing (
            kind TEXT NOT NULL, object_id TEXT NOT NULL, owner TEXT NOT NULL,
            visibility TEXT NOT NULL CHECK (visibility IN ('team', 'private')),
            roles TEXT NOT NULL, people TEXT NOT NULL,
            PRIMARY KEY (kind, object_id)
        ) STRICT"""
    )
    # Most things are the team's, and what is private is asked for with every list.
    db.execute("CREATE INDEX sharing_private ON sharing (kind) WHERE visibility = 'private'")


class Visibility(StrEnum):
    """TEAM: everyone whose role passes. PRIVATE: the owner, admins, and those it is shared with."""

    TEAM = "team"
    PRIVATE = "private"


@dataclass(frozen=True)
class Sharing:
    """Who may use an object; ``roles`` and ``people`` count only while it is private."""

    owner: str
    visibility: Visibility = Visibility.TEAM
    roles: tuple[Role, ...] = ()
    people: tuple[str, ...] = ()

    def includes(self, actor: Actor) -> bool:
        """Whether ``actor`` may use the object, as far as access goes."""
        return (
            self.visibility is Visibility.TEAM
            or actor.role is Role.ADMIN
            or actor.name == self.owner
            or actor.role in self.roles
            or actor.name in self.people
        )


@dataclass(frozen=True)
class SharingChange:
    """How an object is to be shared from now on; None leaves a part as it is."""

    visibility: Visibility | None = None
    roles: tuple[Role, ...] | None = None
    people: tuple[str, ...] | None = None
    owner: str | None = None


class Access:
    """Knows and changes who may use what."""

    def __init__(self, database: Database, audit: Audit) -> None:
        self._database = database
        self._audit = audit
        database.migrate(migrations)

    def claim(self, actor: Actor, node: Node, made_of: Iterable[Node] = ()) -> Sharing:
        """Make ``actor`` the owner of a new object, unless it has one; see ``claim_on``."""
        with self._database.write() as connection:
            return self.claim_on(connection, actor, node, made_of)

    def claim_on(
        self, connection: sqlite3.Connection, actor: Actor, node: Node, made_of: Iterable[Node] = ()
    ) -> Sharing:
        """The same within a transaction that the caller has open; the first claim wins.

        What is made of something private is private too, to its maker: it would tell what is in the other.
        """
        known = self._stored(node)
        if known is not None:
            return known
        private = any(self._private(source) for source in made_of)
        made = Sharing(actor.name, Visibility.PRIVATE if private else Visibility.TEAM)
        insert(connection, "sharing", _record(node, made))
        return made

    def admit(self, actor: Actor, node: Node, name: str, made_of: Iterable[Node] = ()) -> None:
        """Let ``actor`` add something to an object that exists under ``name``.

        Raises:
            Conflict: The object is private to others, or is the team's while what is added comes of
                something private.
        """
        if not self.allows(actor, node):
            raise Conflict(f"The name {name} is taken.", "Choose another name.")
        if not self._private(node) and any(self._private(source) for source in made_of):
            raise Conflict(
                f"{name} is shared with the team, and this was made of something private.",
                "Choose another name, or make it private first.",
            )

    def sharing(self, actor: Actor, node: Node) -> Sharing:
        """Who may use an object.

        Raises:
            NotFound: The actor may not.
        """
        self.check(actor, node)
        return self._known(node)

    def may_share(self, actor: Actor, node: Node) -> bool:
        """Whether ``actor`` decides who may use an object: its owner and admins do."""
        return actor.role is Role.ADMIN or actor.name == self._known(node).owner

    def share(self, actor: Actor, node: Node, change: SharingChange) -> Sharing:
        """Change who may use an object; for its owner and admins. It holds from the next request on.

        Raises:
            NotFound: The actor may not even see it.
            Forbidden: The actor is neither its owner nor an admin.
            InvalidInput: A name cannot be one, or there are too many.
        """
        require(actor, Role.RESEARCHER)
        self.check(actor, node)
        with self._database.write() as connection:
            before = self._known(node)
            if not self.may_share(actor, node):
                raise Forbidden(
                    f"Only {before.owner or 'an admin'} and admins decide who may use this.",
                    "Ask one of them.",
                )
            after = _changed(before, change)
            connection.execute(
                """INSERT INTO sharing VALUES (:kind, :object_id, :owner, :visibility, :roles, :people)
                ON CONFLICT (kind, object_id) DO UPDATE SET owner = excluded.owner,
                visibility = excluded.visibility, roles = excluded.roles, people = excluded.people""",
                _record(node, after),
            )
            if after != before:
                self._audit.record_on(connection, actor, "shared", node, _words(after))
        return after

    def allows(self, actor: Actor, node: Node) -> bool:
        """Whether ``actor`` may use an object, as far as access goes."""
        return actor.role is Role.ADMIN or self._known(node).includes(actor)

    def check(self, actor: Actor, node: Node) -> None:
        """Let ``actor`` pass if it may use the object.

        Raises:
            NotFound: It may not; that the object exists is not told.
        """
        if not self.allows(actor, node):
            raise NotFound(
                f"There is no {node.kind} {node.id}, or it is private.", "Ask its owner to share it."
            )

    def hidden(self, actor: Actor, kind: str) -> frozenset[str]:
        """The ids of the objects of a kind that this actor may not use."""
        if actor.role is Role.ADMIN:
            return frozenset()
        rows = self._database.rows("SELECT * FROM sharing WHERE kind = ? AND visibility = 'private'", (kind,))
        return frozenset(str(row["object_id"]) for row in rows if not _sharing(row).includes(actor))

    def pseudonymise(self, actor: Actor, name: str, pseudonym: str) -> None:
        """Put ``pseudonym`` where ``name`` stands as an owner, and take the name from every list."""
        require(actor)
        with self._database.write() as connection:
            connection.execute("UPDATE sharing SET owner = ? WHERE owner = ?", (pseudonym, name))
            connection.execute(
                """UPDATE sharing SET people =
                    (SELECT json_group_array(value) FROM json_each(people) WHERE value <> :name)
                WHERE EXISTS (SELECT 1 FROM json_each(people) WHERE value = :name)""",
                {"name": name},
            )

    def _private(self, node: Node) -> bool:
        return self._known(node).visibility is Visibility.PRIVATE

    def _known(self, node: Node) -> Sharing:
        return self._stored(node) or Sharing("")

    def _stored(self, node: Node) -> Sharing | None:
        row = self._database.row(
            "SELECT * FROM sharing WHERE kind = ? AND object_id = ?", (node.kind, node.id)
        )
        return None if row is None else _sharing(row)


def _changed(before: Sharing, change: SharingChange) -> Sharing:
    people = before.people if change.people is None else tuple(dict.fromkeys(change.people))
    if len(people) > _MOST_PEOPLE:
        raise InvalidInput(f"{len(people)} people are too many to name.", "Share it with a role.")
    for person in (*people, change.owner if change.owner is not None else LOCAL_ADMIN.name):
        if not plain_text("A name", person, _NAME_LIMIT).strip():
            raise InvalidInput("A name is empty.", "Name a person, or leave it out.")
    roles = before.roles if change.roles is None else change.roles
    return replace(
        before,
        visibility=change.visibility or before.visibility,
        roles=tuple(role for role in EVERYONE if role in roles),
        people=people,
        owner=before.owner if change.owner is None else change.owner,
    )


def _words(shared: Sharing) -> str:
    # No names: the audit log outlives the people that a thing was shared with.
    if shared.visibility is Visibility.TEAM:
        return "with the team"
    named = [*(f"every {role}" for role in shared.roles)]
    named += [f"{len(shared.people)} by name"] if shared.people else []
    return f"with {', '.join(named)}" if named else "with nobody"


def _record(node: Node, shared: Sharing) -> dict[str, str]:
    return {
        "kind": node.kind,
        "object_id": node.id,
        "owner": shared.owner,
        "visibility": shared.visibility.value,
        "roles": json.dumps(shared.roles),
        "people": json.dumps(shared.people),
    }


def _sharing(row: Row) -> Sharing:
    return Sharing(
        owner=row["owner"],
        visibility=Visibility(row["visibility"]),
        roles=tuple(Role(role) for role in json.loads(row["roles"])),
        people=tuple(json.loads(row["people"])),
    )
