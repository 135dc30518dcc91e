"""What a folder of model files must look like before it becomes a version, and what is read from it.

Nothing here imports torch or runs a byte of what it finds: configurations are read as JSON, weights
by the header of their safetensors files. It checks that files are whole and of a safe format, not
that the weights in them are any good.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core import InvalidInput
from studio.core.files import file_digest, sync_directory
from studio.registry.records import ModelTask

#: The files that make a model; everything else in a folder or a repository is left alone.
MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt")

_TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"), ("vocab.txt",))
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_INDEX = "model.safetensors.index.json"
# A configuration or a header beyond this is not one; safetensors itself stops at 100 MB.
_JSON_LIMIT = 100_000_000


@dataclass(frozen=True)
class FolderFacts:
    """What was read from a folder: a SHA-256 over its model files, and how many weights they hold."""

    digest: str
    parameters: int


@contextmanager
def readable_path(location: str) -> Iterator[None]:
    """Say plainly what is wrong with a path that the system refuses: too long, unknown user, no permission.

    Raises:
        InvalidInput: The system refused it.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(
            f"{location[:200]!r} cannot be read: {why}.",
            "Give the path of a folder that the studio may read.",
        ) from None


def inspect_base(folder: Path) -> FolderFacts:
    """Check that ``folder`` holds a complete base model in safe formats.

    Raises:
        InvalidInput: Something is missing, broken, pickled, or would need code from the folder.
    """
    if not folder.is_dir():
        raise InvalidInput(
            f"There is no folder {folder}.", "Give the folder with config.json and the safetensors files."
        )
    _refuse_custom_code(folder)
    weights = _weight_files(folder)
    if not any(all((folder / name).is_file() for name in names) for names in _TOKENIZERS):
        raise InvalidInput(
            f"{folder} holds no tokenizer.",
            "Put tokenizer.json and tokenizer_config.json beside the weights.",
        )
    parameters = sum(count_parameters(path) for path in weights)
    return FolderFacts(model_digest(folder), parameters)


def inspect_adapter(folder: Path) -> str:
    """Check that ``folder`` holds a LoRA adapter in safetensors, and return its digest.

    Raises:
        InvalidInput: The configuration or the weights are missing or broken.
    """
    weights = folder / "adapter_model.safetensors"
    if not (folder / "adapter_config.json").is_file() or not weights.is_file():
        raise InvalidInput(
            f"{folder} holds no adapter.",
            "An adapter is adapter_config.json with adapter_model.safetensors; look at the log of its run.",
        )
    read_object(folder / "adapter_config.json")
    count_parameters(weights)
    return model_digest(folder)


def task_of(folder: Path) -> ModelTask:
    """What the weights in a checked folder are for, by their configuration."""
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        scores = read_object(adapter).get("task_type") == "SEQ_CLS"
    else:
        built = read_object(folder / "config.json").get("architectures") or []
        scores = any("SequenceClassification" in str(name) for name in built)
    return ModelTask.REWARD if scores else ModelTask.CHAT


def model_digest(folder: Path) -> str:
    """One SHA-256 over the names and contents of the model files directly in ``folder``."""
    digest = hashlib.sha256()
    names = {path.name for pattern in MODEL_FILES for path in folder.glob(pattern) if path.is_file()}
    for name in sorted(names):
        digest.update(f"{name}\0{file_digest(folder / name)}\n".encode())
    return digest.hexdigest()


def count_parameters(path: Path) -> int:
    """How many weights a safetensors file holds, read from its header.

    The layout (https://github.com/huggingface/safetensors#format): eight bytes of little-endian
    header length, the header as JSON, then the tensors at the offsets that the header names.

    Raises:
        InvalidInput: The file is not safetensors, or shorter than its header says.
    """
    header, data_start = _header(path)
    total, end = 0, 0
    try:
        for name, tensor in header.items():
            if name != "__metadata__":
                total += math.prod(tensor["shape"])
                end = max(end, tensor["data_offsets"][1])
    except (KeyError, TypeError, IndexError) as error:
        raise _broken(path, "its header does not describe tensors") from error
    if data_start + end != path.stat().st_size:
        raise _broken(path, "its length does not fit its header, so it was cut off or changed")
    return total


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        InvalidInput: It is missing, too large, or no JSON object.
    """
    try:
        if path.stat().st_size > _JSON_LIMIT:
            raise _broken(path, "it is too large for a configuration")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidInput(
            f"{path.parent} holds no {path.name}.", "Give the folder that holds the whole model."
        ) from error
    except (ValueError, RecursionError, OSError) as error:
        raise _broken(path, "it cannot be read as JSON") from error
    if not isinstance(value, dict):
        raise _broken(path, "it is no JSON object")
    return value


def publish(staging: Path, target: Path) -> None:
    """Make ``staging`` the folder ``target`` in one step, after its files are on disk.

    A crash before the rename leaves no ``target``; one after it leaves a whole one.
    """
    for path in staging.iterdir():
        with path.open("rb+") as handle:
            os.fsync(handle.fileno())
    sync_directory(staging)
    staging.rename(target)
    sync_directory(target.parent)


def _weight_files(folder: Path) -> list[Path]:
    # Some repositories carry the same weights twice (a "consolidated" file beside the shards): the
    # index says which files transformers will read, and without one it is model.safetensors.
    if (folder / _INDEX).is_file():
        return _shards(folder)
    single = folder / "model.safetensors"
    found = [single] if single.is_file() else sorted(folder.glob("*.safetensors"))
    if found:
        return found
    pickled = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickled:
        raise InvalidInput(
            f"{folder} holds its weights only as {', '.join(pickled[:3])}: pickle, which can run any code "
            "when it is loaded.",
            "Convert it to safetensors, or take a revision that has them.",
        )
    raise InvalidInput(f"{folder} holds no *.safetensors file.", "Give the folder with the model's weights.")


def _shards(folder: Path) -> list[Path]:
    named = read_object(folder / _INDEX).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise _broken(folder / _INDEX, "it names no files")
    files = [folder / Path(str(name)).name for name in sorted(set(named.values()))]
    missing = tuple(path.name for path in files if not path.is_file())
    if missing:
        raise InvalidInput(
            f"{folder} lacks {len(missing)} of the {len(files)} files that its index names.",
            "Complete the download.",
            missing,
        )
    return files


def _refuse_custom_code(folder: Path) -> None:
    config = read_object(folder / "config.json")
    names = [p for p in (folder / "tokenizer_config.json", folder / "processor_config.json") if p.is_file()]
    if any("auto_map" in settings for settings in (config, *map(read_object, names))):
        raise InvalidInput(
            f"The model in {folder} brings code of its own (auto_map), and the studio never runs a "
            "model's code.",
            "Take a model of an architecture that transformers knows.",
        )


def _header(path: Path) -> tuple[dict[str, Any], int]:
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if not 0 < length <= min(_JSON_LIMIT, path.stat().st_size - 8):
            raise _broken(path, "it does not begin with a safetensors header")
        try:
            header = json.loads(handle.read(length))
        except (ValueError, RecursionError) as error:
            raise _broken(path, "its header is no JSON") from error
    if not isinstance(header, dict):
        raise _broken(path, "its header is no JSON object")
    return header, 8 + length


def _broken(path: Path, why: str) -> InvalidInput:
    return InvalidInput(f"{path} cannot be used: {why}.", "Fetch the file again.")
