"""The pre-flight panel and the token view: what a person reads, escaped, and how they move through rows."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import gradio as gr
import pytest

from pages.components import preflight_panel, token_browser
from pages.components.length_chart import length_chart
from pages.components.preflight_panel import preflight_view
from pages.components.recipe_form import YAML
from pages.components.token_view import legend, place, token_page
from pages.components.visible import HIDDEN
from studio.core import LOCAL_ADMIN
from studio.datasets import DatasetVersion, NewVersion, SchemaKind, Split
from studio.registry import ModelVersion
from studio.studio import Studio
from studio.training import Stage, parse_recipe
from studio.training.preflight import (
    Finding,
    Histogram,
    Preflight,
    PreflightState,
    Severity,
    Token,
    TokenKind,
    TokenPage,
    TokenPart,
    TokenSequence,
)
from studio.training.preflight.token_files import tokens_digest
from studio.training.preflight.worker import write_tokens
from tests.pages.building import in_a_loop
from tests.unit.training.fast_tokenizer import FastTokenizer
from tests.unit.training.preflight_rows import row

READ, LEARNT, CUT = TokenKind.READ, TokenKind.LEARNT, TokenKind.CUT


@pytest.fixture
def talk(studio: Studio) -> DatasetVersion:
    """Twelve conversations, one with text that is markup."""
    made = [row(Stage.SFT, number) for number in range(12)]
    made[2]["messages"][1]["content"] = "<b>bold</b>\n\tand so on"
    split = {Split.TRAIN: made, Split.VALIDATION: [row(Stage.SFT, 40)]}
    new = NewVersion("talk", SchemaKind.INSTRUCTION, split, ({"step": "test"},))
    return studio.datasets.create(LOCAL_ADMIN, new)


def text(**given: Any) -> str:
    return json.dumps({"model": "tiny", "dataset": "talk", "max_length": 64, **given})


def asked(recipe: str) -> dict[str, Any]:
    """What the browser sends with a recipe in the YAML view."""
    return {
        "stage": "sft",
        "mode": YAML,
        "yaml": recipe,
        "model": None,
        "dataset": None,
        "output": "",
    }


def tokenise(studio: Studio, base: ModelVersion, version: DatasetVersion, recipe: str) -> None:
    """What the job would leave."""
    parsed = parse_recipe(Stage.SFT, recipe)
    folder = studio.settings.home / "tokens" / tokens_digest(version.directory, base.path, parsed)
    folder.mkdir(parents=True)
    write_tokens(FastTokenizer(base.path), version.directory, parsed, folder)


def words(markup: object) -> str:
    """The text of some markup."""
    return re.sub(r"<[^>]*>", "", str(markup))


def test_a_check_shows_findings_lengths_and_rows(
    studio: Studio, base: ModelVersion, talk: DatasetVersion
) -> None:
    tokenise(studio, base, talk, text())
    held, waiting, view, *browser = preflight_panel.check(studio, **asked(text(learning_rate=0.01)))
    assert held.startswith("preflight_")
    assert not waiting
    assert "Warnings" in view
    assert "learning_rate" in view
    assert "td-length-bar" in view
    panel, source, split, search, _, before, after, where, shown, offset = browser
    assert panel["visible"] is True
    assert source["visible"] == HIDDEN
    assert (split, search, offset) == ("train", "", 0)
    assert (before["interactive"], after["interactive"]) == (False, True)
    assert "1 to 5 of 12 rows" in where
    assert words(shown).count("Row ") == 5
    assert "<b>bold</b>" not in shown
    assert "td-tok-learnt" in shown


def test_a_check_that_goes_on_is_looked_at_again(
    studio: Studio, base: ModelVersion, talk: DatasetVersion
) -> None:
    held, waiting, view, panel, *_ = preflight_panel.check(studio, **asked(text()))
    assert waiting
    assert "Waiting for a free core" in view
    assert panel["visible"] == HIDDEN
    again = preflight_panel.look_again(studio, held=held, waiting=True)
    assert again[1] is True
    tokenise(studio, base, talk, text())
    done = preflight_panel.look_again(studio, held=held, waiting=True)
    assert done[1] is False
    assert done[3]["visible"] is True
    idle = preflight_panel.look_again(studio, held=held, waiting=False)
    assert len(idle) == len(done) == len(again)


def test_a_recipe_that_is_none_is_explained(studio: Studio) -> None:
    held, waiting, view, panel, *rest = preflight_panel.check(studio, **asked("epoch: 3"))
    assert (held, waiting) == ("", False)
    assert "did you mean epochs" in view
    assert panel["visible"] == HIDDEN
    assert len(rest) == 9


def test_rows_are_paged_searched_and_found_by_number(
    studio: Studio, base: ModelVersion, talk: DatasetVersion
) -> None:
    tokenise(studio, base, talk, text())
    held = preflight_panel.check(studio, **asked(text()))[0]
    at = {"preflight_id": held, "source": 0, "split": "train", "search": "", "row": None, "offset": 0}
    *_, shown, offset = token_browser.later(studio, **at)
    assert offset == 5
    assert "Row 6" in words(shown)
    *_, offset = token_browser.earlier(studio, **{**at, "offset": 3})
    assert offset == 0
    _, _, after, where, shown, offset = token_browser.at_row(studio, **{**at, "row": 11})
    assert (offset, after["interactive"]) == (10, False)
    assert "11 to 12 of 12 rows" in where
    assert words(shown).startswith(words(legend(Stage.SFT)))
    *_, where, shown, _ = token_browser.first_rows(studio, **{**at, "search": "BOLD", "offset": 5})
    assert "1 to 1 of 1 row" in where
    assert "Row 3" in words(shown)
    *_, shown, _ = token_browser.first_rows(studio, **{**at, "search": "nowhere to be found"})
    assert "No row holds that text" in shown
    *_, where, _, _ = token_browser.first_rows(studio, **{**at, "split": "validation"})
    assert "1 to 1 of 1 row" in where
    *_, shown, _ = token_browser.first_rows(studio, **{**at, "preflight_id": "preflight_gone"})
    assert "no pre-flight" in shown


def sequence(**changes: Any) -> TokenSequence:
    tokens = (Token("<s>", 1, READ, special=True), Token("a\n", 5, LEARNT), Token("<i>", 6, CUT))
    plain = TokenSequence(1, 3, 1, 1, 0, "", (TokenPart("conversation", tokens),))
    return replace(plain, **changes)


def page(*rows: TokenSequence) -> TokenPage:
    return TokenPage(rows, 0, len(rows), Split.TRAIN, "talk@1")


def test_each_fate_of_a_token_looks_and_reads_differently() -> None:
    shown = str(token_page(page(sequence()), Stage.SFT))
    assert '<mark class="td-tok-learnt"><span class="td-tok" title="token 5">a⏎\n</span></mark>' in shown
    assert '<span class="td-tok-cut"><span class="td-tok" title="token 6">&lt;i&gt;</span></span>' in shown
    assert '<span class="td-tok td-tok-mark" title="token 1">&lt;s&gt;</span>' in shown
    assert "3 tokens, 1 learnt, 1 cut off" in words(shown)


def test_both_answers_of_a_pair_stand_side_by_side() -> None:
    answer = (Token("x", 7, LEARNT),)
    parts = tuple(TokenPart(name, answer) for name in ("prompt", "chosen", "rejected"))
    shown = token_page(page(sequence(parts=parts)), Stage.DPO)
    assert "td-pair" in shown
    for head in ("Prompt", "Chosen answer", "Rejected answer"):
        assert head in words(shown)
    assert "scored" in words(legend(Stage.REWARD))
    judged = token_page(page(sequence(label=False, left_out="It is <too> long.")), Stage.KTO)
    assert "judged bad" in words(judged)
    assert "It is &lt;too&gt; long." in judged
    assert place(page()) == "no rows"


def test_the_next_piece_of_a_long_text_is_marked() -> None:
    tokens = tuple(Token(str(n), n, LEARNT if n % 2 else READ, new_piece=n == 2) for n in range(4))
    shown = words(token_page(page(sequence(parts=(TokenPart("text", tokens, more=9),))), Stage.CPT))
    assert "01sequence 223" in shown
    assert "And 9 tokens more." in shown


def test_findings_stand_apart_by_severity_and_are_escaped() -> None:
    findings = tuple(
        Finding(kind, "<f>", f"<{kind.value}>", "Do <that>.", (3, 1200), Split.TRAIN) for kind in Severity
    )
    found = Preflight("preflight_1", PreflightState.FAILED, Stage.SFT, text(), findings, reason="<why>")
    view = preflight_view(found)
    order = [words(view).index(title) for title in ("Errors", "Warnings", "Notes")]
    assert order == sorted(order)
    assert "For example training rows 3, 1,200." in words(view)
    for raw in ("<f>", "<error>", "<that>", "<why>"):
        assert raw not in view
    ready = preflight_view(replace(found, state=PreflightState.DONE, findings=findings[1:]))
    assert "ready to run" in ready
    assert "ready to run" not in view


def test_lengths_are_drawn_and_said() -> None:
    chart = length_chart(Histogram((0, 50, 100), (3, 1), 10, 40, 90), 49)
    assert str(chart).count("td-length-bar ") + str(chart).count('td-length-bar"') == 2
    assert str(chart).count("td-length-over") == 1
    said = words(chart)
    assert "10 to 90 tokens a row, half of them up to 40; max_length is 49." in said
    assert "0 to 49" in said
    assert "No row" in words(length_chart(Histogram(), 49))


def test_the_panel_is_wired_with_declared_events(studio: Studio) -> None:
    def build() -> gr.Blocks:
        with gr.Blocks() as made:
            whole = {name: gr.Textbox() for name in ("stage", "mode", "yaml", "model", "dataset", "output")}
            panel = preflight_panel.draw()
            preflight_panel.connect(panel, studio, whole, gr.Button().click)
        return made

    made = in_a_loop(build)
    names = {event["api_name"] for event in in_a_loop(made.get_config_file)["dependencies"]}
    assert names >= {"preflight_check", "preflight_tick", "token_search", "token_row", "token_after"}
