"""What annotation projects are called in words: tasks, sources, states and roles."""

from __future__ import annotations

from studio.annotation import ProjectState, Source, Task
from studio.core import Role

TASKS = {
    Task.PREFERENCE: "Which of two answers is better",
    Task.RATING: "Rate each answer, 1 to 5",
    Task.EDIT: "Write a better answer",
    Task.ACCEPT: "Accept or reject an answer",
}
SOURCES = {
    Source.DATASET: "A dataset",
    Source.ARENA: "The arena, as battles are fought",
    Source.CANDIDATES: "Two models, answering a dataset's prompts",
}
#: The word and the kind of each state's chip.
STATES = {
    ProjectState.PREPARING: ("being prepared", "td-busy"),
    ProjectState.OPEN: ("open", "td-good"),
    ProjectState.CLOSED: ("closed", "td-idle"),
    ProjectState.FAILED: ("failed", "td-bad"),
}
#: Roles that can be given a project as a whole, as label and value; admins may always label.
ROLES = [("Annotators", Role.ANNOTATOR.value), ("Researchers", Role.RESEARCHER.value)]
#: Help for the choice of those roles.
BLINDNESS = "Researchers, admins and whoever opens a project lead it: they see labels before an item is done."


def people_of(names: str) -> tuple[str, ...]:
    """The names in a text, separated by commas or spaces, each once and in their order."""
    return tuple(dict.fromkeys(names.replace(",", " ").split()))
