"""Token files: what is shown is what is trained, for every stage and any length; and when they fit."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from studio.core import InvalidInput
from studio.datasets import Split
from studio.training.engines import rows as trainer
from studio.training.preflight.pages import MOST_TOKENS, token_page
from studio.training.preflight.records import TokenKind, TokenSequence
from studio.training.preflight.row_checks import TokenFolder
from studio.training.preflight.token_files import (
    read_places,
    read_tokens,
    stored_tokens,
    tokens_digest,
)
from studio.training.preflight.worker import write_tokens
from studio.training.recipes import Recipe, parse_recipe
from studio.training.records import Stage
from studio.training.tokens import IGNORED, TokenRow, fit, tokenise_row
from tests.unit.training.fast_tokenizer import FastTokenizer
from tests.unit.training.preflight_rows import row, rows, say, write_version

LENGTHS = (16, 40, 64, 256)


def recipe(stage: Stage, length: int = 64, **more: Any) -> Recipe:
    given = {"model": "m", "dataset": "d", "max_length": length, **more}
    return parse_recipe(stage, json.dumps(given))


def folder_of(base: Path, data: Path, asked: Recipe, root: Path) -> TokenFolder:
    path = root / tokens_digest(data, base, asked)
    path.mkdir(parents=True)
    write_tokens(FastTokenizer(base), data, asked, path)
    return TokenFolder(path, "talk@1", "dataset")


@pytest.fixture
def tokenizer(tiny_model: Path) -> FastTokenizer:
    return FastTokenizer(tiny_model)


def as_trained(shown: TokenSequence, stage: Stage) -> list[TokenRow]:
    """The trainer's rows as a person would write them down from what is shown."""
    if shown.left_out:
        return []
    parts = {part.name: part.tokens for part in shown.parts}
    ids = {name: [one.id for one in tokens] for name, tokens in parts.items()}
    if stage is Stage.DPO:
        return [{"prompt_ids": ids["prompt"], "chosen_ids": ids["chosen"], "rejected_ids": ids["rejected"]}]
    if stage is Stage.KTO:
        return [{"prompt_ids": ids["prompt"], "completion_ids": ids["completion"], "label": shown.label}]
    if stage is Stage.REWARD:
        return [{f"{name}_ids": ids["prompt"] + ids[name] for name in ("chosen", "rejected")}]
    pieces: list[list[Any]] = [[]]
    for one in parts["text" if stage is Stage.CPT else "conversation"]:
        if one.new_piece:
            pieces.append([])
        if one.kind is not TokenKind.CUT:
            pieces[-1].append(one)
    return [
        {
            "input_ids": [one.id for one in piece],
            # Of a sequence's first token it does not matter what is said: nothing comes before it.
            "labels": [one.id if one.kind is TokenKind.LEARNT else IGNORED for one in piece],
        }
        for piece in pieces
        if piece
    ]


def without_first_label(made: list[TokenRow]) -> list[TokenRow]:
    return [{**one, "labels": [IGNORED, *one["labels"][1:]]} if "labels" in one else one for one in made]


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("length", LENGTHS)
def test_what_is_shown_is_what_the_trainer_gets(
    tiny_model: Path, tokenizer: FastTokenizer, tmp_path: Path, stage: Stage, length: int
) -> None:
    asked = recipe(stage, length)
    data = write_version(tmp_path / "version", stage)
    folder = folder_of(tiny_model, data, asked, tmp_path / "tokens")
    path = data / "train.parquet"
    page = token_page(folder, path, asked, Split.TRAIN, 0, 100, "")
    assert [one.number for one in page.rows] == list(range(1, 13))
    shown = [made for one in page.rows for made in as_trained(one, stage)]
    if not shown:
        with pytest.raises(InvalidInput, match="None of the 12 rows fits"):
            trainer.load_rows(tokenizer, path, asked, base=tiny_model, tokens=tmp_path / "tokens")
        return
    # Without its tokeniser the trainer can only have read the token file.
    stored = trainer.load_rows(None, path, asked, base=tiny_model, tokens=tmp_path / "tokens")  # type: ignore[arg-type]
    anew = trainer.load_rows(tokenizer, path, asked, base=tiny_model)
    assert stored == anew
    assert shown == without_first_label(anew.rows)
    facts = folder.facts(asked)[Split.TRAIN]
    assert (facts.sequences, facts.left_out) == (len(anew.rows), anew.left_out)
    assert facts.rows == page.total == 12


def counted(made: list[TokenRow], stage: Stage) -> tuple[int, int]:
    """Tokens, and learnt ones, as a trainer would count them."""
    if stage in (Stage.CPT, Stage.SFT):
        learnt = sum(label != IGNORED for one in made for label in one["labels"][1:])
        return sum(len(one["input_ids"]) for one in made), learnt
    if stage is Stage.DPO:
        answers = sum(len(one["chosen_ids"]) + len(one["rejected_ids"]) for one in made)
        return answers + 2 * sum(len(one["prompt_ids"]) for one in made), answers
    if stage is Stage.KTO:
        answers = sum(len(one["completion_ids"]) for one in made)
        return answers + sum(len(one["prompt_ids"]) for one in made), answers
    return sum(len(ids) for one in made for ids in one.values()), 2 * len(made)


@pytest.mark.parametrize("stage", Stage)
def test_the_profile_counts_what_the_trainer_would_for_any_length(
    tiny_model: Path, tokenizer: FastTokenizer, tmp_path: Path, stage: Stage
) -> None:
    drawn = random.Random(stage.value)
    mixed = [row(stage, n, drawn.randrange(12), drawn.randrange(12)) for n in range(60)]
    data = write_version(tmp_path / "version", stage, {"train": mixed, "validation": mixed[:3]})
    folder = folder_of(tiny_model, data, recipe(stage), tmp_path / "tokens")
    whole = [tokenise_row(tokenizer, one, recipe(stage)) for one in mixed]
    for length in (16, 17, 33, 50, 75, 100, 150, 200, 400, 4000):
        asked = recipe(stage, length)
        made = [fit(one, asked) for one in whole]
        facts = folder.facts(asked)[Split.TRAIN]
        flat = [piece for pieces in made for piece in pieces]
        assert (facts.tokens, facts.learnt_tokens) == counted(flat, stage), length
        assert (facts.sequences, facts.left_out) == (len(flat), sum(not one for one in made))
        longer = sum(one.length > length for one in whole)
        assert facts.truncated == (longer if stage in (Stage.CPT, Stage.SFT) else 0)
        assert sum(facts.lengths.counts) == 60
        assert facts.lengths.longest == max(one.length for one in whole)
        assert facts.lengths.median == sorted(one.length for one in whole)[29]


def test_a_token_file_fits_its_rows_its_model_and_what_is_taught(tiny_model: Path, tmp_path: Path) -> None:
    data = write_version(tmp_path / "version", Stage.SFT)
    asked = recipe(Stage.SFT)
    root = tmp_path / "tokens"
    folder = folder_of(tiny_model, data, asked, root)
    found = folder.path / "train.parquet"
    train = data / "train.parquet"
    assert stored_tokens(root, train, tiny_model, asked) == found
    assert stored_tokens(folder.path, train, tiny_model, recipe(Stage.SFT, 128, epochs=3)) == found
    assert stored_tokens(None, train, tiny_model, asked) is None
    assert stored_tokens(root, train, tiny_model, recipe(Stage.SFT, assistant_only=False)) is None
    other = tmp_path / "model"
    other.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (other / name).write_bytes((tiny_model / name).read_bytes())
    assert stored_tokens(root, train, other, asked) is None, "it has no chat template"
    (folder.path / "summary.json").unlink()
    assert stored_tokens(root, train, tiny_model, asked) is None, "it may be half removed"
    folder_of(tiny_model, data, asked, tmp_path / "again")
    assert stored_tokens(tmp_path / "again", train, tiny_model, asked)
    os.utime(train, (1, 1))
    assert stored_tokens(tmp_path / "again", train, tiny_model, asked) is None


def test_pairs_are_tokenised_once_for_both_stages(tiny_model: Path, tmp_path: Path) -> None:
    data = write_version(tmp_path / "version", Stage.DPO)
    digests = {tokens_digest(data, tiny_model, recipe(stage)) for stage in (Stage.DPO, Stage.REWARD)}
    assert len(digests) == 1


def test_rows_at_any_place_are_read_over_many_row_groups(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.training.preflight.token_files._GROUP_ROWS", 5)
    data = write_version(tmp_path / "version", Stage.KTO, {"train": rows(Stage.KTO, 23), "validation": []})
    folder = folder_of(tiny_model, data, recipe(Stage.KTO), tmp_path / "tokens")
    every = list(read_tokens(folder.file(Split.TRAIN)))
    assert len(every) == 23
    assert read_places(folder.file(Split.TRAIN), [22, 4, 5]) == [every[4], every[5], every[22]]
    assert [one.label for one in every] == [n % 3 > 0 for n in range(23)]
    assert list(read_tokens(folder.file(Split.VALIDATION))) == []
    assert folder.facts(recipe(Stage.KTO))[Split.VALIDATION].sequences == 0
    long = folder.rows(Split.TRAIN, ("length",), lambda of: of["length"] > 64)
    assert long == tuple(n + 1 for n, one in enumerate(every) if one.length > 64)[:10]


def test_tokens_read_as_the_text_they_stand_for(
    tiny_model: Path, tokenizer: FastTokenizer, tmp_path: Path
) -> None:
    talk = {"messages": [say("user", "Is it so?\n\nYes  or no"), say("assistant", "Yes, café ✓.")]}
    data = write_version(tmp_path / "version", Stage.SFT, {"train": [talk], "validation": [talk]})
    folder = folder_of(tiny_model, data, recipe(Stage.SFT), tmp_path / "tokens")
    [shown] = token_page(folder, data / "train.parquet", recipe(Stage.SFT), Split.TRAIN, 0, 1, "").rows
    tokens = shown.parts[0].tokens
    text = "".join(one.text for one in tokens)
    assert "<|im_start|>user\nIs it so?\n\nYes  or no<|im_end|>" in text
    # Characters of several tokens read as their bytes.
    assert "⟨E2⟩" in text
    assert "�" not in text
    assert {one.text for one in tokens if one.special} == {"<|im_start|>", "<|im_end|>"}


def test_search_finds_rows_whatever_the_case_and_keeps_their_numbers(
    tiny_model: Path, tmp_path: Path
) -> None:
    data = write_version(tmp_path / "version", Stage.DPO)
    folder = folder_of(tiny_model, data, recipe(Stage.DPO), tmp_path / "tokens")
    page = token_page(folder, data / "train.parquet", recipe(Stage.DPO), Split.TRAIN, 0, 2, "QUESTION 1")
    assert page.total == 3
    assert [one.number for one in page.rows] == [2, 11]
    rest = token_page(folder, data / "train.parquet", recipe(Stage.DPO), Split.TRAIN, 2, 2, "QUESTION 1")
    assert [one.number for one in rest.rows] == [12]
    assert not token_page(folder, data / "train.parquet", recipe(Stage.DPO), Split.TRAIN, 0, 5, "%").rows


def test_a_very_long_row_is_shown_in_part(tiny_model: Path, tmp_path: Path) -> None:
    long = {"text": "word " * 6000}
    data = write_version(tmp_path / "version", Stage.CPT, {"train": [long], "validation": []})
    folder = folder_of(tiny_model, data, recipe(Stage.CPT), tmp_path / "tokens")
    [shown] = token_page(folder, data / "train.parquet", recipe(Stage.CPT), Split.TRAIN, 0, 1, "").rows
    assert len(shown.parts[0].tokens) == MOST_TOKENS
    assert shown.parts[0].more == shown.length - MOST_TOKENS
