"""A labelled project for the tests of the Review page: three people, two who agree and one who does not."""

from __future__ import annotations

from collections.abc import Collection

from studio.annotation import Item, NewLabel, NewProject, Project, Task, Verdict
from studio.core import LOCAL_ADMIN, Actor, Role, new_id
from studio.datasets import NewVersion, SchemaKind, Split
from studio.studio import Studio

ANA, BEN, CAI = (Actor(name, Role.ANNOTATOR) for name in ("ana", "ben", "cai"))


def open_pairs(studio: Studio, items: int = 12, overlap: int = 3, task: Task = Task.PREFERENCE) -> Project:
    """A project over ``items`` pairs; every good answer says so."""
    rows = [
        {
            "prompt": [{"role": "user", "content": f"Question <b>{n}</b>?"}],
            "chosen": [{"role": "assistant", "content": f"Good answer {n}."}],
            "rejected": [{"role": "assistant", "content": f"Poor answer {n}."}],
        }
        for n in range(items)
    ]
    new = NewVersion("pairs", SchemaKind.PREFERENCE, {Split.TRAIN: rows, Split.VALIDATION: []}, steps=())
    version = studio.datasets.create(LOCAL_ADMIN, new)
    opened = NewProject("Which is <i>better</i>", task=task, dataset=version.id, overlap=overlap)
    return studio.annotation.open_project(LOCAL_ADMIN, opened)


def label_all(studio: Studio, project: Project, person: Actor, wrong: Collection[int] = ()) -> None:
    """Let ``person`` prefer the good answer everywhere but in the questions of ``wrong``."""
    while items := studio.annotation.next_items(person, project.id, 10):
        for item in items:
            studio.annotation.label(person, _label(project, item, wrong))


def divided(studio: Studio) -> Project:
    """A finished project: cai disagrees with the others on four questions."""
    project = open_pairs(studio)
    for person, wrong in ((ANA, ()), (BEN, ()), (CAI, range(4))):
        label_all(studio, project, person, wrong)
    return project


def _label(project: Project, item: Item, wrong: Collection[int]) -> NewLabel:
    number = int(item.prompt[0]["content"].split("<b>")[1].split("<")[0])
    good = "a" if item.a[0]["content"].startswith("Good") else "b"
    chosen = good if number not in wrong else {"a": "b", "b": "a"}[good]
    if project.task is Task.RATING:
        ratings = {"rating_a": 5 if chosen == "a" else 2, "rating_b": 5 if chosen == "b" else 2}
        return NewLabel(project.id, item.id, new_id("nonce"), active_seconds=4.0, **ratings)
    return NewLabel(project.id, item.id, new_id("nonce"), Verdict(chosen), active_seconds=4.0)
