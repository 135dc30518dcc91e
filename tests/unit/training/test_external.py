"""Recipes in the other engines' words, the rows that they get, and their environments."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest

from studio.core import (
    LOCAL_ADMIN,
    Actor,
    Audit,
    Conflict,
    Database,
    Forbidden,
    InvalidInput,
    Role,
    StudioError,
    write_json,
)
from studio.datasets import SchemaKind
from studio.datasets.parquet_files import RowWriter
from studio.jobs import JobContext, JobService
from studio.training import Stage, StartRun, parse_recipe
from studio.training.engines.external import axolotl, environments, installing, llamafactory, rows
from studio.training.engines.external.environments import Engine
from studio.training.engines.external.order import EVALUATION, TRAIN
from studio.training.engines.external.service import EngineService, EngineState
from studio.training.engines.external.view import with_template
from studio.training.recipes import Recipe
from studio.training.rendering import PLAIN_TEMPLATE
from studio.training.task import Source, TrainTask
from tests.unit.training.external_orders import GOLDEN, orders, written
from tests.unit.training.room import furnish, open_room

ADMIN = LOCAL_ADMIN
USER = {"role": "user", "content": "Why?"}
ANSWER = {"role": "assistant", "content": "So."}
OTHER = {"role": "assistant", "content": "No."}
TOOL = {"role": "tool", "content": "42"}
SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize("name", sorted(orders()))
def test_a_recipe_becomes_the_golden_settings(name: str, tmp_path: Path) -> None:
    made = written(orders()[name], tmp_path / "made")
    golden = {path.name: path.read_text() for path in (GOLDEN / name).iterdir()}
    assert made == golden, f"python -m tests.unit.training.external_orders writes {name} anew"


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(orders())


def test_every_field_of_a_recipe_is_translated_or_refused(tmp_path: Path) -> None:
    """A field that comes to the recipes later must not be dropped in silence."""
    told = {
        "lora", "learning_rate", "epochs", "max_steps", "batch_size", "gradient_accumulation", "max_length",
        "warmup_ratio", "scheduler", "weight_decay", "max_grad_norm", "seed", "dtype", "attention",
        "recompute", "log_every", "eval_every", "save_every", "keep_checkpoints", "method", "packing",
        "assistant_only", "neftune_alpha", "beta", "loss", "label_smoothing", "desirable_weight",
        "undesirable_weight",
    }  # fmt: skip
    elsewhere = {"stage", "model", "dataset", "output", "engine"}
    by_the_worker = {"weight", "mix", "eval_rows", "processes", "early_stop_patience", "keep_best"}
    refused = {"parallel", "center_rewards"}
    known = {name for kind in _kinds() for name in kind.model_fields}
    assert known == told | elsewhere | by_the_worker | refused


def _kinds() -> list[type[Recipe]]:
    from studio.training.recipes import RECIPES

    return list(RECIPES.values())


@pytest.mark.parametrize(
    ("stage", "engine", "recipe", "fields"),
    [
        (Stage.SFT, "llamafactory", "", []),
        (Stage.REWARD, "llamafactory", "", ["stage"]),
        (Stage.DPO, "llamafactory", "loss: robust\nlabel_smoothing: 0.1", ["loss"]),
        (Stage.SFT, "llamafactory", "method: qlora\nlora: {dora: true}", ["lora.dora"]),
        (Stage.CPT, "llamafactory", "packing: false", ["packing"]),
        (Stage.CPT, "llamafactory", "packing: false\nprocesses: 2\nparallel: fsdp", ["packing", "parallel"]),
        (Stage.SFT, "llamafactory", "keep_best: true\neval_every: 10\nsave_every: 4", ["save_every"]),
        (Stage.SFT, "llamafactory", "keep_best: true\neval_every: 8\nsave_every: 4", []),
        (Stage.SFT, "axolotl", "", []),
        (Stage.SFT, "axolotl", "packing: true", ["packing"]),
        (Stage.SFT, "axolotl", "packing: true\nattention: flash", []),
        (Stage.CPT, "axolotl", "", ["packing"]),
        (Stage.KTO, "axolotl", "", ["stage"]),
        (Stage.REWARD, "axolotl", "processes: 2\nparallel: deepspeed", ["stage", "parallel"]),
        (Stage.DPO, "axolotl", "loss: robust\nlabel_smoothing: 0.1", []),
    ],
)
def test_what_an_engine_cannot_do_is_named_all_at_once(
    stage: Stage, engine: str, recipe: str, fields: list[str]
) -> None:
    asked = parse_recipe(stage, f"model: m\ndataset: d\nengine: {engine}\n{recipe}")
    said = list({"llamafactory": llamafactory, "axolotl": axolotl}[engine].refusals(asked))
    assert [line.partition(": ")[0] for line in said] == fields
    assert all(line.endswith(".") for line in said)


def test_an_adapter_to_go_on_from_keeps_its_dropout(tmp_path: Path) -> None:
    write_json(tmp_path / "adapter_config.json", {"lora_dropout": 0.05})
    recipe = parse_recipe(Stage.DPO, "model: m\ndataset: d\nengine: axolotl\n")
    fields = [line.partition(": ")[0] for line in axolotl.refusals(recipe, tmp_path)]
    assert fields == ["model", "lora.dropout"]
    assert [line.partition(": ")[0] for line in llamafactory.refusals(recipe, tmp_path)] == ["lora.dropout"]


def test_a_start_is_refused_with_the_fields(home: Path, tiny_model: Path) -> None:
    room = open_room(home)
    furnish(room, tiny_model)
    recipe = "model: tiny\ndataset: talk\noutput: x\nengine: axolotl\npacking: true\nmax_length: 99999\n"
    with pytest.raises(InvalidInput) as refused:
        room.training.start(ADMIN, StartRun(Stage.SFT, recipe))
    fields = [line.partition(": ")[0] for line in refused.value.details]
    assert sorted(fields) == ["max_length", "packing"]
    room.jobs.close()
    room.database.close()


def test_rows_become_what_an_engine_reads() -> None:
    lf, ax = rows.shapes("llamafactory"), rows.shapes("axolotl")
    assert lf[Stage.CPT]({"text": "A text."}) == {"text": "A text."}
    talk = [SYSTEM, USER, ANSWER, USER]
    assert lf[Stage.SFT]({"messages": talk}) == {"messages": [SYSTEM, USER, ANSWER]}
    assert lf[Stage.SFT]({"messages": [USER, ANSWER, TOOL, ANSWER]}) is not None
    assert lf[Stage.SFT]({"messages": [USER, USER, ANSWER]}) is None
    assert ax[Stage.SFT]({"messages": [USER, USER, ANSWER]}) == {"messages": [USER, USER, ANSWER]}
    assert lf[Stage.SFT]({"messages": [USER]}) is ax[Stage.SFT]({"messages": [USER]}) is None
    pair = {"prompt": [USER], "chosen": [ANSWER], "rejected": [OTHER], "votes": ["v"]}
    assert lf[Stage.DPO](pair) == {"messages": [USER], "chosen": ANSWER, "rejected": OTHER}
    assert lf[Stage.DPO]({**pair, "chosen": [ANSWER, TOOL, ANSWER]}) is None
    judged = {"prompt": [SYSTEM, USER], "completion": [ANSWER], "label": False}
    assert lf[Stage.KTO](judged) == {"messages": [SYSTEM, USER, ANSWER], "label": False}


def _file(path: Path, texts: list[str]) -> Path:
    with RowWriter(path, SchemaKind.CORPUS) as writer:
        for text in texts:
            writer.write({"text": text}, len(text))
    return path


def test_mixed_sources_have_their_shares_in_every_epoch(tmp_path: Path) -> None:
    main = _file(tmp_path / "main.parquet", [f"main {n}" for n in range(10)])
    other = _file(tmp_path / "other.parquet", [f"other {n}" for n in range(8)])
    held = _file(tmp_path / "held.parquet", [f"held {n}" for n in range(6)])
    text = "model: m\ndataset: d\nengine: llamafactory\nepochs: 2\neval_rows: 5\n"
    recipe = parse_recipe(Stage.CPT, text + "mix: [{dataset: o, weight: 0.5}]\n")
    source = Source("o@1", 0.5, other, held)
    task = TrainTask("run_1", recipe, tmp_path, tmp_path, None, main, held, (source,))
    made = rows.write(task, "llamafactory", tmp_path / "rows")
    assert (made.train, made.evaluation, made.laps, made.left_out) == (30, 5, 2, 0)
    lines = [json.loads(line)["text"] for line in (tmp_path / "rows" / TRAIN).read_text().splitlines()]
    assert sorted(lines[:15]).count("main 3") == 1
    assert sum(line.startswith("other") for line in lines) == 10
    assert {line for line in lines if line.startswith("other")} == {f"other {n}" for n in range(8)}
    assert len((tmp_path / "rows" / EVALUATION).read_text().splitlines()) == 5


def test_a_dataset_of_which_no_row_fits_is_refused(tmp_path: Path) -> None:
    with RowWriter(tmp_path / "odd.parquet", SchemaKind.INSTRUCTION) as writer:
        writer.write({"messages": [USER, USER, ANSWER]}, 10)
    recipe = parse_recipe(Stage.SFT, "model: m\ndataset: d\nengine: llamafactory\n")
    odd = tmp_path / "odd.parquet"
    with pytest.raises(InvalidInput, match="1 were left out"):
        rows.write(
            TrainTask("r", recipe, tmp_path, tmp_path, None, odd, odd), "llamafactory", tmp_path / "rows"
        )


def test_a_base_without_a_template_is_seen_with_the_plain_one(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    seen = with_template(base, tmp_path / "view")
    assert (seen / "chat_template.jinja").read_text() == PLAIN_TEMPLATE
    assert (seen / "config.json").resolve() == base / "config.json"
    (base / "tokenizer_config.json").write_text('{"chat_template": "{{ 1 }}"}')
    assert with_template(base, tmp_path / "other") == base


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine that is a wheel in a folder."""
    wheel = tmp_path / "wheels" / "toy-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("toy.py", "")
        made.writestr("torch.py", "")
        made.writestr("toy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
        made.writestr(
            "toy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr("toy-1.0.dist-info/RECORD", "")
    engine = Engine("toy", "Toy", "1.0", (("--no-index", str(wheel)),), 10**6)
    monkeypatch.setitem(environments.CATALOGUE, "toy", engine)
    return engine


def _job(folder: Path, home: Path) -> JobContext:
    folder.mkdir()
    write_json(folder / "payload.json", {"engine": "toy", "home": str(home)})
    return JobContext(folder)


def test_an_installation_counts_once_it_is_whole(toy: Engine, home: Path, tmp_path: Path) -> None:
    left = toy.folder(home)
    (left / "bin").mkdir(parents=True)
    (left / "bin" / "python").write_text("half of an earlier installation")
    assert environments.find(home, "toy") is None
    stopped = _job(tmp_path / "stopped", home)
    (stopped.directory / "stop").touch()
    with pytest.raises(installing.Stopped):
        installing.install(stopped)
    assert environments.find(home, "toy") is None
    installing.install(_job(tmp_path / "job", home))
    found = environments.find(home, "toy")
    assert found is not None
    assert found.packages["toy"] == "1.0"
    assert "python" in found.packages
    environments.clear(found.folder)
    assert not left.exists()


def test_an_engine_sees_neither_our_python_nor_our_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_OIDC_CLIENT_SECRET", "hush")
    monkeypatch.setenv("PYTHONPATH", "ours")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    seen = environments.child_environment(tmp_path)
    assert not {"hush", "ours"} & set(seen.values())
    assert seen["HF_HUB_OFFLINE"] == "1"
    assert seen["PATH"].startswith(f"{tmp_path / 'bin'}:")


def test_what_pip_cannot_do_is_said(home: Path, tmp_path: Path) -> None:
    failing = [sys.executable, "-c", "raise SystemExit(3)"]
    with pytest.raises(StudioError, match="pip could not install toy"):
        installing._run(failing, _job(tmp_path / "job", home), home, "pip could not install toy.")
    unknown = tmp_path / "unknown"
    unknown.mkdir()
    write_json(unknown / "payload.json", {"engine": "other", "home": str(home)})
    assert installing.main([str(unknown)]) == 1
    assert "no engine 'other'" in (unknown / "failure.json").read_text()


@pytest.fixture
def engines(database: Database, home: Path) -> EngineService:
    audit = Audit(database)
    jobs = JobService(database, home, audit, training_slots=1, stop_grace_seconds=1.0)
    yield EngineService(home, jobs, audit)
    jobs.close()


def test_installing_is_one_job_and_for_admins(engines: EngineService, toy: Engine, home: Path) -> None:
    researcher = Actor("rita", Role.RESEARCHER)
    for refused in (lambda: engines.install(researcher, "toy"), lambda: engines.remove(researcher, "toy")):
        with pytest.raises(Forbidden):
            refused()
    job = engines.install(ADMIN, "toy")
    assert engines.install(ADMIN, "toy").id == job.id
    states = {one.engine.name: one.state for one in engines.list(researcher)}
    assert states["toy"] is EngineState.INSTALLING
    with pytest.raises(Conflict, match="being installed"):
        engines.remove(ADMIN, "toy")
    with pytest.raises(InvalidInput, match="no engine 'other'"):
        engines.install(ADMIN, "other")


def test_an_installed_engine_is_listed_and_removed(engines: EngineService, toy: Engine, home: Path) -> None:
    folder = toy.folder(home)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    write_json(folder / environments.MARK, {"packages": {"torch": "2.9.1"}})
    [found] = [one for one in engines.list(ADMIN) if one.engine.name == "toy"]
    assert (found.state, found.packages) == (EngineState.INSTALLED, {"torch": "2.9.1"})
    with pytest.raises(Conflict, match="is installed"):
        engines.install(ADMIN, "toy")
    engines.remove(ADMIN, "toy")
    assert not folder.exists()


def test_no_engine_is_installed_where_there_is_no_room(
    engines: EngineService, monkeypatch: pytest.MonkeyPatch
) -> None:
    vast = Engine("toy", "Toy", "1.0", (), 10**18)
    monkeypatch.setitem(environments.CATALOGUE, "toy", vast)
    with pytest.raises(Conflict, match="GB are free"):
        engines.install(ADMIN, "toy")
