"""The shell: what the live plot is given, wording, wiring, and the whole application built once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from markupsafe import Markup

from pages import PAGES
from pages.app import build, tab_id
from pages.components import wording
from pages.components.live_plot import MOST_RUNS, Curve, plotted, run_colour
from pages.components.markup import address, error_note, facts, link, progress_bar, state_chip
from pages.components.record_list import Column, Entry, matches, record_list
from pages.components.wiring import bound
from pages.theme import ASSETS, HEAD
from studio.core import InvalidInput
from studio.jobs import JobState, Progress
from studio.studio import Studio


def test_the_plot_is_told_the_runs_and_no_points() -> None:
    assert plotted((Curve("run_1", "One"),)) == {"runs": [{"run_id": "run_1", "name": "One"}]}
    assert len(plotted([Curve(f"run_{n}", "x") for n in range(90)])["runs"]) == MOST_RUNS
    assert len({run_colour(place) for place in range(MOST_RUNS)}) == MOST_RUNS


def test_the_plot_draws_every_metric_it_promises() -> None:
    script = (ASSETS / "plot_points.js").read_text() + (ASSETS / "live_plot.js").read_text()
    for name in ("train/loss", "eval/loss", "train/learning_rate", "train/tokens_per_second"):
        assert f'"{name}"' in script
    for name in ("chosen", "rejected", "margin", "accuracy"):
        assert f'"train/rewards_{name}"' in script
    assert "scattergl" not in script


async def configured(studio: Studio) -> dict[str, Any]:
    # Inside a running loop Gradio makes none of its own, which it would never close.
    return build(studio).get_config_file()


def test_the_application_holds_every_page_and_no_public_endpoint(studio: Studio) -> None:
    config = asyncio.run(configured(studio))
    tabs = [c["props"]["id"] for c in config["components"] if c["type"] == "tabitem"]
    assert [name for name in tabs if name in {tab_id(page) for page in PAGES}] == [tab_id(p) for p in PAGES]
    for event in config["dependencies"]:
        assert event["api_visibility"] == "private", event["api_name"]
    names = [event["api_name"] for event in config["dependencies"]]
    assert len(names) == len(set(names))


def test_nothing_is_fetched_from_elsewhere() -> None:
    assert "http://" not in HEAD.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in HEAD


def test_markup_escapes() -> None:
    for made in (
        link("<i>", "?tab=x"),
        facts({"a": "<i>"}),
        error_note(InvalidInput("<i>", "<i>", ("<i>",))),
        progress_bar(Progress("<i>", 1, 2)),
        record_list("<i>", (Column("<i>"),), (Entry(("<i>",)),), {"tab": "runs", "q": "<i>"}),
    ):
        assert isinstance(made, Markup)
        assert "<i>" not in made
    assert address("runs", run="a b&c", q="") == "?tab=runs&run=a+b%26c"


@pytest.mark.parametrize("state", JobState)
def test_every_state_has_a_chip(state: JobState) -> None:
    assert "td-chip" in state_chip(state)


def test_progress_without_a_total_is_no_fault() -> None:
    assert 'aria-valuenow="0"' in progress_bar(Progress("starting", 0, 0))
    assert "Waiting for its turn" in progress_bar(None)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (wording.count(1, "run"), "1 run"),
        (wording.count(1204, "run"), "1,204 runs"),
        (wording.duration(48.2), "48 s"),
        (wording.duration(200), "3 min 20 s"),
        (wording.duration(7500), "2 h 5 min"),
        (wording.ago(90, now=100), "10 s ago"),
        (wording.ago(0, now=7200), "2 h ago"),
        (wording.size(269_000_000), "269 MB"),
        (wording.size(1500), "1.5 KB"),
        (wording.parameters(134_515_008), "134.5 M"),
        (wording.significant(1.23456), "1.235"),
        (wording.significant(10289.7), "10,290"),
    ],
)
def test_numbers_as_people_say_them(said: str, expected: str) -> None:
    assert said == expected


def test_a_search_wants_every_word() -> None:
    assert matches("SFT tiny", "tiny@1", "sft")
    assert not matches("sft large", "tiny@1", "sft")


def test_a_bound_handler_keeps_what_gradio_looks_for(studio: Studio) -> None:
    def handler(studio: Studio, request: gr.Request, *, name: str) -> str:
        return f"{name} {request.username} {studio.settings.port}"

    call = bound(handler, studio)
    assert call.__annotations__["request"] is gr.Request
    assert call(gr.Request(username="ada"), name="x") == f"x ada {studio.settings.port}"


def test_an_error_for_people_becomes_escaped_text(studio: Studio) -> None:
    def fails(_studio: Studio) -> None:
        raise InvalidInput("<b>No</b>", "Do that.", ("one",))

    with pytest.raises(gr.Error) as caught:
        bound(fails, studio)()
    assert caught.value.message == "&lt;b&gt;No&lt;/b&gt; Do that.<br>- one"


def test_a_generator_stays_one(studio: Studio) -> None:
    def counts(_studio: Studio, *, upto: int) -> Iterator[int]:
        yield from range(upto)

    assert list(bound(counts, studio)(upto=3)) == [0, 1, 2]
