"""The pre-flight service over real rooms: one job a set of rows, findings of every kind, who may see what."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from studio.core import (
    LOCAL_ADMIN,
    Access,
    Actor,
    Forbidden,
    InvalidInput,
    Node,
    NotFound,
    Role,
    SharingChange,
    Visibility,
)
from studio.datasets import NewVersion, Split
from studio.jobs import JobState
from studio.registry import BaseSource
from studio.training.engines.rows import load_rows, read_rows, tokenise
from studio.training.memory import MemoryEstimate
from studio.training.preflight import Preflight, PreflightService, PreflightState, Severity
from studio.training.preflight.machine_checks import Machine
from studio.training.preflight.service import KIND
from studio.training.preflight.store import Asked, PreflightStore
from studio.training.preflight.token_files import tokens_digest
from studio.training.preflight.worker import write_tokens
from studio.training.recipes import parse_recipe
from studio.training.records import Stage
from tests.unit.training.fast_tokenizer import FastTokenizer
from tests.unit.training.preflight_rows import KINDS, row, rows, say
from tests.unit.training.room import Room, open_room

GB = 10**9


def plenty(_: object) -> MemoryEstimate:
    return MemoryEstimate((), GB, 8 * GB, True, None)


@dataclass
class Bench:
    """The service, the rooms below it, and the machine that it believes to stand on."""

    room: Room
    service: PreflightService
    base: Path

    def import_rows(self, name: str, stage: Stage, sides: dict[Split, list[dict[str, Any]]]) -> None:
        new = NewVersion(name, KINDS[stage], sides, ({"step": "test"},))
        self.room.datasets.create(LOCAL_ADMIN, new)

    def text(self, **given: Any) -> str:
        return json.dumps({"model": "tiny", "dataset": "talk", "max_length": 64, **given})

    def tokenise(self, stage: Stage = Stage.SFT, **given: Any) -> None:
        """What the job would do, without a process."""
        recipe = parse_recipe(stage, self.text(**given))
        names = [recipe.dataset, *(one.dataset for one in recipe.mix)]
        for name in names:
            data = self.room.datasets.version(LOCAL_ADMIN, name).directory
            folder = self.room.home / "tokens" / tokens_digest(data, self.base, recipe)
            if not folder.exists():
                folder.mkdir(parents=True)
                write_tokens(FastTokenizer(self.base), data, recipe, folder)

    def checked(self, stage: Stage = Stage.SFT, **given: Any) -> Preflight:
        """A finished pre-flight."""
        self.tokenise(stage, **given)
        found = self.service.check(LOCAL_ADMIN, stage, self.text(**given))
        assert found.state is PreflightState.DONE, found
        return found

    def on(self, **machine: Any) -> PreflightService:
        """The service on another machine."""
        room = self.room
        looks = replace(Machine(room.home, plenty, gpus=lambda: ()), **machine)
        return PreflightService(
            room.database, room.home, room.jobs, room.datasets, room.registry, machine=looks
        )


@pytest.fixture
def bench(home: Path, tiny_model: Path) -> Iterator[Bench]:
    room = open_room(home)
    room.registry.register_base(LOCAL_ADMIN, BaseSource(str(tiny_model), "tiny"))
    made = Bench(room, None, tiny_model)  # type: ignore[arg-type]
    made.service = made.on()
    made.import_rows(
        "talk", Stage.SFT, {Split.TRAIN: rows(Stage.SFT), Split.VALIDATION: rows(Stage.SFT, 4, 100)}
    )
    yield made
    room.jobs.close()
    room.database.close()


def said(found: Preflight, severity: Severity, field: str) -> str:
    """What is said of a field, or nothing."""
    return "; ".join(one.message for one in found.findings if (one.severity, one.field) == (severity, field))


def test_a_job_looks_at_the_rows_once_and_the_trainer_reads_what_it_left(
    bench: Bench, tmp_path: Path
) -> None:
    text = bench.text()
    # A removal that was cut short left a folder without its summary: it counts for nothing.
    data = bench.room.datasets.version(LOCAL_ADMIN, "talk").directory
    left = bench.room.home / "tokens" / tokens_digest(data, bench.base, parse_recipe(Stage.SFT, text))
    left.mkdir(parents=True)
    (left / "train.parquet").write_bytes(b"half")
    first = bench.service.check(LOCAL_ADMIN, Stage.SFT, text)
    assert first.state is PreflightState.PENDING
    assert said(first, Severity.WARNING, "max_length") == ""
    # Another length, another rate: the same rows, so the same job.
    other = bench.service.check(LOCAL_ADMIN, Stage.SFT, bench.text(max_length=40, learning_rate=1e-4))
    assert other.id != first.id
    [job] = bench.room.jobs.list(LOCAL_ADMIN, KIND)
    deadline = time.monotonic() + 120
    while not (ended := bench.room.jobs.tick()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert ended[0].state is JobState.SUCCEEDED, bench.room.jobs.log(LOCAL_ADMIN, job.id).text
    bench.service.settle(ended)
    done = bench.service.get(LOCAL_ADMIN, first.id)
    assert done.state is PreflightState.DONE
    assert done.sources[0].splits[Split.TRAIN].rows == 12
    assert bench.service.get(LOCAL_ADMIN, other.id).truncated > done.truncated
    assert bench.service.check(LOCAL_ADMIN, Stage.SFT, text).state is PreflightState.DONE
    assert len(bench.room.jobs.list(LOCAL_ADMIN, KIND)) == 1
    assert not list((bench.room.home / "tokens" / ".staging").iterdir())
    # The job loaded the tokeniser as the trainer does, and the trainer reads what it left.
    path = bench.room.datasets.version(LOCAL_ADMIN, "talk").file(Split.TRAIN)
    recipe = parse_recipe(Stage.SFT, text)
    stored = load_rows(None, path, recipe, base=bench.base, tokens=bench.room.home / "tokens")  # type: ignore[arg-type]
    anew = tokenise(FastTokenizer(bench.base), read_rows(path), recipe)
    assert stored == anew
    assert (len(stored.rows), stored.left_out) == (10, 2)


def test_rows_that_are_too_long_or_begin_too_late_are_counted_and_named(bench: Bench) -> None:
    found = bench.checked(max_length=64)
    facts = found.sources[0].splits[Split.TRAIN]
    about = said(found, Severity.WARNING, "max_length")
    assert f"{facts.truncated} training rows are longer than 64 tokens" in about
    assert "nothing to learn" in about
    late = [one for one in found.findings if "nothing to learn" in one.message and one.split is Split.TRAIN]
    assert late[0].rows == (6, 12)
    assert found.left_out == 2
    assert found.lengths[Split.TRAIN].longest > 64
    assert not said(bench.checked(max_length=500), Severity.WARNING, "max_length")


def test_nothing_that_fits_is_an_error(bench: Bench) -> None:
    bench.import_rows("pairs", Stage.DPO, {Split.TRAIN: rows(Stage.DPO, 5), Split.VALIDATION: []})
    found = bench.checked(Stage.DPO, dataset="pairs", max_length=16)
    assert "Of 5 training rows none fits into max_length: 16" in said(found, Severity.ERROR, "max_length")
    refusal = bench.service.refusal(LOCAL_ADMIN, Stage.DPO, bench.text(dataset="pairs", max_length=16))
    assert refusal is not None
    assert "none fits" in refusal.details[0]
    fine = bench.text(dataset="pairs", max_length=512)
    assert bench.service.refusal(LOCAL_ADMIN, Stage.DPO, fine) is None


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_is_checked_and_shown(bench: Bench, stage: Stage) -> None:
    sides = {Split.TRAIN: rows(stage, 9), Split.VALIDATION: rows(stage, 3, 200)}
    bench.import_rows("mine", stage, sides)
    loose = {"packing": False} if stage is Stage.CPT else {}
    found = bench.checked(stage, dataset="mine", max_length=256, **loose)
    assert not found.errors
    assert found.steps == 3
    assert found.tokens > found.learnt_tokens > 0
    page = bench.service.rows(LOCAL_ADMIN, found.id, Split.VALIDATION, 0, 10)
    assert [one.number for one in page.rows] == [1, 2, 3]
    assert page.sources == ("mine@1",)


def test_a_prompt_that_repeats_is_found_within_a_side_and_in_a_mixed_one(bench: Bench) -> None:
    same = [row(Stage.SFT, 7), row(Stage.SFT, 7, times=1), row(Stage.SFT, 8)]
    bench.import_rows("again", Stage.SFT, {Split.TRAIN: same, Split.VALIDATION: []})
    found = bench.checked(dataset="again", max_length=256)
    assert "1 training row repeats the prompt of an earlier row" in said(found, Severity.WARNING, "dataset")
    assert found.duplicates == 1
    repeated = [one for one in found.findings if "repeats" in one.message]
    assert repeated[0].rows == (2,)
    crossing = [row(Stage.SFT, 102), row(Stage.SFT, 500)]
    bench.import_rows("more", Stage.SFT, {Split.TRAIN: crossing, Split.VALIDATION: []})
    mixed = bench.checked(max_length=256, mix=[{"dataset": "more", "weight": 0.5}])
    [met] = [one for one in mixed.findings if "holds out" in one.message]
    assert (met.field, met.rows, met.source) == ("mix.0.dataset", (1,), "more@1")
    assert [one.reference for one in mixed.sources] == ["talk@1", "more@1"]
    # 12 rows of the main one, and half as many of the other.
    assert mixed.steps == 5


def test_prompts_on_both_sides_are_found(bench: Bench) -> None:
    # The studio's own imports never make such a version, so its file is written over.
    version = bench.room.datasets.version(LOCAL_ADMIN, "talk")
    version.file(Split.VALIDATION).write_bytes(version.file(Split.TRAIN).read_bytes())
    found = bench.checked(max_length=256)
    [across] = [one for one in found.findings if "trained on as well" in one.message]
    assert across.severity is Severity.WARNING
    assert across.message.startswith("12 held-out rows have a prompt")
    assert across.rows == tuple(range(1, 11))


def test_protected_prompts_are_an_error_with_their_rows(bench: Bench) -> None:
    measured = [row(Stage.SFT, 3), row(Stage.SFT, 9)]
    bench.import_rows("exam", Stage.SFT, {Split.TRAIN: [], Split.VALIDATION: measured})
    before = bench.checked(max_length=256)
    assert not before.errors
    bench.room.datasets.protect(LOCAL_ADMIN, "exam@1", None, "evaluation")
    after = bench.service.get(LOCAL_ADMIN, before.id)
    [error] = after.errors
    assert error.rows == (4, 10)
    assert "evaluation (exam@1)" in error.message
    assert error.field == "dataset"


def test_the_wrong_kind_is_said_and_no_job_begins(bench: Bench) -> None:
    found = bench.service.check(LOCAL_ADMIN, Stage.DPO, bench.text())
    assert "talk@1 is of kind instruction, and DPO learns from kind preference" in said(
        found, Severity.ERROR, "dataset"
    )
    assert found.state is PreflightState.FAILED
    assert not bench.room.jobs.list(LOCAL_ADMIN, KIND)
    missing = bench.service.check(LOCAL_ADMIN, Stage.SFT, bench.text(dataset="nowhere", model="none"))
    assert [one.field for one in missing.errors] == ["model", "dataset"]
    with pytest.raises(InvalidInput, match="1 error"):
        bench.service.check(LOCAL_ADMIN, Stage.SFT, bench.text(epoch=3))


def test_evaluation_without_held_out_rows(bench: Bench) -> None:
    bench.import_rows("alone", Stage.SFT, {Split.TRAIN: rows(Stage.SFT), Split.VALIDATION: []})
    wants = {"eval_every": 2, "early_stop_patience": 2, "keep_best": True}
    found = bench.service.check(LOCAL_ADMIN, Stage.SFT, bench.text(dataset="alone", **wants))
    assert {one.field for one in found.errors} == {"early_stop_patience", "keep_best"}
    assert said(found, Severity.WARNING, "eval_every")
    plain = bench.service.check(LOCAL_ADMIN, Stage.SFT, bench.text(dataset="alone"))
    assert not plain.errors
    assert said(plain, Severity.WARNING, "dataset")


@pytest.mark.parametrize(
    ("stage", "given", "severity", "field"),
    [
        (Stage.SFT, {"max_length": 5000}, Severity.ERROR, "max_length"),
        (Stage.SFT, {"learning_rate": 0.01}, Severity.WARNING, "learning_rate"),
        (Stage.SFT, {"learning_rate": 1e-7}, Severity.WARNING, "learning_rate"),
        (Stage.SFT, {"dtype": "fp16"}, Severity.ERROR, "dtype"),
        (Stage.SFT, {"attention": "flash"}, Severity.ERROR, "attention"),
        (Stage.SFT, {"processes": 2}, Severity.NOTE, "processes"),
        (Stage.SFT, {"engine": "axolotl"}, Severity.ERROR, "engine"),
        (Stage.SFT, {"output": "tiny"}, Severity.ERROR, "output"),
    ],
)
def test_a_recipe_is_held_against_model_machine_and_habit(
    bench: Bench, stage: Stage, given: dict[str, Any], severity: Severity, field: str
) -> None:
    found = bench.service.check(LOCAL_ADMIN, stage, bench.text(**given))
    assert said(found, severity, field)
    usual = bench.service.check(LOCAL_ADMIN, Stage.SFT, bench.text())
    assert not said(usual, severity, field)


def test_the_machine_is_looked_at_each_time(bench: Bench) -> None:
    full = bench.on(free_disk=lambda _: 1000)
    assert "0.00 GB of disk are free" in said(
        full.check(LOCAL_ADMIN, Stage.SFT, bench.text()), Severity.ERROR, "keep_checkpoints"
    )
    assert not said(
        bench.service.check(LOCAL_ADMIN, Stage.SFT, bench.text()), Severity.ERROR, "keep_checkpoints"
    )
    tight = bench.on(estimate=lambda _: MemoryEstimate((), 9 * GB, GB, False, None))
    assert "needs about 9.00 GB of memory, and only 1.00 GB are free" in said(
        tight.check(LOCAL_ADMIN, Stage.SFT, bench.text()), Severity.WARNING, ""
    )
    two = bench.on(gpus=lambda: (0, 1))
    assert not two.check(LOCAL_ADMIN, Stage.SFT, bench.text(dtype="fp16"), (1,)).errors
    assert [one.field for one in two.check(LOCAL_ADMIN, Stage.SFT, bench.text(), (2,)).errors] == ["devices"]
    crowd = two.check(LOCAL_ADMIN, Stage.SFT, bench.text(processes=4))
    assert "there are 2" in said(crowd, Severity.ERROR, "processes")
    bare = bench.on(installed=lambda package: package != "bitsandbytes")
    assert "bitsandbytes" in said(
        bare.check(LOCAL_ADMIN, Stage.SFT, bench.text(method="qlora")), Severity.ERROR, "method"
    )


def test_the_estimate_is_told_the_longest_row(bench: Bench) -> None:
    told: list[int | None] = []

    def estimate(needs: Any) -> MemoryEstimate:
        told.append(needs.tokens_per_row)
        return plenty(needs)

    bench.on(estimate=estimate).check(LOCAL_ADMIN, Stage.SFT, bench.text(max_length=500))
    bench.checked(max_length=500)
    done = bench.on(estimate=estimate).check(LOCAL_ADMIN, Stage.SFT, bench.text(max_length=500))
    longest = done.lengths[Split.TRAIN].longest
    assert told == [None, longest]
    assert bench.service.longest_row(LOCAL_ADMIN, Stage.SFT, bench.text(max_length=64))[0] == 64


def test_rows_that_the_template_refuses_are_named(bench: Bench, tmp_path: Path, tiny_model: Path) -> None:
    model = tmp_path / "strict"
    model.mkdir()
    for path in tiny_model.iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    refuses = "{% if messages[0]['content'] == 'No' %}{{ raise_exception('not so') }}{% endif %}"
    template = model / "chat_template.jinja"
    template.write_text(refuses + template.read_text())
    bench.room.registry.register_base(LOCAL_ADMIN, BaseSource(str(model), "strict"))
    bad = {"messages": [say("user", "No"), say("assistant", "Yes")]}
    made = {Split.TRAIN: [*rows(Stage.SFT, 2), bad], Split.VALIDATION: []}
    bench.import_rows("odd", Stage.SFT, made)
    bench.base = model
    found = bench.checked(model="strict", dataset="odd", max_length=256)
    [error] = found.errors
    assert error.rows == (3,)
    assert "not so" in error.message
    [shown] = bench.service.rows(LOCAL_ADMIN, found.id, Split.TRAIN, 2, 1).rows
    assert "not so" in shown.left_out


def test_a_model_without_a_template_is_warned_about(bench: Bench, tmp_path: Path, tiny_model: Path) -> None:
    model = tmp_path / "plain"
    model.mkdir()
    for path in tiny_model.iterdir():
        if path.name != "chat_template.jinja":
            (model / path.name).write_bytes(path.read_bytes())
    bench.room.registry.register_base(LOCAL_ADMIN, BaseSource(str(model), "plain"))
    found = bench.service.check(LOCAL_ADMIN, Stage.SFT, bench.text(model="plain"))
    assert "no chat template" in said(found, Severity.WARNING, "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "layer_types": ["linear_attention"]}))
    packed = bench.service.check(LOCAL_ADMIN, Stage.SFT, bench.text(model="plain", packing=True))
    assert "leak into each other" in said(packed, Severity.WARNING, "packing")


def test_uneven_thumbs_are_noticed(bench: Bench) -> None:
    good = [{**row(Stage.KTO, n), "label": n > 0} for n in range(10)]
    bench.import_rows("thumbs", Stage.KTO, {Split.TRAIN: good, Split.VALIDATION: []})
    found = bench.checked(Stage.KTO, dataset="thumbs", max_length=256)
    assert "9 good and 1 bad" in said(found, Severity.WARNING, "undesirable_weight")
    even = bench.checked(Stage.KTO, dataset="thumbs", max_length=256, undesirable_weight=9)
    assert not said(even, Severity.WARNING, "undesirable_weight")


def test_what_is_private_stays_private(bench: Bench) -> None:
    found = bench.checked()
    ann = Actor("ann", Role.RESEARCHER)
    assert bench.service.get(ann, found.id).id == found.id
    node = Node("dataset", bench.room.datasets.version(LOCAL_ADMIN, "talk").dataset_id)
    access = Access(bench.room.database, bench.room.audit)
    access.share(LOCAL_ADMIN, node, SharingChange(Visibility.PRIVATE))
    with pytest.raises(NotFound):
        bench.service.get(ann, found.id)
    with pytest.raises(NotFound):
        bench.service.rows(ann, found.id, Split.TRAIN, 0, 5)
    assert bench.service.check(ann, Stage.SFT, bench.text()).errors[0].field == "dataset"
    with pytest.raises(Forbidden):
        bench.service.get(Actor("ann", Role.ANNOTATOR), found.id)
    for wrong in ("preflight_0", "../studio", "", "preflight_" + "0" * 20):
        with pytest.raises(NotFound):
            bench.service.get(LOCAL_ADMIN, wrong)


@pytest.mark.parametrize(("offset", "count"), [(-1, 5), (0, 0), (0, 101)])
def test_a_page_has_bounds(bench: Bench, offset: int, count: int) -> None:
    found = bench.checked()
    with pytest.raises(InvalidInput):
        bench.service.rows(LOCAL_ADMIN, found.id, Split.TRAIN, offset, count)
    with pytest.raises(NotFound):
        bench.service.rows(LOCAL_ADMIN, found.id, Split.TRAIN, 0, 5, source=1)
    past = bench.service.rows(LOCAL_ADMIN, found.id, Split.TRAIN, 500, 5)
    assert (past.rows, past.total) == ((), 12)


def test_a_job_that_fails_is_said_and_tried_again_on_request(bench: Bench, tmp_path: Path) -> None:
    found = bench.service.check(LOCAL_ADMIN, Stage.SFT, bench.text())
    [job] = bench.room.jobs.list(LOCAL_ADMIN, KIND)
    bench.room.jobs.request_stop(LOCAL_ADMIN, job.id)
    assert bench.service.get(LOCAL_ADMIN, found.id).state is PreflightState.FAILED
    again = bench.service.check(LOCAL_ADMIN, Stage.SFT, bench.text())
    assert again.state is PreflightState.PENDING
    assert len(bench.room.jobs.list(LOCAL_ADMIN, KIND)) == 2


def test_what_is_no_id_is_no_pre_flight(home: Path) -> None:
    store = PreflightStore(home)
    known = Asked("preflight_0123456789abcdef0123", Stage.SFT, "model: tiny", (), {})
    store.keep(known)
    assert store.asked(known.id) == known
    (home / "secret.json").write_text("{}")
    for text in ("../secret", "a" * 300, "preflight_", "préflight_0123456789abcdef0123", ""):
        assert store.asked(text) is None


def test_old_token_files_go_and_those_in_use_stay(home: Path) -> None:
    store = PreflightStore(home, most_folders=3, most_bytes=2500)
    for number in range(5):
        folder = home / "tokens" / f"digest{number}"
        folder.mkdir(parents=True)
        (folder / "train.parquet").write_bytes(b"x" * 1000)
        (folder / "summary.json").write_text("{}")
        time.sleep(0.01)
    store.folder("digest0")
    store.prune()
    assert sorted(path.name for path in (home / "tokens").iterdir()) == ["digest0", "digest4"]
    store.prune(keep=("digest4",))
    assert store.folder("digest4")
