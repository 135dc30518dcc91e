"""What happened lately: the audit log as short sentences, with links to what they are about.

Entries that come in crowds (votes, labels, requests) are counted, and jobs are left out: what they
were for has an entry of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from markupsafe import Markup

from pages.components.markup import address, link
from pages.components.wording import ago, count
from studio.core import LOCAL_ADMIN, AuditEntry, StudioError
from studio.studio import Studio

#: Entries that are read, and lines that are shown.
READ, SHOWN = 200, 8
_QUIET = ("job", "conversation")
_NOUNS = {"run": "run", "model_version": "model", "dataset_version": "dataset"}
_PLACES = {
    "run": ("runs", "run"),
    "model_version": ("models", "model"),
    "dataset_version": ("data", "version"),
    "deployment": ("deploy", "deployment"),
}


def feed(studio: Studio) -> Markup:
    """The newest entries, newest first."""
    entries = [entry for entry in studio.audit.recent(LOCAL_ADMIN, READ) if entry.target.kind not in _QUIET]
    lines = [line for _, line in zip(range(SHOWN), _lines(studio, entries), strict=False)]
    if not lines:
        return Markup('<p class="td-sub">Nothing has happened yet.</p>')
    return Markup('<ul class="td-feed">{}</ul>').format(Markup().join(lines))


def _lines(studio: Studio, entries: Sequence[AuditEntry]) -> Iterator[Markup]:
    for (verb, kind), group in groupby(entries, key=lambda entry: (entry.verb, entry.target.kind)):
        same = list(group)
        if kind in _PLACES:
            yield from (_line(_about(studio, entry), entry.at) for entry in same)
        else:
            noun = kind.replace("_", " ")
            yield _line(f"{verb.capitalize()}: {count(len(same), noun)}", same[0].at)


def _line(words: object, at: float) -> Markup:
    return Markup('<li><span>{}</span><span class="td-when">{}</span></li>').format(words, ago(at))


def _about(studio: Studio, entry: AuditEntry) -> Markup:
    kind, identity = entry.target.kind, entry.target.id
    tab, parameter = _PLACES[kind]
    name = link(_name(studio, kind, identity) or identity, address(tab, **{parameter: identity}))
    return Markup("{} {} {}").format(entry.verb.capitalize(), _NOUNS.get(kind, kind), name)


def _name(studio: Studio, kind: str, identity: str) -> str:
    """What people call the object, or nothing where it is not known any more."""
    try:
        if kind == "run":
            return studio.training.get(LOCAL_ADMIN, identity).name
        if kind == "model_version":
            return studio.registry.version(LOCAL_ADMIN, identity).reference
        if kind == "dataset_version":
            return studio.datasets.version(LOCAL_ADMIN, identity).reference
    except StudioError:
        return ""
    return ""
