"""Home: the loop as it stands, what is running, and the next sensible step.

It reads every two seconds while someone looks at it, so what it asks of the services is cheap: lists
of records, never rows of data.
"""

from __future__ import annotations

from dataclasses import replace

import gradio as gr
from markupsafe import Markup

from pages.components.feed import feed
from pages.components.guidance import Snapshot, Step, next_step
from pages.components.loop import Station, draw_loop
from pages.components.markup import SKELETON, address, button, link, page_head, progress_bar, state_chip
from pages.components.snapshots import look
from pages.components.visits import block, page_visit
from pages.components.wiring import listen
from pages.components.wording import count
from studio.jobs import Job, Progress
from studio.studio import Studio
from studio.training import Stage

TITLE = "Home"

_EVERY_SECONDS = 2.0


def view(studio: Studio) -> tuple[Markup, Markup, Markup]:
    """The next step, the loop, and what goes on beside it."""
    seen = look(studio)
    step = next_step(seen)
    loop = draw_loop(
        stations(studio, seen, step.station),
        "Every answer leads back to the run, the data and the votes that made it.",
    )
    lately = Markup('<section class="td-card"><h2 class="td-title">Lately</h2>{}</section>').format(
        feed(studio)
    )
    beside = Markup('<div class="td-columns">{}{}</div>').format(_working(studio, seen), lately)
    return _proposal(step), loop, beside


def stations(studio: Studio, seen: Snapshot, proposed: str) -> tuple[Station, ...]:
    """The eight stations with their counts, and the one called ``proposed`` marked."""
    moving = _moving(studio, seen)
    drawn = (*_first_half(seen), *_second_half(seen))
    return tuple(
        replace(
            station,
            proposed=station.name == proposed,
            busy=station.name in moving,
            part=moving.get(station.name),
        )
        for station in drawn
    )


def _first_half(seen: Snapshot) -> tuple[Station, ...]:
    doing = seen.running is not None and seen.running.stage is not Stage.DPO
    verdicts = seen.votes + seen.labels
    return (
        Station(
            "Data",
            address("data"),
            count(seen.datasets, "dataset"),
            "importing" if seen.importing else f"{seen.rows:,} rows" if seen.rows else "",
            reached=seen.datasets > 0,
        ),
        Station(
            "Train",
            address("runs") if seen.runs else address("train"),
            count(seen.runs, "run"),
            "one under way" if doing else "",
            reached=seen.runs > 0,
        ),
        Station(
            "Models",
            address("models"),
            count(seen.models, "model"),
            "unpacking the embedded model" if seen.preparing else _of_these(seen.adapters, "adapter"),
            reached=seen.models > 0,
        ),
        Station("Compare", address("chat"), count(verdicts, "verdict"), "", reached=verdicts > 0),
    )


def _second_half(seen: Snapshot) -> tuple[Station, ...]:
    doing = seen.running is not None and seen.running.stage is Stage.DPO
    return (
        Station("Preferences", address("data"), count(seen.pairs, "pair"), "", reached=seen.pairs > 0),
        Station(
            "Train again",
            address("train", stage="dpo"),
            seen.preferred or "no DPO model",
            "one under way" if doing else "",
            reached=bool(seen.preferred),
        ),
        Station(
            "Deploy",
            address("deploy"),
            count(seen.deployments, "deployment"),
            ", ".join(seen.deployed[:2]),
            reached=seen.deployments > 0,
        ),
        Station("Traffic", address("deploy"), count(seen.answers, "answer"), "", reached=seen.answers > 0),
    )


def _of_these(number: int, noun: str) -> str:
    return f"{count(number, noun)} among them" if number else ""


def _moving(studio: Studio, seen: Snapshot) -> dict[str, float | None]:
    """The stations where something works, and how far it is on its way to the next one."""
    moving: dict[str, float | None] = {}
    if seen.importing is not None:
        moving["Data"] = _part(studio.jobs.progress(studio.actor, seen.importing.id))
    if seen.preparing is not None:
        moving["Models"] = None
    if seen.running is not None:
        station = "Train again" if seen.running.stage is Stage.DPO else "Train"
        moving[station] = _part(seen.running.progress)
    return moving


def _part(progress: Progress | None) -> float:
    return progress.done / progress.total if progress and progress.total > 0 else 0.0


def _proposal(step: Step) -> Markup:
    return Markup('<div class="td-next"><p>{}</p>{}</div>').format(
        step.sentence, button(step.label, step.href)
    )


def _working(studio: Studio, seen: Snapshot) -> Markup:
    """What works now, each with its progress."""
    lines = []
    if seen.running is not None:
        run = seen.running
        title = link(run.name, address("runs", run=run.id))
        lines.append(_job_line(title, state_chip(run.state), progress_bar(run.progress)))
    for job, doing, tab in (
        (seen.preparing, "Preparing a base model", "models"),
        (seen.importing, "Importing a dataset", "data"),
    ):
        if job is not None:
            lines.append(_light_job(studio, job, doing, tab))
    idle = Markup(
        '<p class="td-sub">Nothing is running. Runs and imports show up here, wherever they were started.</p>'
    )
    body = Markup().join(lines) if lines else idle
    return Markup('<section class="td-card"><h2 class="td-title">Running now</h2>{}</section>').format(body)


def _light_job(studio: Studio, job: Job, title: str, tab: str) -> Markup:
    bar = progress_bar(studio.jobs.progress(studio.actor, job.id))
    return _job_line(link(title, address(tab)), state_chip(job.state), bar)


def _job_line(title: Markup, chip: Markup, bar: Markup) -> Markup:
    return Markup(
        '<div class="td-job"><div class="td-job-head"><span class="td-sub">{}</span>{}</div>{}</div>'
    ).format(title, chip, bar)


def render(studio: Studio) -> None:
    """Draw the page."""
    purpose = "From data to a better model and back: the loop as it stands, and the next sensible step."
    block(page_head("Home", purpose))
    with gr.Column(elem_classes="td-home"):
        proposal = block(SKELETON)
        loop = block(SKELETON)
        beside = block()
    visit = page_visit("home", every=_EVERY_SECONDS)
    for event, name in ((visit.visit, "home"), (visit.tick, "home_tick")):
        listen(event, view, studio, api_name=name, outputs=[proposal, loop, beside], quiet=True)
