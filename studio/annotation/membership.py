"""Who belongs to a project: those who label in it, those who lead it, and those who may know of it."""

from __future__ import annotations

from dataclasses import replace

from studio.annotation.records import Project
from studio.core import Actor, Forbidden, Role


def may_label(project: Project, actor: Actor) -> bool:
    """Whether ``actor`` is a member; admins are of every project."""
    members = project.members
    return actor.role is Role.ADMIN or actor.role in members.roles or actor.name in members.people


def is_hidden(project: Project, actor: Actor, private: frozenset[str]) -> bool:
    """Whether a project is about a version in ``private`` and does not name ``actor`` as a member.

    Its gold may well be private: those who label must not look it up.
    """
    return project.dataset_version_id in private and actor.name not in project.members.people


def leads(project: Project, actor: Actor) -> bool:
    """Whether ``actor`` may change a project and see its people: its creator, researchers and admins."""
    return actor.role in (Role.ADMIN, Role.RESEARCHER) or actor.name == project.created_by


def as_told(project: Project, actor: Actor) -> Project:
    """A project as ``actor`` may read it: what went wrong with it is told to those who lead it alone."""
    if leads(project, actor) or not project.problem:
        return project
    return replace(project, problem="Its lead has been told.")


def not_yours(project: Project) -> Forbidden:
    """What somebody is told who does not belong to a project."""
    return Forbidden(f"You are not among those who label in {project.name}.", "Ask its lead to add you.")
