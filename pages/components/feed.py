"""What happened lately: the audit log as short sentences, with links to what they are about.

Entries that come in crowds (votes, labels, requests) are counted, and jobs are left out: what they
were for has an entry of its own. The log itself is for admins; here researchers read its last lines without
names of people, and without lines about what they may not open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from markupsafe import Markup

from pages.components.markup import address, link
from pages.components.wording import ago, count
from studio.core import SYSTEM, AuditEntry, Role, StudioError
from studio.studio import Studio

#: Entries that are read, and lines that are shown.
READ, SHOWN = 200, 8
_QUIET = ("job", "conversation", "account", "token", "session")
_NOUNS = {"run": "run", "sweep": "sweep", "model_version": "model", "dataset_version": "dataset"}
_PLACES = {
    "run": ("runs", "run"),
    "sweep": ("sweeps", "sweep"),
    "model_version": ("models", "model"),
    "dataset_version": ("data", "version"),
    "deployment": ("deploy", "deployment"),
}


def feed(studio: Studio) -> Markup:
    """The newest entries, newest first."""
    entries = [entry for entry in studio.audit.recent(SYSTEM, READ) if entry.target.kind not in _QUIET]
    lines = [line for _, line in zip(range(SHOWN), _lines(studio, entries), strict=False)]
    if not lines:
        return Markup('<p class="td-sub">Nothing has happened yet.</p>')
    return Markup('<ul class="td-feed">{}</ul>').format(Markup().join(lines))


def _lines(studio: Studio, entries: Sequence[AuditEntry]) -> Iterator[Markup]:
    for (verb, kind), group in groupby(entries, key=lambda entry: (entry.verb, entry.target.kind)):
        same = list(group)
        if kind in _PLACES:
            yield from (_line(words, entry.at) for entry in same if (words := _about(studio, entry)))
        else:
            noun = kind.replace("_", " ")
            yield _line(f"{verb.capitalize()}: {count(len(same), noun)}", same[0].at)


def _line(words: object, at: float) -> Markup:
    return Markup('<li><span>{}</span><span class="td-when">{}</span></li>').format(words, ago(at))


def _about(studio: Studio, entry: AuditEntry) -> Markup:
    """The line about an object that this person may open; nothing about any other."""
    kind, identity = entry.target.kind, entry.target.id
    tab, parameter = _PLACES[kind]
    known = _name(studio, kind, identity)
    if not known and kind in _NOUNS and studio.actor.role is not Role.ADMIN:
        return Markup()
    name = link(known or identity, address(tab, **{parameter: identity}))
    return Markup("{} {} {}").format(entry.verb.capitalize(), _NOUNS.get(kind, kind), name)


def _name(studio: Studio, kind: str, identity: str) -> str:
    """What people call the object, or nothing where it is not known any more."""
    try:
        if kind == "run":
            return studio.training.get(studio.actor, identity).name
        if kind == "sweep":
            return studio.sweeps.get(studio.actor, identity).name
        if kind == "model_version":
            return studio.registry.version(studio.actor, identity).reference
        if kind == "dataset_version":
            return studio.datasets.version(studio.actor, identity).reference
    except StudioError:
        return ""
    return ""
