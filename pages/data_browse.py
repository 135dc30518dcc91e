"""One dataset version opened: what it is, how it was made, what was set aside, and its rows page by page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.dataset_rows import row_view
from pages.components.marks import marks_note
from pages.components.markup import address, button, copyable, empty, error_note, facts, link, note, tag
from pages.components.record_list import search_box
from pages.components.sharing import SharingPanel, draw
from pages.components.visible import HIDDEN
from pages.components.visits import block
from pages.components.wording import ago, count, stamp
from studio.core import Node, StudioError
from studio.datasets import DatasetVersion, ImportReport, SchemaKind, Split
from studio.studio import Studio

ROWS_PER_PAGE = 10
_DIGEST_SHOWN = 12
_DIGEST_LENGTH = 64
_SPLITS = {Split.TRAIN: "Training", Split.VALIDATION: "Held out"}
_STAGES = {SchemaKind.CORPUS: "cpt", SchemaKind.INSTRUCTION: "sft", SchemaKind.PREFERENCE: "dpo"}


@dataclass(frozen=True)
class Opened:
    """An open version: what stands above the row search, the rows, and its dataset (None for an error)."""

    head: Markup
    rows: Markup
    dataset: Node | None = None


def opened(studio: Studio, asked: Mapping[str, str]) -> Opened | None:
    """The version that the address names, None where it names none; an error is shown in its place."""
    if not asked.get("version"):
        return None
    try:
        version = studio.datasets.version(studio.actor, asked["version"])
        dataset = Node("dataset", version.dataset_id)
        return Opened(_head(studio, version), rows(studio, version, asked), dataset)
    except StudioError as error:
        return Opened(error_note(error), Markup())


def rows(studio: Studio, version: DatasetVersion, asked: Mapping[str, str]) -> Markup:
    """One page of rows of the side and search that the address asks for, with the ways on."""
    split = _split(version, asked)
    search = asked.get("find", "")
    first = int(asked["from"]) if asked.get("from", "").isdecimal() and len(asked["from"]) < 10 else 0
    page = studio.datasets.page(studio.actor, version.id, split, first, ROWS_PER_PAGE, search)
    sides = Markup().join(_side(version, side, side is split, asked) for side in Split)
    bar = Markup(
        '<div class="td-rows-bar"><nav class="td-segments" aria-label="Side of the split">{}</nav>{}</div>'
    )
    if not page.rows:
        nothing = (
            empty("No row matches.", "Search for other words.")
            if search
            else empty("No rows.", _why_none(split))
        )
        return bar.format(sides, Markup()) + nothing
    shown = Markup().join(row_view(version.kind, row, page.first + n + 1) for n, row in enumerate(page.rows))
    pager = _pager(page.first, len(page.rows), page.total, asked)
    return bar.format(sides, pager) + Markup('<ol class="td-rows">{}</ol>{}').format(shown, pager)


def _why_none(split: Split) -> str:
    if split is Split.VALIDATION:
        return "Nothing was held out of this version; set a validation share when you make one."
    return "Everything in this version is held out, so nothing of it can be trained on."


def _split(version: DatasetVersion, asked: Mapping[str, str]) -> Split:
    if asked.get("split") in set(Split):
        return Split(asked["split"])
    return Split.TRAIN if version.rows.get(Split.TRAIN) else Split.VALIDATION


def _side(version: DatasetVersion, side: Split, current: bool, asked: Mapping[str, str]) -> Markup:
    href = _here(asked, split=side.value, **{"from": ""})
    return Markup(
        '<a href="{}" data-go="replace" aria-current="{}">{} <span class="td-sub">{:,}</span></a>'
    ).format(href, "true" if current else "false", _SPLITS[side], version.rows.get(side, 0))


def _pager(first: int, shown: int, total: int, asked: Mapping[str, str]) -> Markup:
    if total <= ROWS_PER_PAGE:
        return Markup()
    words = Markup('<span class="td-sub">{:,} to {:,} of {:,}</span>').format(first + 1, first + shown, total)
    before = _step("Previous", max(first - ROWS_PER_PAGE, 0) if first else None, asked)
    after = _step("Next", first + shown if first + shown < total else None, asked)
    return Markup('<nav class="td-pager" aria-label="Pages">{}{}{}</nav>').format(before, words, after)


def _step(label: str, to: int | None, asked: Mapping[str, str]) -> Markup:
    if to is None:
        return Markup('<span class="td-button td-off" aria-disabled="true">{}</span>').format(label)
    href = _here(asked, **{"from": str(to) if to else ""})
    return Markup('<a class="td-button" href="{}" data-go="replace">{}</a>').format(href, label)


def _here(asked: Mapping[str, str], **changes: str) -> str:
    kept = {key: value for key, value in asked.items() if key not in ("tab", "__theme")}
    return address("data", **(kept | changes))


def _head(studio: Studio, version: DatasetVersion) -> Markup:
    title = Markup('<div class="td-head"><div><h2 class="td-title">{} {}</h2>{}</div>{}</div>').format(
        version.reference, tag(version.kind.value), copyable(version.id), _actions(version)
    )
    parents = Markup(", ").join(_version_link(studio, parent) for parent in version.parents)
    train, held_out = version.rows.get(Split.TRAIN, 0), version.rows.get(Split.VALIDATION, 0)
    described = facts(
        {
            "Rows": f"{train:,} for training, {held_out:,} held out",
            "Made": f"{stamp(version.created_at)} by {version.created_by}",
            "Made from": parents,
            "How": Markup("<br>").join(_step_words(step) for step in version.steps),
            "Licence": version.licence or "not stated",
            "Digest": _digest(version.digest),
        }
    )
    report = studio.datasets.report(studio.actor, version.id)
    aside = rejected(report, version.id) if report else Markup()
    return Markup('<section class="td-card td-stack">{}{}{}{}{}</section>').format(
        title, marks_note(version.marks), described, aside, _history(studio, version)
    )


def _actions(version: DatasetVersion) -> Markup:
    made = []
    if version.kind is SchemaKind.PREFERENCE:
        made.append(
            button("Label these pairs", address("annotate", dataset=version.reference), primary=False)
        )
    stage = _STAGES.get(version.kind)
    if stage and version.rows.get(Split.TRAIN):
        made.append(
            button("Train on it", address("train", stage=stage, dataset=version.reference), primary=False)
        )
    close = Markup('<a class="td-plain" href="{}" data-go="replace">Close</a>').format(address("data"))
    return Markup('<div class="td-head-actions">{}{}</div>').format(Markup().join(made), close)


def _version_link(studio: Studio, version_id: str) -> Markup:
    try:
        version = studio.datasets.version(studio.actor, version_id)
    except StudioError:
        return copyable(version_id)
    return link(version.reference, address("data", version=version.id))


def _step_words(step: Mapping[str, Any]) -> str:
    """A step as words: its name, then what it was told, in the order in which it was written down."""
    name = str(step.get("step", step.get("kind", step.get("name", "made"))))
    # Settings may be nested one level deep; what is deeper is in the REST answer.
    flat = {
        **step,
        **{key: one for inner in step.values() if isinstance(inner, dict) for key, one in inner.items()},
    }
    told = (
        f"{key.replace('_', ' ')} {_short(value)}"
        for key, value in flat.items()
        if key not in ("step", "kind", "name") and isinstance(value, str | int | float) and value != ""
    )
    return f"{name}: {', '.join(told)}".rstrip(": ")


def _short(value: object) -> str:
    text = str(value)
    is_digest = len(text) == _DIGEST_LENGTH and not text.strip("0123456789abcdef")
    return text[:_DIGEST_SHOWN] if is_digest else text


def _digest(digest: str) -> Markup:
    return Markup(
        '<button type="button" class="td-id" data-copy="{}" title="Copy the whole digest">{}</button>'
    ).format(digest, digest[:_DIGEST_SHOWN])


def _history(studio: Studio, version: DatasetVersion) -> Markup:
    versions = studio.datasets.versions(studio.actor, version.name)
    if len(versions) < 2:
        return Markup()
    lines = Markup().join(
        Markup(
            '<li><span>{} <span class="td-sub">{}</span></span>{}<span class="td-when">{}</span></li>'
        ).format(
            Markup("<strong>{}</strong>").format(one.reference)
            if one.id == version.id
            else link(one.reference, address("data", version=one.id)),
            count(one.total_rows, "row"),
            _digest(one.digest),
            ago(one.created_at),
        )
        for one in versions
    )
    return Markup('<details><summary>{}</summary><ul class="td-feed">{}</ul></details>').format(
        count(len(versions), "version"), lines
    )


def rejected(report: ImportReport, version_id: str) -> Markup:
    """What an import set aside: the first rows with field and reason, and the whole file to download."""
    warning = protected(report.protected_rows)
    if not report.rejected_rows:
        return warning
    lines = Markup().join(
        Markup(
            '<tr><td class="td-num" data-label="Row">{:,}</td><td data-label="Field">{}</td>'
            '<td class="td-full">{}</td></tr>'
        ).format(one.row, one.field or "the whole row", one.why)
        for one in report.rejected
    )
    more = report.rejected_rows - len(report.rejected)
    further = (
        Markup('<p class="td-sub">And {:,} more in the file.</p>').format(more) if more > 0 else Markup()
    )
    return warning + Markup(
        '<details class="td-rejects"><summary>{}</summary>'
        '<table class="td-table"><thead><tr><th class="td-num">Row</th><th>Field</th><th>Why</th></tr>'
        '</thead><tbody>{}</tbody></table>{}<p><a class="td-button" href="../datasets/{}/rejects" download>'
        "Download the rejected rows (JSONL)</a></p></details>"
    ).format(f"{count(report.rejected_rows, 'row')} set aside at import", lines, further, version_id)


def protected(rows: int) -> Markup:
    """A warning where an import would train on what models or people are measured with."""
    if not rows:
        return Markup()
    words = f"{count(rows, 'row')} for training have a prompt that is used for evaluation or as gold."
    return note(f"{words} Scores of models that learn from them say little.", "td-busy")


def render() -> tuple[Any, Any, Any, SharingPanel]:
    """The panel: its column, the two blocks that ``opened`` fills, and who may use the dataset."""
    with gr.Column(visible=HIDDEN) as panel:
        head = block()
        block(search_box("Search rows", "find"))
        shown = block()
        sharing = draw()
    return panel, head, shown, sharing
