"""Train: memory and the change that fits, the command, the start, and where a run stands afterwards."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest

from pages import train, train_memory, train_start
from pages.components import preflight_panel
from pages.components.recipe_form import YAML
from pages.train_memory import command, command_view, memory_panel, use_change
from pages.train_start import standing, start
from studio.__main__ import _parser
from studio.core import LOCAL_ADMIN, InvalidInput
from studio.datasets import DatasetVersion
from studio.registry import ModelVersion
from studio.studio import Studio
from studio.training import parse_recipe, stage_of
from studio.training.memory import Device
from tests.pages.test_train import by_path, form

TURN: dict[str, Any] = {"priority": 0, "after": [], "anyway": False, "devices": []}


@pytest.fixture
def sent(base: ModelVersion, instructions: DatasetVersion, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An untouched form on what there is; toasts need a browser."""
    monkeypatch.setattr(train_start, "toast", lambda *_: None)
    monkeypatch.setattr(train_memory, "toast", lambda *_: None)
    return form(model=base.reference, dataset=instructions.reference)


@pytest.fixture
def little_memory(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which a batch of 64 rows does not fit."""
    small = Device("cpu", 800_000_000, 800_000_000)
    monkeypatch.setattr(studio.training._foresight._forecast, "_device", lambda: small)


def begin(studio: Studio, sent: dict[str, Any], **asked: Any) -> tuple[Any, ...]:
    return start(studio, **{"name": "", "request_id": "request_1", **TURN, **asked}, **sent)


def looked(studio: Studio, sent: dict[str, Any], **known: Any) -> tuple[Any, ...]:
    states = {"seen": "", "checked": "", "waiting": False, "started": "", "stood": 0}
    return train.look(studio, **{**states, **known}, name="", **TURN, **sent)


def test_starting_says_where_it_stands(studio: Studio, sent: dict[str, Any]) -> None:
    answer, renewed, started, where, after = begin(studio, sent, name="<b>Mine</b>")
    [run] = studio.training.list(LOCAL_ADMIN)
    assert (answer, started, run.name) == ("", run.id, "<b>Mine</b>")
    assert "Place 1 in" in where
    assert "<b>" not in where
    assert run.id in where
    assert renewed != "request_1"
    assert after["choices"] == [(f"<b>Mine</b> (queued, {run.id})", run.id)]
    begin(studio, sent, name="<b>Mine</b>")
    assert len(studio.training.list(LOCAL_ADMIN)) == 1


def test_a_start_that_fails_keeps_its_request(studio: Studio, instructions: DatasetVersion) -> None:
    answer, request_id, started, where, _ = begin(studio, form(model=None))
    assert "model" in answer
    assert (request_id, started, where) == ("request_1", "", "")
    assert not studio.training.list(LOCAL_ADMIN)


def test_a_start_is_refused_with_what_the_preflight_knows(studio: Studio, sent: dict[str, Any]) -> None:
    recipe = {**sent, "recipe__max_length": 4096, "recipe__early_stop_patience": 2}
    answer, *_ = begin(studio, {**recipe, "recipe__eval_every": 2})
    assert "max_length: 4096" in answer
    assert "nothing was started" in answer
    assert not studio.training.list(LOCAL_ADMIN)


def test_a_run_comes_after_others_with_its_priority(studio: Studio, sent: dict[str, Any]) -> None:
    first = begin(studio, sent)[2]
    second = begin(studio, sent, request_id="request_2", after=[first], anyway=True, priority=5)
    [run, _] = studio.training.list(LOCAL_ADMIN)
    assert (run.after, run.priority) == ((first,), 5)
    assert "tiny-sft 1" in standing(studio, second[2]).split("Watch")[0]
    assert standing(studio, "") == ""
    assert "no run" in standing(studio, "run_gone")
    studio.training.stop(LOCAL_ADMIN, run.id)
    assert "Place" not in standing(studio, run.id)


def test_a_look_sends_only_what_changed(studio: Studio, sent: dict[str, Any]) -> None:
    started = begin(studio, sent)[2]
    first = looked(studio, sent, started=started)
    *there, where, stood, seen, memory, told, stale = first
    assert all("choices" not in one for one in there)
    assert "Place 1" in where
    assert "Memory that it will need" in memory["html"]
    assert "python -m studio train" in told
    assert stale == ""
    again = looked(studio, sent, started=started, stood=stood, seen=seen)
    assert all("html" not in one and "value" not in one for one in again)
    better = looked(studio, sent, seen=seen, waiting=True)
    assert "html" in better[7]
    empty = looked(studio, {**sent, "model": None})
    assert empty[0]["value"] == sent["model"]


def test_a_check_that_is_out_of_date_says_so(studio: Studio, sent: dict[str, Any]) -> None:
    checked, _ = train.remember(studio, **sent)
    assert looked(studio, sent, checked=checked)[-1] == ""
    changed = {**sent, "recipe__epochs": 7.0}
    assert "has changed since" in looked(studio, changed, checked=checked)[-1]
    as_yaml = {**sent, "mode": YAML, "yaml": checked}
    assert looked(studio, as_yaml, checked=checked)[-1] == ""


def test_the_memory_of_no_recipe_is_not_guessed(studio: Studio, sent: dict[str, Any]) -> None:
    assert "dataset: is missing" in memory_panel(studio, **{**sent, "dataset": None})["html"]


@pytest.mark.usefixtures("little_memory")
def test_the_change_that_fits_goes_into_the_form_or_the_yaml(studio: Studio, sent: dict[str, Any]) -> None:
    large = {**sent, "recipe__batch_size": 64}
    panel = memory_panel(studio, **large)["html"]
    assert "does not fit" in panel
    assert 'data-do="use_change"' in panel
    shown, _, preset, about, _, _, *fields = use_change(studio, **large)
    changed = {path: one["value"] for path, one in by_path(fields).items() if "value" in one}
    assert 'data-do="use_change"' not in shown["html"]
    assert preset is None
    assert "Your own values" in about
    assert changed["recompute"] or changed["batch_size"] < 64
    text = f"model: {sent['model']}\ndataset: {sent['dataset']}\nbatch_size: 64\n"
    _, written, *_ = use_change(studio, **{**sent, "mode": YAML, "yaml": text})
    recipe = parse_recipe(stage_of(written), written)
    assert (recipe.recompute, recipe.batch_size) == (changed["recompute"], changed["batch_size"])


def test_a_recipe_that_fits_has_no_change_to_take(studio: Studio, sent: dict[str, Any]) -> None:
    assert "use_change" not in memory_panel(studio, **sent)["html"]
    with pytest.raises(InvalidInput, match="nothing to change"):
        use_change(studio, **sent)


def test_the_command_is_one_that_the_program_takes() -> None:
    recipe = parse_recipe(stage_of("stage: sft"), "model: m\ndataset: d\nbatch_size: 3")
    text = command(recipe, "it's <mine>", 3, ["run_1", "run_2"], ["0", "1"], anyway=True)
    head, body = text.split("\n", 1)
    written, _, line = body.rpartition("RECIPE\n")
    assert head == "cat > recipe.yaml <<'RECIPE'"
    assert parse_recipe(stage_of(written), written) == parse_recipe(stage_of(written), written)
    assert "batch_size: 3" in written
    chosen = _parser().parse_args(shlex.split(line)[3:])
    assert (chosen.name, chosen.priority) == ("it's <mine>", 3)
    assert (chosen.after, chosen.device, chosen.continue_on_error) == (["run_1", "run_2"], [0, 1], True)
    plain = command(recipe, " ", 0, [], [], anyway=True)
    assert plain.endswith("\npython -m studio train recipe.yaml\n")
    shown = command_view(name="<mine>", **TURN, **form())
    assert "&lt;mine&gt;" in shown
    assert "<mine>" not in shown
    assert "no command yet" in command_view(name="", **TURN, **form(model=None))


def test_the_check_is_told_which_gpus_are_asked_for(studio: Studio, sent: dict[str, Any]) -> None:
    _, _, view, *_ = preflight_panel.check(studio, **sent, devices=["7"])
    assert "GPU" in view
    assert "GPU" not in preflight_panel.check(studio, **sent)[2]


def test_the_gpus_of_the_machine_can_be_chosen(studio: Studio) -> None:
    from pages.train_choices import gpus
    from studio.jobs.devices import Devices, Gpu

    made = (Gpu(0, "GPU-a", "Made up", 8, 8), Gpu(1, "GPU-b", "Made up", 8, 8))
    with_two = replace(studio, devices=Devices("", lambda: made))
    offered = gpus(with_two)
    assert offered["choices"] == [("GPU 0 Made up", "0"), ("GPU 1 Made up", "1")]
    assert offered["visible"] is True
