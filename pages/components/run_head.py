"""The top of an open run: its name and state, how far it is, why it failed, and what can be done now."""

from __future__ import annotations

from markupsafe import Markup

from pages.components.acts import ask, do, question, row
from pages.components.failure_card import failure_card
from pages.components.markup import address, chip, link, note, progress_bar, state_chip, tag
from studio.jobs import JobState
from studio.training import FailureCard, Run

_UNDER_WAY = (JobState.QUEUED, JobState.STARTING, JobState.RUNNING)
_ENDED = (JobState.STOPPED, JobState.FAILED, JobState.LOST)


def run_head(run: Run, card: FailureCard | None = None, waits_for: str = "") -> Markup:
    """Everything above the curve; ``waits_for`` is what a queued run waits for, in words."""
    parts = (_title(run), _standing(run, card, waits_for), _buttons(run, card))
    return Markup('<div class="td-run-head">{}</div>').format(Markup().join(parts))


def _title(run: Run) -> Markup:
    close = Markup('<span class="td-sub">{}</span>').format(link("Show the whole list", address("runs")))
    state = chip("paused", "td-idle") if _paused(run) else state_chip(run.state)
    return Markup('<div class="td-job-head"><h2 class="td-run-name">{} {} {}</h2>{}</div>').format(
        run.name, tag(run.stage.value.upper()), state, close
    )


def _paused(run: Run) -> bool:
    return run.paused and run.state is JobState.STOPPED


def _standing(run: Run, card: FailureCard | None, waits_for: str) -> Markup:
    if run.state is JobState.SUCCEEDED:
        return Markup()
    if not run.state.final:
        return progress_bar(run.progress, waits_for or "Waiting for its turn")
    if card is not None:
        return failure_card(card)
    kind = "" if run.state is JobState.STOPPED else "td-bad"
    return note(run.reason or _without_reason(run), kind)


def _without_reason(run: Run) -> str:
    if _paused(run):
        return "The run is paused. It goes on from its newest checkpoint when you resume it."
    if run.state is JobState.STOPPED:
        return "The run was stopped on request and can be resumed."
    return "The run ended without saying why. Its log below has the last words."


def _buttons(run: Run, card: FailureCard | None) -> Markup:
    return Markup("{}{}").format(row(*_under_way(run), *_ended(run, card), _board(run)), _sure(run))


def _under_way(run: Run) -> tuple[Markup, ...]:
    if run.state not in _UNDER_WAY:
        return ()
    return do("Pause", "pause", run=run.id), ask("Stop", "stop")


def _sure(run: Run) -> Markup:
    if run.state not in _UNDER_WAY:
        return Markup()
    waits = run.state is JobState.QUEUED
    saved = "It leaves the queue." if waits else "It saves a checkpoint after its current step and ends."
    return question(
        "stop",
        f"{saved} You can resume it later.",
        do("Stop this run", "stop", kind="td-danger", run=run.id),
        leave="Keep it running",
    )


def _ended(run: Run, card: FailureCard | None) -> tuple[Markup, ...]:
    if run.state not in _ENDED:
        return ()
    fixable = card is not None and bool(card.fix)
    resume = do("Resume", "resume", kind="" if fixable else "td-primary", run=run.id)
    same = do("Retry as it was", "retry", run=run.id)
    if not fixable:
        return resume, same
    return do("Retry with this fix", "retry_fixed", kind="td-primary", run=run.id), same, resume


def _board(run: Run) -> Markup:
    """A form and no event: its answer is another page, which a browser opens in a new tab only on a click."""
    return Markup(
        '<form method="post" action="tensorboard/runs/{}" target="_blank" class="td-inline">'
        '<button type="submit" class="td-button td-small">Open TensorBoard</button></form>'
    ).format(run.id)
