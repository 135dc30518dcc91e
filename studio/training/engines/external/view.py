"""A model's folder as an engine is to see it: with a chat template, also where its makers gave none.

The engines take the template from the tokeniser. For a base model without one the studio renders by a plain
template of its own; the engine then sees a folder of links in which that template stands too.
"""

from __future__ import annotations

from pathlib import Path

from studio.core import read_json
from studio.training.rendering import PLAIN_TEMPLATE

_TEMPLATES = ("chat_template.jinja", "chat_template.json")


def with_template(base: Path, folder: Path) -> Path:
    """``base`` itself if it brings a chat template, else ``folder`` made into a view of it."""
    if _has_template(base):
        return base
    folder.mkdir(parents=True, exist_ok=True)
    for path in base.iterdir():
        (folder / path.name).symlink_to(path.resolve())
    (folder / _TEMPLATES[0]).write_text(PLAIN_TEMPLATE, encoding="utf-8")
    return folder


def _has_template(base: Path) -> bool:
    if any((base / name).is_file() for name in _TEMPLATES):
        return True
    try:
        told = read_json(base / "tokenizer_config.json")
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and bool(told.get("chat_template"))
