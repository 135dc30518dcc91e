"""How single tokens read: a text for each id that occurs, and which ids are the model's own marks.

A token that is part of a character has no text of its own and reads as its bytes, ``⟨E2 82⟩``. Texts are
those within a sentence, so a leading space is shown where the token brings one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from studio.core.files import read_json

_BROKEN = "\ufffd"
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


def readable(tokenizer: Any, ids: list[int]) -> dict[str, Any]:
    """The texts of ``ids`` and which of them are special, as JSON for ``vocabulary.json``."""
    special = _special(tokenizer) & set(ids)
    anchor = list(tokenizer("a", add_special_tokens=False)["input_ids"])[-1:]
    before = _decoded(tokenizer, [anchor])[0]
    pieces = tokenizer.convert_ids_to_tokens(ids)
    decoded = _decoded(tokenizer, [[*anchor, token] for token in ids])
    texts = {}
    for token, piece, text in zip(ids, pieces, decoded, strict=True):
        after = text[len(before) :] if text.startswith(before) else text
        texts[str(token)] = str(piece) if token in special else _shown(str(piece), after)
    return {"texts": texts, "special": sorted(special)}


def load_vocabulary(path: Path) -> tuple[dict[int, str], frozenset[int]]:
    """What ``readable`` left in a file: the texts by id, and the special ids."""
    found = read_json(path) or {"texts": {}, "special": []}
    return {int(token): text for token, text in found["texts"].items()}, frozenset(found["special"])


def _special(tokenizer: Any) -> set[int]:
    marked = {
        token
        for token, added in getattr(tokenizer, "added_tokens_decoder", {}).items()
        if getattr(added, "special", False)
    }
    return marked | set(tokenizer.all_special_ids)


def _decoded(tokenizer: Any, sequences: list[list[int]]) -> list[str]:
    return [
        tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        for ids in sequences
    ]


def _shown(piece: str, text: str) -> str:
    if _BROKEN not in text and text:
        return text
    found = _BYTE_TOKEN.fullmatch(piece)
    codes = [int(found[1], 16)] if found else [_BYTES[one] for one in piece if one in _BYTES]
    return f"⟨{' '.join(f'{code:02X}' for code in codes)}⟩" if codes else piece


def _byte_alphabet() -> dict[str, int]:
    """The characters that byte-level tokenisers write bytes with: printable ones stand for themselves."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [code for code in range(256) if code not in plain]
    moved = {chr(256 + place): code for place, code in enumerate(rest)}
    return {chr(code): code for code in plain} | moved


_BYTES = _byte_alphabet()
