"""People for the tests of pages: one account a role."""

from __future__ import annotations

import gradio as gr
from argon2 import PasswordHasher

from studio.accounts import AccountService, NewAccount
from studio.core import LOCAL_ADMIN, Role
from studio.studio import Studio

PASSWORD = "correct horse battery"
NAMES = {Role.ADMIN: "ada", Role.RESEARCHER: "rae", Role.ANNOTATOR: "ann", Role.STAKEHOLDER: "stan"}


def settle_in(studio: Studio) -> None:
    """One account for each role, with passwords that cost nothing to check."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    # The studio is one for all its rooms; what stands in it is only exchanged here, for speed.
    object.__setattr__(
        studio, "accounts", AccountService(studio.database, studio.audit, studio.settings, hasher=cheap)
    )
    for role, name in NAMES.items():
        studio.accounts.add(LOCAL_ADMIN, NewAccount(name, role, PASSWORD, f"{name.title()} Example"))


def at_the_desk(studio: Studio, role: Role) -> Studio:
    """The studio as the person of that role has it."""
    actor = studio.accounts.actor(NAMES[role])
    assert actor is not None
    return studio.acting(actor)


def sent_by(name: str | None, **parameters: str) -> gr.Request:
    """A request of the person whom a mount's ``auth_dependency`` named."""
    return gr.Request(username=name, query_params=parameters)
