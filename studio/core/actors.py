"""Who acts, and in which role.

While there are no accounts there is one actor, ``LOCAL_ADMIN``, and the studio listens on loopback only.
Every service method takes the actor and calls ``require`` before it does anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from studio.core.errors import Forbidden


class Role(StrEnum):
    """What an account is for; an admin may do everything."""

    ADMIN = "admin"
    RESEARCHER = "researcher"
    ANNOTATOR = "annotator"
    STAKEHOLDER = "stakeholder"


@dataclass(frozen=True)
class Actor:
    """Someone who asks for something: a person, a script or the studio itself."""

    name: str
    role: Role


#: Whoever sits at this machine, while there are no accounts.
LOCAL_ADMIN = Actor("local", Role.ADMIN)

#: The studio itself: it reads on behalf of people whose own right was checked for something narrower.
SYSTEM = Actor("studio", Role.ADMIN)

#: Everyone who has an account at all.
EVERYONE = (Role.RESEARCHER, Role.ANNOTATOR, Role.STAKEHOLDER)


def require(actor: Actor, *roles: Role) -> None:
    """Let ``actor`` pass if its role is among ``roles`` (an admin always passes).

    Raises:
        Forbidden: The role does not allow this.
    """
    if actor.role is Role.ADMIN or actor.role in roles:
        return
    wanted = " or ".join(roles) or Role.ADMIN
    raise Forbidden(
        f"{actor.name} is {actor.role}, and this needs {wanted}.",
        "Ask an admin for that role.",
    )
