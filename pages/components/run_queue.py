"""The queue of runs as a list that can be put in another order: by its buttons, or by dragging.

What each run waits for stands beside it, in the words of the job room. A run that is moved keeps its
priority, and a higher priority always goes first.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from pages.components.acts import ask, do, question
from pages.components.markup import address, link, tag
from pages.components.wording import count
from studio.training import QueuedRun

#: Runs that are shown; more than these nobody puts in order by hand.
MOST_SHOWN = 50


def queue_panel(waiting: Sequence[QueuedRun]) -> Markup:
    """The runs that wait, the next one first; nothing where none does."""
    if not waiting:
        return Markup()
    shown = waiting[:MOST_SHOWN]
    rows = Markup().join(_row(one, shown, place) for place, one in enumerate(shown))
    more = len(waiting) - len(shown)
    rest = Markup('<p class="td-sub">{} more wait behind them.</p>').format(f"{more:,}") if more else Markup()
    title = Markup('<h2 class="td-title">{}</h2>').format(_title(len(waiting)))
    return Markup(
        '<section class="td-card td-queue" aria-label="Queue">{}<ol class="td-queue-list">{}</ol>{}</section>'
    ).format(title, rows, rest)


def _title(number: int) -> str:
    return f"{count(number, 'run')} {'waits' if number == 1 else 'wait'}, the next one first"


def _row(one: QueuedRun, shown: Sequence[QueuedRun], place: int) -> Markup:
    run = one.run
    gone = f"remove-{run.id}"
    return Markup(
        '<li class="td-queue-row" data-drag="{}" draggable="true">'
        '<span class="td-grip" aria-hidden="true" title="Drag to another place"></span>'
        '<span class="td-queue-place td-num">{}</span>'
        '<span class="td-queue-name">{} {}<span class="td-sub">{}</span></span>'
        '<span class="td-queue-acts">{}{}{}{}</span>{}</li>'
    ).format(
        run.id,
        one.place,
        link(run.name, address("runs", run=run.id)),
        tag(run.stage.value.upper()),
        one.waits_for,
        _priority(run.id, run.name, run.priority),
        _up(run.id, run.name, shown, place),
        _down(run.id, run.name, shown, place),
        ask("Remove", gone, kind="td-plain", hint=f"Take {run.name} out of the queue"),
        question(
            gone,
            f"“{run.name}” leaves the queue and counts as stopped. You can resume it later.",
            do("Take it out", "stop", kind="td-danger", run=run.id),
            leave="Leave it in",
        ),
    )


def _priority(run_id: str, name: str, priority: int) -> Markup:
    return Markup('<span class="td-stepper" role="group" aria-label="Priority of {}">{}{}{}</span>').format(
        name,
        _icon("−", f"Lower the priority of {name}", "prioritise", run_id, priority=priority - 1),
        Markup('<span class="td-sub" title="Priority: higher ones go first">priority {}</span>').format(
            priority
        ),
        _icon("+", f"Raise the priority of {name}", "prioritise", run_id, priority=priority + 1),
    )


def _up(run_id: str, name: str, shown: Sequence[QueuedRun], place: int) -> Markup:
    before = shown[place - 1].run.id if place else None
    return _icon("↑", f"Move {name} up", "move", run_id, before=before, key="up")


def _down(run_id: str, name: str, shown: Sequence[QueuedRun], place: int) -> Markup:
    last = place == len(shown) - 1
    before = shown[place + 2].run.id if place + 2 < len(shown) else ""
    return _icon("↓", f"Move {name} down", "move", run_id, before=None if last else before, key="down")


def _icon(sign: str, hint: str, what: str, run_id: str, **data: object) -> Markup:
    """A small button; one that could do nothing (its data is None) is there and does not act."""
    if None in data.values():
        return Markup('<button type="button" class="td-icon" aria-label="{}" disabled>{}</button>').format(
            hint, sign
        )
    return do(sign, what, kind="td-icon", hint=hint, run=run_id, **data)
