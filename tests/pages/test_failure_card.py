"""The failure card: class, lines, advice and what a retry changes, all escaped."""

from __future__ import annotations

import pytest

from pages.components.failure_card import failure_card, fix_words
from studio.training import FailureCard, FailureKind


def card(kind: FailureKind = FailureKind.OUT_OF_MEMORY, **values: object) -> FailureCard:
    parts: dict[str, object] = {
        "title": "Out of memory",
        "evidence": ("line 5: MemoryError: <b>",),
        "suggestion": "Take less & try again.",
        "fix": {"recompute": True, "learning_rate": 2e-5, "batch_size": 2},
    }
    return FailureCard(kind, **{**parts, **values})  # type: ignore[arg-type]


def test_a_card_says_what_why_and_what_next() -> None:
    drawn = failure_card(card())
    for words in (
        "Out of memory",
        "Take less &amp; try again.",
        "line 5: MemoryError: &lt;b&gt;",
    ):
        assert words in drawn
    assert "<code>recompute: true</code>" in drawn
    assert "<code>learning_rate: 2e-05</code>" in drawn


def test_without_a_fix_or_evidence_nothing_is_pretended() -> None:
    drawn = failure_card(card(fix={}, evidence=()))
    assert "A retry with the fix" not in drawn
    assert "holds nothing about it" in drawn


@pytest.mark.parametrize("kind", FailureKind)
def test_only_what_is_the_runs_own_is_red(kind: FailureKind) -> None:
    drawn = failure_card(card(kind))
    outside = kind in (FailureKind.KILLED, FailureKind.LOST)
    assert ("td-bad" in drawn) is not outside


def test_a_fix_fits_on_one_line() -> None:
    assert fix_words({"recompute": True, "lora.r": 8}) == "recompute: true, lora.r: 8"
