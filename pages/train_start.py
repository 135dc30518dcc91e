"""Starting a run from the Train page, and where it stands afterwards."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from pages.components.markup import address, error_note, link, note, state_chip
from pages.components.recipe_form import described
from pages.components.wiring import toast
from pages.train_choices import runs_to_wait_for
from studio.core import StudioError, new_id
from studio.jobs import JobState
from studio.studio import Studio
from studio.training import Run, Stage, StartRun, recipe_text


def start(
    studio: Studio,
    *,
    name: str,
    request_id: str,
    priority: float | None,
    after: list[str] | None,
    anyway: bool,
    devices: list[str] | None,
    **given: Any,
) -> tuple[Any, ...]:
    """Start a run; says where it stands, or everything that keeps it from starting."""
    try:
        recipe = described(**given)
        asked = StartRun(
            stage=Stage(given["stage"]),
            recipe=recipe_text(recipe.model_dump(mode="json", exclude_unset=True)),
            name=name.strip(),
            request_id=request_id,
            priority=int(priority or 0),
            after=tuple(after or ()),
            continue_on_error=bool(anyway),
            devices=tuple(int(one) for one in devices or ()),
        )
        run = studio.training.start(studio.actor, asked)
    except StudioError as error:
        return error_note(error), request_id, "", "", runs_to_wait_for(studio, after or ())
    toast(Markup("“{}” is on its way. {}.").format(run.name, _watch(run)))
    return "", new_id("request"), run.id, standing(studio, run.id), runs_to_wait_for(studio, ())


def standing(studio: Studio, run_id: str) -> Markup:
    """Where a run stands: its place in the queue and what it waits for, or what became of it."""
    if not run_id:
        return Markup()
    try:
        run = studio.training.get(studio.actor, run_id)
    except StudioError as error:
        return error_note(error)
    kind = "td-bad" if run.state in (JobState.FAILED, JobState.LOST) else "td-good"
    said = Markup("“{}” {} {} {}.").format(run.name, state_chip(run.state), _place(studio, run), _watch(run))
    return note(said, kind)


def _place(studio: Studio, run: Run) -> Markup:
    if run.state is not JobState.QUEUED:
        return Markup("{}").format(run.reason)
    found = [one for one in studio.training.queue(studio.actor) if one.run.id == run.id]
    if not found:
        return Markup()
    why = found[0].waits_for.rstrip(".")
    where = link("the queue", address("runs"))
    return Markup("Place {} in {}. {}").format(found[0].place, where, f"{why}. " if why else "")


def _watch(run: Run) -> Markup:
    return link("Watch its curve", address("runs", run=run.id))
