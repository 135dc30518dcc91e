"""A studio of its own for every test of a page: real services, no heartbeat, so nothing is started."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest

from studio.core import LOCAL_ADMIN, Settings
from studio.datasets import DatasetVersion, NewVersion, SchemaKind, Split
from studio.registry import BaseSource, ModelVersion
from studio.studio import Studio, open_studio


@pytest.fixture(scope="package", autouse=True)
def no_torch() -> Iterator[None]:
    """The handlers of every page run in this process, and none of them may bring torch into it."""
    brought_by_others = "torch" in sys.modules
    yield
    assert brought_by_others or "torch" not in sys.modules


@pytest.fixture
def studio(settings: Settings) -> Iterator[Studio]:
    made = open_studio(settings)
    yield made
    made.close()


@pytest.fixture
def base(studio: Studio, tiny_model: Path) -> ModelVersion:
    """The tiny model, registered."""
    return studio.registry.register_base(LOCAL_ADMIN, BaseSource(str(tiny_model), "tiny"))


@pytest.fixture
def instructions(studio: Studio) -> DatasetVersion:
    """Six question and answer pairs."""
    rows = [
        {"messages": [{"role": "user", "content": f"What is {n}?"}, {"role": "assistant", "content": str(n)}]}
        for n in range(6)
    ]
    split = {Split.TRAIN: rows[:4], Split.VALIDATION: rows[4:]}
    return studio.datasets.create(
        LOCAL_ADMIN, NewVersion("numbers", SchemaKind.INSTRUCTION, split, ({"step": "test"},))
    )


def visiting(**parameters: str) -> gr.Request:
    """What Gradio hands to a handler when the browser shows ``?tab=…&…``."""
    return gr.Request(query_params=parameters)
