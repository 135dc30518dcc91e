"""The part of People that reads the audit log: newest first, filtered and paged by the address.

``by`` is who, ``did`` the verb, ``kind`` and ``object`` what it was done to, ``before`` the entry that the
page ends above. Only admins read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from markupsafe import Markup

from pages.components.markup import address, link
from pages.components.panels import panel_head
from pages.components.record_list import Column, Entry, no_match, record_list
from pages.components.wording import stamp
from studio.core import AuditEntry
from studio.studio import Studio

PAGE = 50

_COLUMNS = (
    Column("Who", "", "td-main", bare=True),
    Column("Did what", "", "td-full", bare=True),
    Column("When", "", "td-num", bare=True),
)
_FILTERS = ("by", "did", "kind", "object")


def listing(studio: Studio, asked: Mapping[str, str]) -> Markup:
    """One page of the log with its filters."""
    kept = {name: asked[name] for name in _FILTERS if asked.get(name)}
    before = asked.get("before", "")
    found = studio.audit.search(
        studio.actor,
        person=kept.get("by", ""),
        verb=kept.get("did", ""),
        kind=kept.get("kind", ""),
        object_id=kept.get("object", ""),
        before=int(before) if before.isdecimal() and len(before) < 19 else None,
        limit=PAGE + 1,
    )
    head = panel_head("Audit log", address("people")) + _filters(studio, kept)
    if not found:
        return head + no_match("No entry fits. Take a filter away.")
    rows = [_entry(entry, kept) for entry in found[:PAGE]]
    table = record_list("Audit log", _COLUMNS, rows, asked)
    return head + table + _pager(found, kept, before)


def _entry(entry: AuditEntry, kept: dict[str, str]) -> Entry:
    who = _filtered(entry.actor, kept | {"by": entry.actor})
    target = _filtered(entry.target.id, kept | {"kind": entry.target.kind, "object": entry.target.id})
    detail = Markup('<span class="td-sub td-about">{}</span>').format(entry.detail) if entry.detail else ""
    what = Markup("{} {} {}{}").format(entry.verb, entry.target.kind.replace("_", " "), target, detail)
    person = Markup('{} <span class="td-sub">{}</span>').format(who, entry.role)
    return Entry((person, what, stamp(entry.at)))


def _filtered(label: str, kept: dict[str, str]) -> Markup:
    return link(label, address("people", view="audit", **kept))


def _filters(studio: Studio, kept: dict[str, str]) -> Markup:
    people = {one.name for one in studio.accounts.list(studio.actor)} | {"local", "studio"}
    picks = (
        _pick("by", "Everyone", people | {kept.get("by", "")}, kept),
        _pick("did", "Whatever was done", studio.audit.verbs(studio.actor), kept),
        _pick("kind", "To anything", studio.audit.kinds(studio.actor), kept),
    )
    one = Markup()
    if kept.get("object"):
        rest = {name: value for name, value in kept.items() if name != "object"}
        one = Markup('<span class="td-sub">Only {}. {}</span>').format(
            kept["object"], _filtered("Show all", rest)
        )
    return Markup('<div class="td-filters">{}{}</div>').format(Markup().join(picks), one)


def _pick(name: str, every: str, values: Iterable[str], kept: dict[str, str]) -> Markup:
    chosen = kept.get(name, "")
    options = Markup().join(
        Markup('<option value="{0}"{1}>{2}</option>').format(
            value, Markup(" selected") if value == chosen else "", value.replace("_", " ") or every
        )
        for value in ("", *sorted(one for one in values if one))
    )
    return Markup(
        '<select class="td-search td-pick" data-search="{}" data-drops="before" aria-label="{}">{}</select>'
    ).format(name, every, options)


def _pager(found: tuple[AuditEntry, ...], kept: dict[str, str], before: str) -> Markup:
    newest = _filtered("Newest", kept) if before else Markup()
    older = _filtered("Older", kept | {"before": str(found[PAGE - 1].id)}) if len(found) > PAGE else Markup()
    return Markup('<nav class="td-pager" aria-label="Pages of the log">{}{}</nav>').format(newest, older)
