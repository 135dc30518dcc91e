"""The engine's answers against plain transformers and peft, alone and in any company."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from studio.core import InvalidInput
from studio.serving import BackendRow, RowEnd, RowStart, TokenDelta
from studio.serving.backends.local import LocalBackend
from tests.unit.serving.adapters import PROMPTS, Reference
from tests.unit.serving.conftest import Rows

MODELS = (None, "first", "second")


def collect(backend: LocalBackend, rows: Sequence[BackendRow]) -> list[tuple[str, RowEnd]]:
    """The text and the end of every row."""
    texts = [""] * len(rows)
    ends: dict[int, RowEnd] = {}
    for event in backend.generate(rows):
        if isinstance(event, TokenDelta):
            texts[event.row] += event.text
        elif isinstance(event, RowEnd):
            ends[event.row] = event
    return [(texts[i], ends[i]) for i in range(len(rows))]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_greedy_equals_plain_generate(
    backend: LocalBackend, rows: Rows, reference: Reference, name: str | None, prompt: str
) -> None:
    [(text, end)] = collect(backend, [rows.row(name, prompt)])
    assert (end.completion_tokens, text) == reference.answer(name, prompt)


def test_adapters_differ_or_the_tests_above_say_nothing(reference: Reference) -> None:
    answers = {reference.answer(name, PROMPTS[0]) for name in MODELS}
    assert len(answers) == 3


def test_a_mixed_batch_gives_each_row_what_it_gets_alone(
    backend: LocalBackend, rows: Rows, reference: Reference
) -> None:
    wanted = list(itertools.product(MODELS, PROMPTS))
    got = collect(backend, [rows.row(name, prompt) for name, prompt in wanted])
    for (name, prompt), (text, end) in zip(wanted, got, strict=True):
        assert (end.completion_tokens, text) == reference.answer(name, prompt)


def test_rows_of_different_lengths_leave_the_batch_one_by_one(
    backend: LocalBackend, rows: Rows, reference: Reference
) -> None:
    limits = [1, 40, 7, 40, 2]
    asked = [rows.row(MODELS[i % 3], PROMPTS[i % 3], max_tokens=n) for i, n in enumerate(limits)]
    got = collect(backend, asked)
    for i, (text, end) in enumerate(got):
        tokens, whole = reference.answer(MODELS[i % 3], PROMPTS[i % 3])
        assert end.completion_tokens == min(tokens, limits[i])
        assert whole.startswith(text.rstrip("\ufffd"))
        assert end.finish_reason == ("length" if end.completion_tokens == limits[i] else "stop")


def test_a_request_that_joins_a_running_batch_changes_nothing(
    backend: LocalBackend, rows: Rows, reference: Reference
) -> None:
    running = backend.generate([rows.row("first", PROMPTS[1], max_tokens=200)])
    before = [next(running) for _ in range(5)]
    [(text, end)] = collect(backend, [rows.row("second", PROMPTS[0])])
    rest = [*before, *running]
    assert (end.completion_tokens, text) == reference.answer("second", PROMPTS[0])
    whole = "".join(e.text for e in rest if isinstance(e, TokenDelta))
    assert whole.startswith(reference.answer("first", PROMPTS[1])[1].rstrip("\ufffd"))


def test_a_seed_draws_the_same_alone_and_in_company(backend: LocalBackend, rows: Rows) -> None:
    drawn = {"temperature": 1.3, "top_p": 0.9, "seed": 7, "repetition_penalty": 1.1}
    [alone] = collect(backend, [rows.row("first", PROMPTS[1], **drawn)])
    company = [rows.row("second", PROMPTS[0], temperature=1.0, seed=3), rows.row(None, "Hi", seed=9)]
    together = collect(backend, [*company, rows.row("first", PROMPTS[1], **drawn)])[2]
    assert together[0] == alone[0]
    other = collect(backend, [rows.row("first", PROMPTS[1], **{**drawn, "seed": 8})])
    assert other[0][0] != alone[0]


def test_a_row_reports_what_was_measured(backend: LocalBackend, rows: Rows) -> None:
    events = list(backend.generate([rows.row(None, PROMPTS[0], max_tokens=5, seed=11)]))
    start, end = events[0], events[-1]
    assert isinstance(start, RowStart)
    assert isinstance(end, RowEnd)
    assert start.prompt_tokens == end.prompt_tokens > 5
    assert start.template_digest == end.template_digest != ""
    assert start.prompt_digest == end.prompt_digest != ""
    assert end.seed == 11
    assert end.first_token_seconds is not None
    assert 0 < end.first_token_seconds <= end.seconds


def test_what_does_not_fit_the_context_is_refused_with_the_numbers(backend: LocalBackend, rows: Rows) -> None:
    with pytest.raises(InvalidInput, match=r"context is 512 tokens.*max_tokens to at most"):
        backend.generate([rows.row(None, "Hi", max_tokens=512)])
    with pytest.raises(InvalidInput, match=r"Row 1 does not fit.*Shorten"):
        backend.generate([rows.row(None, "Hi"), rows.row(None, "x y z " * 400)])
