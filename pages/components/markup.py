"""Pieces of HTML as ``Markup``: whatever is put into them is escaped.

Only the constants in this package are trusted. A name, a log line or an error message always enters
through ``Markup.format`` or ``join``, which escape; nothing here takes ready HTML as a plain string.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

from markupsafe import Markup

from pages.components.wording import duration
from studio.core import StudioError
from studio.jobs import JobState, Progress

SKELETON = Markup('<div class="td-skeleton" aria-busy="true" aria-label="Loading">{}</div>').format(
    Markup("<span></span>") * 3
)

_STATES = {
    JobState.QUEUED: ("td-idle", "waiting"),
    JobState.STARTING: ("td-busy", "starting"),
    JobState.RUNNING: ("td-busy", "running"),
    JobState.STOPPING: ("td-busy", "stopping"),
    JobState.SUCCEEDED: ("td-good", "succeeded"),
    JobState.FAILED: ("td-bad", "failed"),
    JobState.STOPPED: ("td-idle", "stopped"),
    JobState.LOST: ("td-bad", "lost"),
}


def address(tab: str, **parameters: str) -> str:
    """The address of a page, and of a row in it: ``?tab=runs&run=run_…``; empty values are left out."""
    return "?" + urlencode({"tab": tab} | {key: value for key, value in parameters.items() if value})


def link(label: object, href: str) -> Markup:
    """A link inside the studio."""
    return Markup('<a href="{}" data-go>{}</a>').format(href, label)


def button(label: str, href: str, *, primary: bool = True) -> Markup:
    """A link inside the studio that looks like a button."""
    kind = "td-button td-primary" if primary else "td-button"
    return Markup('<a class="{}" href="{}" data-go>{}</a>').format(kind, href, label)


def way_out(label: str, href: str) -> Markup:
    """A link that looks like a button and leaves this application, such as for ``../login``."""
    return Markup('<a class="td-button td-primary" href="{}">{}</a>').format(href, label)


def page_head(title: str, purpose: str, action: Markup | None = None) -> Markup:
    """The opening of a page: its name, one line that says what it is for, and its primary action."""
    words = Markup("<div><h1>{}</h1><p>{}</p></div>").format(title, purpose)
    return Markup('<div class="td-head">{}{}</div>').format(words, action or Markup())


def state_chip(state: JobState) -> Markup:
    """The chip of a job's or run's state."""
    kind, word = _STATES[state]
    return chip(word, kind)


def chip(word: str, kind: str) -> Markup:
    """A state chip; ``kind`` is ``td-good``, ``td-busy``, ``td-bad`` or ``td-idle``."""
    return Markup('<span class="td-chip {}">{}</span>').format(kind, word)


def tag(word: str, kind: str = "") -> Markup:
    """A neutral label; ``kind`` may be ``td-a`` or ``td-b``."""
    return Markup('<span class="td-tag {}">{}</span>').format(kind, word)


def copyable(identity: str) -> Markup:
    """A short id that is copied on click."""
    return Markup(
        '<button type="button" class="td-id" data-copy="{0}" title="Copy this id">{0}</button>'
    ).format(identity)


def facts(rows: Mapping[str, object]) -> Markup:
    """A definition list; values that are None or empty are left out."""
    lines = (Markup("<dt>{}</dt><dd>{}</dd>").format(k, v) for k, v in rows.items() if v not in (None, ""))
    return Markup('<dl class="td-facts">{}</dl>').format(Markup().join(lines))


def empty(what: str, advice: str, action: Markup | None = None) -> Markup:
    """An empty state: what is missing, the next step in words, and the button that does it."""
    return Markup('<div class="td-empty"><p><strong>{}</strong>{}</p>{}</div>').format(
        what, advice, action or Markup()
    )


def note(sentence: object, kind: str = "", lines: Iterable[object] = ()) -> Markup:
    """A message; ``kind`` is empty or a state class, ``lines`` become a list under it."""
    entries = Markup().join(Markup("<li>{}</li>").format(line) for line in lines)
    listed = Markup("<ul>{}</ul>").format(entries) if entries else Markup()
    return Markup('<div class="td-note {}" role="status"><p>{}</p>{}</div>').format(kind, sentence, listed)


def error_note(error: StudioError) -> Markup:
    """What happened, what to do, and every finding of an error."""
    sentence = Markup("<strong>{}</strong> {}").format(error.message, error.todo)
    return note(sentence, "td-bad", error.details)


def progress_bar(progress: Progress | None, waiting: str = "Waiting for its turn") -> Markup:
    """A progress bar with the phase in words and the time left; ``waiting`` where there is none yet."""
    if progress is None:
        return _bar(0.0, waiting, "")
    part = progress.done / progress.total if progress.total > 0 else 0.0
    left = "" if progress.eta_seconds is None else f", about {duration(progress.eta_seconds)} left"
    figure = f"{progress.done:,.0f} of {progress.total:,.0f}{left}" if progress.total > 0 else ""
    return _bar(min(part, 1.0), progress.phase, figure)


def _bar(part: float, phase: str, figure: str) -> Markup:
    return Markup(
        '<div class="td-progress"><div class="td-progress-words"><span>{}</span>'
        '<span class="td-sub">{}</span></div>'
        '<div class="td-bar" role="progressbar" aria-valuenow="{:.0f}" aria-valuemin="0" '
        'aria-valuemax="100" style="--part: {:.4f}" aria-label="{}"></div></div>'
    ).format(phase, figure, part * 100, part, phase)
