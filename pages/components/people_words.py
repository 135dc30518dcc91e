"""What roles and scopes are, in the words of the people who have them."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup

from pages.components.markup import tag
from studio.accounts import Scope
from studio.core import InvalidInput, Role

#: What a role is for; one sentence each, from the widest to the narrowest.
DUTIES = {
    Role.ADMIN: "may do everything, and looks after accounts",
    Role.RESEARCHER: "builds datasets, trains, compares and deploys",
    Role.ANNOTATOR: "judges pairs of answers",
    Role.STAKEHOLDER: "talks to models side by side and votes",
}

#: What a scope lets a program change; reading is always included.
SCOPES = {
    Scope.LABEL: "Label pairs",
    Scope.CHAT: "Talk to models and vote",
    Scope.DATA: "Import and build datasets",
    Scope.TRAIN: "Start and stop runs",
    Scope.DEPLOY: "Deploy, roll back and retire",
    Scope.ADMIN: "Look after accounts",
}
_OF_ROLE = {
    Role.ADMIN: tuple(SCOPES),
    Role.RESEARCHER: (Scope.LABEL, Scope.CHAT, Scope.DATA, Scope.TRAIN, Scope.DEPLOY),
    Role.ANNOTATOR: (Scope.LABEL,),
    Role.STAKEHOLDER: (Scope.CHAT,),
}


def role_choices() -> list[tuple[str, str]]:
    """The roles for a picker, each with what it is for."""
    return [(f"{role.value.capitalize()}: {duty}", role.value) for role, duty in DUTIES.items()]


def scope_choices(role: Role) -> list[tuple[str, str]]:
    """The scopes that are of any use to a role; a token never may more than its owner."""
    return [(SCOPES[scope], scope.value) for scope in _OF_ROLE[role]]


def scope_words(scopes: frozenset[Scope]) -> str:
    """What a token may do, in words."""
    return ", ".join(["Read", *(words for scope, words in SCOPES.items() if scope in scopes)])


def role_tag(role: Role) -> Markup:
    """The neutral label of a role."""
    return tag(role.value)


def known_role(word: str) -> Role:
    """The role that a picker sent.

    Raises:
        InvalidInput: There is no such role.
    """
    if word not in tuple(Role):
        raise InvalidInput(f"There is no role {word!r}.", "Choose one of those that are offered.")
    return Role(word)


def known_scopes(words: Iterable[str]) -> frozenset[Scope]:
    """The scopes that a picker sent; reading is always among them.

    Raises:
        InvalidInput: One of them is no scope.
    """
    given = set(words)
    if not given <= set(Scope):
        raise InvalidInput("A token cannot be given that.", "Choose from what is offered.")
    return frozenset({Scope.READ, *map(Scope, given)})
