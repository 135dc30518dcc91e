"""Text that comes in pieces is the text that comes at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from studio.serving.engine.detokenise import Detokeniser

TEXTS = ("plain words", "ÄÖÜ ß é", "日本語のテキスト", "🙂🙃 👩‍👩‍👧‍👦", "a\ufffdb", "mixed 🙂 text é 語")


class _Tokenizer:
    """Decodes like a transformers tokenizer, which would bring torch into the test process."""

    def __init__(self, path: Path) -> None:
        self.inner = Tokenizer.from_file(str(path / "tokenizer.json"))

    def decode(self, ids: list[int], **options: bool) -> str:
        return self.inner.decode(ids, skip_special_tokens=options["skip_special_tokens"])


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> _Tokenizer:
    return _Tokenizer(tiny_model)


def pieces(tokenizer: _Tokenizer, ids: list[int]) -> list[str]:
    detokeniser = Detokeniser(tokenizer)
    return [*(detokeniser.push(i) for i in ids), detokeniser.flush()]


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_join_to_the_text_and_split_no_character(tokenizer: _Tokenizer, text: str) -> None:
    got = pieces(tokenizer, tokenizer.inner.encode(text).ids)
    assert "".join(got) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in got)


def test_text_is_not_held_back_longer_than_a_character(tokenizer: _Tokenizer) -> None:
    ids = tokenizer.inner.encode("ab🙂cd").ids
    got = pieces(tokenizer, ids)
    assert got[-1] == ""
    assert len([p for p in got if p]) >= 3


@given(st.lists(st.integers(0, 511), max_size=60))
def test_any_tokens_at_all(tokenizer: _Tokenizer, ids: list[int]) -> None:
    assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids, skip_special_tokens=True)
