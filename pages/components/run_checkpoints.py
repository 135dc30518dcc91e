"""The checkpoints of a run: how good each was, and what can be done with it."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from pages.components.acts import ask, do, field, question
from pages.components.markup import tag
from pages.components.wording import ago, count, significant, size
from studio.jobs import JobState
from studio.training import Checkpoint, Run

_HEADINGS = (
    ("Step", ""),
    ("Held-out loss", "td-num"),
    ("Size", "td-num"),
    ("Saved", "td-num"),
    ("", ""),
)


def checkpoint_panel(run: Run, checkpoints: Sequence[Checkpoint], suggested_name: str) -> Markup:
    """The complete checkpoints, the newest first."""
    if not checkpoints:
        return Markup('<p class="td-sub">{}</p>').format(_none(run))
    ordered = sorted(checkpoints, key=lambda one: one.step, reverse=True)
    rows = Markup().join(_row(run, one, suggested_name) for one in ordered)
    head = Markup().join(
        Markup('<th scope="col" class="{}">{}</th>').format(kind, title) for title, kind in _HEADINGS
    )
    total = size(sum(one.bytes for one in checkpoints))
    return Markup(
        '<p class="td-sub">{}, {} on disk. Only whole ones are listed: one cut short is never used.</p>'
        '<table class="td-table" aria-label="Checkpoints"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>'
    ).format(count(len(checkpoints), "checkpoint"), total, head, rows)


def _none(run: Run) -> str:
    if run.state.final:
        return "No checkpoint is left of this run."
    return "No checkpoint yet. The recipe says how often one is saved (save every)."


def _row(run: Run, one: Checkpoint, suggested_name: str) -> Markup:
    marks = Markup(" ").join(
        tag(word) for word, holds in (("best", one.best), ("newest", one.newest)) if holds
    )
    loss = "–" if one.eval_loss is None else significant(one.eval_loss)
    keep, drop = f"keep-{one.step}", f"drop-{one.step}"
    where = f"the checkpoint at step {one.step}"
    buttons = [ask("Keep as model", keep, kind="td-plain", hint=f"Keep {where} as a model")]
    if run.state in (JobState.STOPPED, JobState.FAILED, JobState.LOST):
        resume = do("Resume from here", "resume", kind="td-plain", run=run.id, step=one.step)
        buttons.insert(0, resume)
    # A run that has not succeeded goes on from its newest one.
    if run.state is JobState.SUCCEEDED or not one.newest:
        buttons.append(ask("Delete", drop, kind="td-plain", hint=f"Delete {where}"))
    asked = _questions(run, one, suggested_name, keep, drop)
    return Markup(
        '<tr><td data-label="Step">{:,} {}</td>'
        '<td class="td-num" data-label="Held-out loss">{}</td>'
        '<td class="td-num" data-label="Size">{}</td><td class="td-num" data-label="Saved">{}</td>'
        '<td class="td-full"><div class="td-act-row">{}</div>{}</td></tr>'
    ).format(one.step, marks, loss, size(one.bytes), ago(one.written_at), Markup().join(buttons), asked)


def _questions(run: Run, one: Checkpoint, suggested_name: str, keep: str, drop: str) -> Markup:
    named = question(
        keep,
        field("name", "Name of the model it becomes a version of", suggested_name),
        do("Keep it", "keep", kind="td-primary", run=run.id, step=one.step),
        leave="Not now",
    )
    gone = question(
        drop,
        f"The checkpoint at step {one.step:,} ({size(one.bytes)}) is deleted for good.",
        do("Delete it", "drop", kind="td-danger", run=run.id, step=one.step),
        leave="Keep it",
    )
    return Markup("{}{}").format(named, gone)
