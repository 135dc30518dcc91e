"""Annotate: queues are opened, listed with progress, and the card's frame holds what its script needs."""

from __future__ import annotations

import re

import pytest

from pages import annotate
from pages.components import annotation_card
from pages.theme import asset
from studio.annotation import NewLabel
from studio.core import LOCAL_ADMIN
from studio.datasets import DatasetVersion, NewVersion, Outcome, SchemaKind, Split
from studio.studio import Studio
from tests.pages.conftest import visiting

LIST, FORM, PICKER = range(3)


def pair(number: int) -> dict[str, object]:
    return {
        "prompt": [{"role": "user", "content": f"Question {number}"}],
        "chosen": [{"role": "assistant", "content": f"Good {number}"}],
        "rejected": [{"role": "assistant", "content": f"Bad {number}"}],
    }


@pytest.fixture
def pairs(studio: Studio) -> DatasetVersion:
    rows = {Split.TRAIN: [pair(n) for n in range(4)], Split.VALIDATION: []}
    return studio.datasets.create(
        LOCAL_ADMIN, NewVersion("pairs", SchemaKind.PREFERENCE, rows, ({"step": "test"},))
    )


def test_without_pairs_the_page_leads_to_data(studio: Studio) -> None:
    view = annotate.view(studio, visiting(tab="annotate"))
    assert "Nothing to label yet" in view[LIST]
    assert "?tab=data&amp;new=import" in view[LIST]


def test_with_pairs_it_offers_to_open_a_queue(studio: Studio, pairs: DatasetVersion) -> None:
    view = annotate.view(studio, visiting(tab="annotate", dataset=pairs.reference))
    assert "No queue yet" in view[LIST]
    assert view[FORM]["visible"] is True
    assert view[PICKER]["value"] == pairs.reference


def test_a_queue_is_opened_and_listed_with_progress(studio: Studio, pairs: DatasetVersion) -> None:
    said = annotate.open_queue(studio, dataset=pairs.reference, name="<first>", guideline="Be fair.")
    assert "&lt;first&gt; is open" in said
    (queue,) = studio.annotation.queues(LOCAL_ADMIN)
    assert f"queue={queue.id}" in said
    item = studio.annotation.next_items(LOCAL_ADMIN, queue.id)[0]
    studio.annotation.label(LOCAL_ADMIN, NewLabel(queue.id, item.id, Outcome.A, "nonce-1"))
    shown = annotate.view(studio, visiting(tab="annotate"))[LIST]
    assert "1 of 4" in shown
    assert "Go on" in shown


def test_a_fault_is_shown_plainly(studio: Studio) -> None:
    assert "td-bad" in annotate.open_queue(studio, dataset="nothing@1", name="", guideline="")


def test_the_script_finds_every_part_that_it_asks_for() -> None:
    script = asset("annotate.js")
    asked = set(re.findall(r'\$\("([a-z-]+)"\)', script))
    there = set(re.findall(r'data-part="([a-z-]+)"', annotation_card._FRAME))
    assert asked <= there
    acts = set(re.findall(r'data-act="([a-z_]+)"', annotation_card._FRAME))
    assert acts == {"a", "b", "tie", "both_bad", "skip", "undo", "differences", "guideline"}


def test_the_script_never_sets_html() -> None:
    script = asset("annotate.js")
    assert "innerHTML" not in script
    assert "insertAdjacentHTML" not in script
