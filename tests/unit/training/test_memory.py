"""The memory estimate: shapes from files, parts, the smallest fix, and what past runs teach."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from studio.core import Database, InvalidInput
from studio.training import Stage, parse_recipe
from studio.training.memory import (
    AdapterShape,
    Calibration,
    Device,
    MemoryForecast,
    ModelShape,
    Observation,
    Subject,
    Usage,
    count,
    estimate,
    fit,
    read_adapter,
    read_shape,
    usage_of,
)
from studio.training.memory.machine import _cpu, oom_kills
from studio.training.memory.records import PARTS
from studio.training.memory.shapes import shape_of
from studio.training.recipes import Recipe
from studio.training.retry import patched

GB = 10**9
PLENTY = Device("cpu", 1000 * GB, 1000 * GB)
LLAMA = {
    "model_type": "llama",
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
    "dtype": "bfloat16",
}


@pytest.fixture(scope="module")
def shape() -> ModelShape:
    return shape_of(LLAMA, {})


def recipe(text: str = "", stage: Stage = Stage.SFT) -> Recipe:
    return parse_recipe(stage, f"model: m\ndataset: d\n{text}")


def parts(
    shape: ModelShape, text: str = "", stage: Stage = Stage.SFT, device: Device = PLENTY
) -> dict[str, int]:
    asked = recipe(text, stage)
    return {part.name: part.bytes for part in count(shape, asked, asked.max_length, device)}


def test_a_configuration_alone_tells_the_shape_of_a_known_model(shape: ModelShape) -> None:
    # SmolLM2-135M, whose card says so.
    assert shape.parameters == 134_515_008
    assert (shape.keys, shape.query, shape.stored_bytes, shape.tied) == (192, 576, 2, True)


def test_files_are_read_by_their_headers(tiny_model: Path) -> None:
    found = read_shape(tiny_model)
    assert (found.hidden, found.layers, found.vocabulary, found.tied) == (32, 2, 512, True)
    # 512 x 32 embedding; a layer: 2 norms, q and o 32 x 32, k and v 16 x 32, three of 64 x 32; a last norm.
    assert found.parameters == 512 * 32 + 2 * (64 + 2 * 1024 + 2 * 512 + 3 * 2048) + 32
    assert found.in_linears == 2 * (2 * 1024 + 2 * 512 + 3 * 2048)
    assert {linear.name for linear in found.adapted("attention")} == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert found.stored_bytes == 4


def test_damaged_and_foreign_files_say_so_or_fall_back(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"config\.json"):
        read_shape(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidInput, match="how large"):
        read_shape(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    assert read_shape(tmp_path).parameters == 134_515_008
    (tmp_path / "model.safetensors").write_bytes((20).to_bytes(8, "little") + b"no JSON at all, none")
    assert read_shape(tmp_path).layers == 30


def test_older_names_and_nested_configurations_are_understood() -> None:
    gpt = shape_of({"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257}, {})
    assert (gpt.hidden, gpt.layers, gpt.intermediate, gpt.kv_heads) == (768, 12, 3072, 12)


def test_an_adapter_keeps_the_rank_it_has(shape: ModelShape, tmp_path: Path) -> None:
    assert read_adapter(tmp_path) is None
    (tmp_path / "adapter_config.json").write_text('{"r": 4}')
    assert read_adapter(tmp_path) == AdapterShape(4, 0)
    asked = recipe("lora: {r: 64}\n")
    small = count(shape, asked, 512, PLENTY, adapter=AdapterShape(4, 1_000_000))
    assert {part.name: part.bytes for part in small}["adapters"] == 4_000_000


def test_the_parts_are_those_of_the_method(shape: ModelShape) -> None:
    lora, full, packed = (parts(shape, f"method: {name}\n") for name in ("lora", "full", "qlora"))
    assert tuple(lora) == PARTS
    # Our body lays matrices with the same input under each other; the file stays mapped for the others.
    joined = 30 * 576 * (576 + 2 * 192 + 2 * 1536)
    assert lora["weights"] == 2 * (shape.parameters + joined)
    assert parts(shape, "lora: {dropout: 0.1}\n")["weights"] == 2 * shape.parameters
    # A LoRA matrix pair of rank 16 on every linear layer, in float32; gradients as many, the optimizer twice.
    trained = sum(16 * (one.inputs + one.outputs) * one.count for one in shape.linears)
    assert lora["adapters"] == lora["gradients"] == 4 * trained
    # Full gradients come as activations go; those of a step's earlier passes stand beside them.
    assert full["gradients"] < 4 * shape.parameters
    beside = parts(shape, "method: full\ngradient_accumulation: 2\n")
    assert beside["gradients"] == 4 * shape.parameters
    assert lora["optimizer"] == 8 * trained
    assert full["adapters"] == 0
    assert full["weights"] >= 4 * shape.parameters
    assert full["optimizer"] == 8 * shape.parameters
    assert packed["weights"] < 0.5 * lora["weights"]


def test_what_makes_a_run_larger_makes_its_estimate_larger(shape: ModelShape) -> None:
    plain = parts(shape)
    assert parts(shape, "batch_size: 8\n")["activations"] == 2 * plain["activations"]
    assert parts(shape, "recompute: true\n")["activations"] < 0.2 * plain["activations"]
    other = replace(shape, plain_body=False)
    eager = parts(other, "attention: eager\nmax_length: 2048\n")["activations"]
    assert eager > 1.5 * parts(other, "max_length: 2048\n")["activations"]
    # Who names an attention gets it, and not our body, which needs less.
    assert parts(other)["activations"] > plain["activations"]
    assert parts(shape, "attention: sdpa\n") == parts(other)
    assert parts(shape, "lora: {dropout: 0.1}\n")["activations"] > plain["activations"]
    assert parts(other, "lora: {targets: attention}\n")["activations"] < parts(other)["activations"]
    assert parts(shape, "lora: {dora: true}\n")["activations"] > plain["activations"]
    assert parts(shape, "dtype: fp32\n")["weights"] == 4 * shape.parameters


def test_a_pair_is_two_sequences_and_a_reward_has_no_logits(shape: ModelShape) -> None:
    single = parts(shape, "packing: false\n")
    assert parts(shape, stage=Stage.DPO)["activations"] == 2 * single["activations"]
    assert parts(shape, stage=Stage.REWARD)["logits"] == 0


def test_our_head_is_counted_by_labels_and_others_by_positions(shape: ModelShape) -> None:
    full = "method: full\nbatch_size: 2\n"
    few = count(shape, recipe(full), 512, PLENTY, scored_share=0.25)
    ours = {part.name: part.bytes for part in few}["logits"]
    assert ours == pytest.approx(0.25 * parts(shape, full)["logits"])
    # Frozen, it keeps the logits of a few hundred positions at a time.
    assert parts(shape, "batch_size: 2\n")["logits"] < 0.1 * parts(shape, full)["logits"]
    foreign = parts(shape, "engine: llamafactory\nbatch_size: 16\n")["logits"]
    assert foreign == 12 * 16 * 512 * shape.vocabulary
    assert parts(replace(shape, special_head=True), "batch_size: 16\n")["logits"] == foreign


def test_processes_share_or_repeat(shape: ModelShape) -> None:
    gpu = Device("cuda", 80 * GB, 80 * GB)
    whole = parts(shape, "method: full\n", device=gpu)
    cut = parts(shape, "method: full\nprocesses: 4\nparallel: fsdp\n", device=gpu)
    assert cut["optimizer"] == whole["optimizer"] / 4
    assert cut["activations"] == whole["activations"]
    repeated = parts(shape, "method: full\nprocesses: 4\n", device=gpu)
    assert repeated == whole
    # Without GPUs they all live in one memory.
    here = parts(shape, "method: full\nprocesses: 2\n")
    assert here["overhead"] == 2 * parts(shape, "method: full\n")["overhead"]


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_adds_up(shape: ModelShape, stage: Stage) -> None:
    found = estimate(shape, recipe(stage=stage), 512, PLENTY)
    assert found.total == sum(part.bytes for part in found.parts)
    assert found.fits
    assert found.fix is None
    assert all(part.why for part in found.parts)


def _fix(shape: ModelShape, text: str, available: float) -> dict[str, object]:
    asked = recipe(text)
    found = estimate(shape, asked, asked.max_length, Device("cpu", 32 * GB, round(available)))
    assert not found.fits
    assert found.fix is not None
    changed = patched(asked, found.fix.changes)
    again = estimate(shape, changed, changed.max_length, Device("cpu", 32 * GB, round(available)))
    assert again.fits
    assert again.total == found.fix.total
    assert found.fix.sentence.endswith(".")
    return found.fix.changes


def test_the_fix_is_the_smallest_and_is_tried_in_order(shape: ModelShape) -> None:
    text = "batch_size: 8\nmax_length: 1024\n"
    needed = estimate(shape, recipe(text), 1024, PLENTY).total
    assert _fix(shape, text, 0.9 * needed) == {"recompute": True}
    again = text + "recompute: true\n"
    needed = estimate(shape, recipe(again), 1024, PLENTY).total
    # As little as suffices: half the batch and not a single row, and the same rows a step.
    assert _fix(shape, again, 0.93 * needed) == {"batch_size": 4, "gradient_accumulation": 2}
    alone = "batch_size: 1\nrecompute: true\nmax_length: 1024\n"
    less = estimate(shape, recipe(alone), 768, PLENTY).total
    assert _fix(shape, alone, less) == {"max_length": 768}
    short = "batch_size: 1\nrecompute: true\nmax_length: 64\n"
    packed = estimate(shape, recipe(short + "method: qlora\n"), 64, PLENTY).total
    assert _fix(shape, short, packed) == {"method": "qlora"}
    packed_already = short + "method: qlora\nlora: {r: 64, alpha: 64}\n"
    halved = estimate(shape, recipe(short + "method: qlora\nlora: {r: 32, alpha: 32}\n"), 64, PLENTY).total
    assert _fix(shape, packed_already, halved) == {"lora.r": 32, "lora.alpha": 32}


def test_where_one_change_is_not_enough_several_are_laid_on_each_other(shape: ModelShape) -> None:
    text = "batch_size: 8\nmax_length: 4096\nmethod: full\nlearning_rate: 1e-5\n"
    changes = _fix(shape, text, 1.75 * GB)
    assert list(changes)[:3] == ["recompute", "batch_size", "gradient_accumulation"]
    assert changes["batch_size"] == 1
    assert changes["gradient_accumulation"] == 8


def test_what_cannot_fit_has_no_fix(shape: ModelShape) -> None:
    found = estimate(shape, recipe(), 512, Device("cpu", GB, GB // 10))
    assert not found.fits
    assert found.fix is None


def test_a_fix_speaks_against_nothing_else_in_the_recipe(shape: ModelShape) -> None:
    text = "processes: 2\nparallel: fsdp\nbatch_size: 1\nrecompute: true\nmax_length: 64\n"
    found = estimate(shape, recipe(text), 64, Device("cuda", GB, round(1.3 * GB)))
    # Four-bit weights cannot be cut up, so that is not offered.
    assert found.fix is None or "method" not in found.fix.changes


def _observations(factors: tuple[float, ...], shape: ModelShape) -> list[Observation]:
    texts = ["batch_size: 1\n", "batch_size: 8\n", "recompute: true\n", "method: full\n", "max_length: 64\n"]
    truth = Calibration(factors)
    return [Observation(parts(shape, text), truth.total(parts(shape, text))) for text in texts]


def test_past_runs_teach_the_factors(shape: ModelShape) -> None:
    learned = fit(_observations((1.2, 1.6, 1.3, 0.8), shape))
    assert learned.observed == 5
    held_out = parts(shape, "batch_size: 3\nmax_length: 300\n")
    truth = Calibration((1.2, 1.6, 1.3, 0.8)).total(held_out)
    assert learned.total(held_out) == pytest.approx(truth, rel=0.06)
    assert abs(Calibration().total(held_out) / truth - 1) > 0.06


def test_no_run_teaches_nothing_and_one_odd_run_bends_little(shape: ModelShape) -> None:
    assert fit([]) == Calibration()
    # Counted by another version of the studio.
    assert fit([Observation({"cushions": 5}, 100)]) == Calibration()
    counted = parts(shape)
    odd = fit([Observation(counted, 100 * sum(counted.values()))])
    assert max(odd.factors) <= 2.5


def test_a_forecast_learns_from_runs_of_its_own_setting(database: Database, tiny_model: Path) -> None:
    forecast = MemoryForecast(database, lambda: PLENTY)
    subject = Subject(recipe(), tiny_model, tokens_per_row=512)
    first = forecast.estimate(subject)
    assert first.observed == 0
    usage = usage_of({"peak_memory_bytes": first.total // 2})
    forecast.learn("run_1", subject, usage, steps=1)
    forecast.learn("run_1", Subject(recipe(), tiny_model), usage, steps=5)
    assert forecast.estimate(subject).observed == 0
    forecast.learn("run_1", subject, usage, steps=5)
    forecast.learn("run_1", subject, usage, steps=5)
    second = forecast.estimate(subject)
    assert second.observed == 1
    assert abs(second.total - first.total // 2) < abs(first.total - first.total // 2)
    elsewhere = MemoryForecast(database, lambda: Device("cuda", GB, GB, "other"))
    assert elsewhere.estimate(subject).observed == 0
    foreign = Subject(recipe("engine: llamafactory\n"), tiny_model, tokens_per_row=512)
    assert forecast.estimate(foreign).observed == 0


def test_the_rows_that_were_counted_go_before_max_length(database: Database, tiny_model: Path) -> None:
    forecast = MemoryForecast(database, lambda: PLENTY)
    short = forecast.estimate(Subject(recipe(), tiny_model, tokens_per_row=64))
    assert short.total < forecast.estimate(Subject(recipe(), tiny_model)).total


def test_usage_of_an_older_trainer_is_read() -> None:
    old = usage_of({"peak_memory_bytes": 5, "peak_cuda_bytes": None})
    assert old == Usage(5, 0, 0, 0, 0, 0)
    assert not old.nearly_full


def test_the_limit_of_a_control_group_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.training.memory import machine

    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 100000\n")
    (tmp_path / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    monkeypatch.setattr(machine, "_groups", lambda root: (root,))
    found = _cpu(tmp_path)
    assert (found.total, found.available) == (1_000_000, 400_000)
    assert oom_kills(tmp_path) == 2
    assert oom_kills(tmp_path / "nowhere") == 0


def test_this_machine_has_memory() -> None:
    found = _cpu()
    assert 0 < found.available <= found.total
