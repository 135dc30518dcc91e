"""A look at a file before it is imported: what it seems to be, and which column plays which part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.dataset_rows import source_table
from pages.components.markup import chip, error_note
from pages.components.visible import HIDDEN, when
from studio.core import InvalidInput, StudioError
from studio.datasets import ColumnMap, Inspection, SourceFormat
from studio.datasets.conversion import FORMATS
from studio.studio import Studio

#: No format has more parts than this.
MOST_PARTS = 4
_NOT_USED = "(not in the file)"
FORMAT_WORDS = {
    SourceFormat.ALPACA: "Alpaca: instruction, input, output",
    SourceFormat.SHAREGPT: "ShareGPT: conversations with from and value",
    SourceFormat.MESSAGES: "Messages: role and content",
    SourceFormat.PROMPT_COMPLETION: "Prompt and completion",
    SourceFormat.PREFERENCE: "Preference pairs: prompt, chosen, rejected",
    SourceFormat.PREFERENCE_IMPLICIT: "Preference pairs with the prompt inside",
    SourceFormat.UNPAIRED: "Judged answers: prompt, completion, label",
    SourceFormat.TEXT: "Plain text",
}


@dataclass(frozen=True)
class Looked:
    """What a look at a file found: the preview, and how the form below it is filled."""

    preview: Markup
    columns: tuple[str, ...] = ()
    format: SourceFormat | None = None
    mapping: ColumnMap | None = None
    name: str = ""


def look(studio: Studio, upload: str | None, path: str) -> Looked:
    """Look at the file: what it seems to be, and its first rows."""
    try:
        source = source_of(upload, path)
        found = studio.datasets.inspect(studio.actor, source)
    except StudioError as error:
        return Looked(error_note(error))
    return Looked(_preview(found), found.columns, found.format, found.mapping, _name_of(source))


def inspect(studio: Studio, *, upload: str | None, path: str) -> tuple[Any, ...]:
    """The preview, and the form filled with what was detected."""
    found = look(studio, upload, path)
    chosen = dict(found.mapping.columns) if found.mapping else {}
    pickers = part_pickers(found.format, found.columns, chosen)
    form = gr.update(visible=when(bool(found.columns)))
    return (found.preview, form, found.columns, found.format, found.name or gr.skip(), "", *pickers)


def uploaded_file(studio: Studio, *, upload: str | None) -> tuple[Any, ...]:
    """The same for an upload, which takes the place of a path."""
    return ("", *inspect(studio, upload=upload, path=""))


def pick_format(_studio: Studio, *, chosen: str | None, columns: Sequence[str]) -> tuple[Any, ...]:
    """The pickers of another format; columns that are called like a part are chosen for it."""
    format_ = SourceFormat(chosen) if chosen else None
    same = {column.lower(): column for column in columns}
    return part_pickers(format_, columns, same)


def part_pickers(
    format_: SourceFormat | None, columns: Sequence[str], chosen: dict[str, str]
) -> tuple[Any, ...]:
    """Updates of the pickers: one for each part of the format, the rest hidden."""
    spec = FORMATS[format_] if format_ else None
    parts = (*spec.required, *spec.optional) if spec else ()
    shown: list[Any] = []
    for part in parts:
        needed = spec is not None and part in spec.required
        shown.append(
            gr.update(
                visible=True,
                label=part.capitalize() if needed else f"{part.capitalize()} (may be left out)",
                choices=[*columns] if needed else [_NOT_USED, *columns],
                value=chosen.get(part, None if needed else _NOT_USED),
            )
        )
    return (*shown, *[gr.update(visible=HIDDEN)] * (MOST_PARTS - len(shown)))


def source_of(upload: str | None, path: str) -> Path:
    """The file that was meant: a path wins over an upload.

    Raises:
        InvalidInput: Neither was given, or the upload is gone.
    """
    if path.strip():
        return Path(path.strip())
    if not upload:
        raise InvalidInput("No file was chosen.", "Upload one, or give the path of one on this machine.")
    copy = Path(upload)
    if not copy.exists():
        raise InvalidInput(f"The upload {copy.name} is no longer there.", "Upload the file again.")
    return copy


def _name_of(source: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", source.stem.lower()).strip("-")[:60]


def mapping_of(format_: str | None, chosen: Sequence[str | None]) -> ColumnMap | None:
    """The columns that were picked for the parts of a format, None to let the service detect."""
    if not format_:
        return None
    spec = FORMATS[SourceFormat(format_)]
    parts = (*spec.required, *spec.optional)
    named = {
        part: column for part, column in zip(parts, chosen, strict=False) if column and column != _NOT_USED
    }
    # Without any column the source has none to choose (plain text): let the service detect.
    return ColumnMap(named) if named else None


def _preview(found: Inspection) -> Markup:
    if found.format is None:
        seen = chip("format not recognised", "td-bad")
    else:
        seen = chip(FORMAT_WORDS[found.format], "td-good" if found.sure else "td-busy")
    said = Markup('<p class="td-sub">{}</p>').format(found.note) if found.note else Markup()
    return Markup('<div class="td-stack">{}{}{}</div>').format(
        seen, said, source_table(found.columns, found.sample)
    )
