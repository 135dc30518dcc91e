"""How base models come in: the jobs that bring them, and the form that registers one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.markup import address, copyable, error_note, link, note, progress_bar, state_chip
from pages.components.snapshots import MODEL_JOBS
from pages.components.visits import block
from pages.components.wiring import listen
from studio.core import InvalidInput, StudioError
from studio.jobs import Job, JobState
from studio.registry import BaseSource, ModelVersion
from studio.studio import Studio

#: A model job that failed is shown until so many newer jobs of any kind were started.
_RECENT_JOBS = 20


def on_their_way(studio: Studio) -> Markup:
    """Conversions and downloads with their progress, and the newest one if it failed."""
    jobs = [job for job in studio.jobs.list(studio.actor, limit=_RECENT_JOBS) if job.kind in MODEL_JOBS]
    shown = [job for job in jobs if not job.state.final]
    if not shown and jobs and jobs[0].state in (JobState.FAILED, JobState.LOST):
        shown = jobs[:1]
    return Markup().join(_job(studio, job) for job in shown)


def _job(studio: Studio, job: Job) -> Markup:
    title = (
        "Unpacking the embedded model, once" if job.kind == MODEL_JOBS[0] else "Fetching a model from the Hub"
    )
    if job.state.final:
        sentence = Markup("<strong>{} failed.</strong> {}").format(title, job.reason)
        return note(sentence, "td-bad", (Markup("Job {}").format(copyable(job.id)),))
    bar = progress_bar(studio.jobs.progress(studio.actor, job.id))
    return Markup('<div class="td-card"><div class="td-job-head"><strong>{}</strong>{}</div>{}</div>').format(
        title, state_chip(job.state), bar
    )


def register(studio: Studio, *, location: str, name: str, licence: str, revision: str) -> tuple[Any, ...]:
    """Register a base from a folder or the Hub; says what went wrong beside the form."""
    source = BaseSource(location.strip(), name.strip(), licence.strip(), revision.strip() or "main")
    try:
        if not source.location:
            raise InvalidInput(
                "No place was given.", "Give a folder on this machine, or organisation/name on the Hub."
            )
        made = studio.registry.register(studio.actor, source)
    except StudioError as error:
        return error_note(error), gr.skip(), gr.skip()
    if isinstance(made, ModelVersion):
        where = link(made.reference, address("models", model=made.id))
        return note(Markup("Registered as {}.").format(where), "td-good"), "", ""
    return note("The download has begun; its progress stands at the top of this page.", "td-busy"), "", ""


def draw_form() -> dict[str, Any]:
    """The fields of the form, its button and the place for its answer, by name."""
    block('<p class="td-sub">Safetensors only; code that a model brings is never run.</p>')
    with gr.Row():
        location = gr.Textbox(
            label="Folder, or Hub id", placeholder="/models/my-model or organisation/name", scale=2
        )
        name = gr.Textbox(label="Name (optional)", scale=1)
    with gr.Row():
        licence = gr.Textbox(label="Licence (optional)", placeholder="Apache-2.0")
        revision = gr.Textbox(label="Revision on the Hub", value="main")
    with gr.Row(elem_classes="td-actions"):
        submit = gr.Button("Register", variant="primary", size="md")
    return {
        "location": location,
        "name": name,
        "licence": licence,
        "revision": revision,
        "submit": submit,
        "answer": block(),
    }


def wire_form(studio: Studio, fields: Mapping[str, Any]) -> None:
    """Connect what ``draw_form`` made."""
    inputs = {key: fields[key] for key in ("location", "name", "licence", "revision")}
    outputs = [fields["answer"], fields["location"], fields["name"]]
    listen(fields["submit"].click, register, studio, api_name="register_base", inputs=inputs, outputs=outputs)
