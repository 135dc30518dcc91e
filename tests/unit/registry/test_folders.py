from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.core import InvalidInput
from studio.registry.folders import inspect_adapter, inspect_base, publish
from tests.unit.registry.folders import adapter_folder, base_folder, write_safetensors


def test_a_base_is_counted_from_the_headers(tmp_path: Path) -> None:
    assert inspect_base(base_folder(tmp_path / "base")).parameters == 11


def test_a_real_model_is_accepted(tiny_model: Path) -> None:
    facts = inspect_base(tiny_model)
    config = json.loads((tiny_model / "config.json").read_text())
    assert facts.parameters > config["vocab_size"] * config["hidden_size"]
    assert len(facts.digest) == 64


def test_the_digest_is_over_the_models_files_and_no_others(tmp_path: Path) -> None:
    folder = base_folder(tmp_path / "base")
    before = inspect_base(folder).digest
    (folder / "README.md").write_text("changed")
    assert inspect_base(folder).digest == before
    write_safetensors(folder / "model.safetensors", {"a": (2, 3), "b": (5,)}, fill=1)
    assert inspect_base(folder).digest != before


def test_shards_are_counted_once_and_a_second_copy_of_the_weights_is_not(tmp_path: Path) -> None:
    folder = base_folder(tmp_path / "base")
    (folder / "model.safetensors").rename(folder / "model-00001.safetensors")
    write_safetensors(folder / "model-00002.safetensors", {"c": (7,)})
    write_safetensors(folder / "consolidated.safetensors", {"all": (18,)})
    names = {"a": "model-00001.safetensors", "b": "model-00001.safetensors", "c": "model-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert inspect_base(folder).parameters == 18


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = base_folder(tmp_path / "base")
    names = {"a": "model.safetensors", "b": "model-00009.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(InvalidInput, match="lacks 1 of the 2") as caught:
        inspect_base(folder)
    assert caught.value.details == ("model-00009.safetensors",)


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-3])


def _deep(folder: Path) -> None:
    (folder / "config.json").write_text("[" * 100_000)


def _code(folder: Path) -> None:
    (folder / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Model"}}')


def _tokenizer_code(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"auto_map": {}}')


_SPOILS: list[tuple[Callable[[Path], object], str]] = [
    (_pickled, "pickle, which can run any code"),
    (_cut, "cut off or changed"),
    (_deep, "cannot be read as JSON"),
    (_code, "never runs a model's code"),
    (_tokenizer_code, "never runs a model's code"),
    (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
    (lambda folder: (folder / "config.json").write_text("[]"), "no JSON object"),
    (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe"), "cannot be read as JSON"),
    (lambda folder: (folder / "tokenizer.json").unlink(), "holds no tokenizer"),
    (lambda folder: (folder / "model.safetensors").unlink(), "no \\*.safetensors file"),
    (lambda folder: (folder / "model.safetensors").write_bytes(b""), "does not begin with"),
    (lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 64), "does not begin with"),
    (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\x02" + b"\0" * 7 + b"[]"),
        "header is no JSON object",
    ),
    (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\x08" + b"\0" * 7 + b'{"a": 1}'),
        "does not describe tensors",
    ),
]


@pytest.mark.parametrize(("spoil", "message"), _SPOILS)
def test_what_is_no_safe_whole_model_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    folder = base_folder(tmp_path / "base")
    spoil(folder)
    with pytest.raises(InvalidInput, match=message) as caught:
        inspect_base(folder)
    assert caught.value.todo


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="There is no folder"):
        inspect_base(tmp_path / "nothing")


def test_an_adapter_needs_its_configuration_and_whole_weights(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "adapter")
    assert len(inspect_adapter(folder)) == 64
    (folder / "adapter_config.json").unlink()
    with pytest.raises(InvalidInput, match="holds no adapter"):
        inspect_adapter(folder)


def test_publish_moves_a_whole_folder_and_never_replaces_one(tmp_path: Path) -> None:
    staging = base_folder(tmp_path / "staging")
    publish(staging, tmp_path / "target")
    assert not staging.exists()
    again = base_folder(tmp_path / "again")
    with pytest.raises(OSError, match="not empty"):
        publish(again, tmp_path / "target")
