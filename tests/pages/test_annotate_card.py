"""The card's frame holds what its scripts ask for, and the scripts never make HTML out of text."""

from __future__ import annotations

import re

from pages.components import annotation_card
from pages.components.annotation_card import SCRIPTS, script
from pages.theme import ASSETS, CSS, asset
from studio.annotation import Task, Verdict

FRAME = annotation_card._FRAME


def test_the_scripts_find_every_part_that_they_ask_for() -> None:
    asked = set(re.findall(r'\$\("([a-z-]+)"\)', script())) | set(re.findall(r'say\("([a-z-]+)"', script()))
    there = set(re.findall(r'data-part="([a-z-]+)"', FRAME))
    assert asked - there == set()


def test_every_button_does_something() -> None:
    acts = set(re.findall(r'data-act="([a-z_]+)"', FRAME))
    handler = asset("annotate.js")
    for act in acts:
        assert f'"{act}"' in handler, act


def test_every_task_has_a_way_to_say_each_verdict() -> None:
    owners = dict(re.findall(r'data-act="([a-z_]+)"[^>]*?data-for="([a-z ]+)"', FRAME, re.DOTALL))
    assert {act for act, task in owners.items() if task == Task.PREFERENCE} == {
        Verdict.A.value,
        Verdict.B.value,
        Verdict.TIE.value,
        Verdict.BOTH_BAD.value,
    }
    assert owners["accept"] == owners["reject"] == Task.ACCEPT.value
    assert owners["store"].split() == [Task.RATING.value, Task.EDIT.value]
    assert len(re.findall(r'data-rate="[ab][1-5]"', FRAME)) == 10
    assert re.findall(r'data-lean="(-?\d)"', FRAME) == ["-3", "-2", "-1", "0", "1", "2", "3"]


def test_the_scripts_never_set_html() -> None:
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in script()


def test_every_script_of_the_card_is_part_of_it_and_small() -> None:
    names = {path.name for path in ASSETS.glob("label_*.js")} | {"annotate.js"}
    assert set(SCRIPTS) == names
    assert all(len(asset(name).splitlines()) < 350 for name in SCRIPTS)


def test_every_class_of_the_frame_is_styled() -> None:
    unstyled = {"td-wide"}
    classes = {name for found in re.findall(r'class="([a-z\- ]+)"', FRAME) for name in found.split()}
    assert {name for name in classes if f".{name}" not in CSS} <= unstyled
